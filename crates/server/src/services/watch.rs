//! WatchJob and WaitJob: fed by what is applied on the node they are connected to, several changes told as one.
//!
//! Invariant: the states a watch shows are states the job was in, in their order, the last of them included; one that
//! is linearizable ends when its node hears of no changes any more; a client that went away keeps nothing.

use super::Services;
use super::jobs::read_job;
use crate::deadline;
use crate::reads::{Reading, Stamp};
use crate::wire;
use ferry_machine::id::JobId;
use ferry_planted::Bug;
use ferry_proto::v1;
use futures::Stream;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// Shortest time between two looks of one watch at its job: the changes between them are told as one.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a wait goes on where neither the request nor its call has an end.
const WAIT_MAX: Duration = Duration::from_hours(24 * 365);

/// What WatchJob answers with.
pub(super) type JobStream = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

/// One job as it changes.
struct JobWatch {
    services: Services,
    id: JobId,
    changes: watch::Receiver<u64>,
    told: Option<v1::Job>,
    looked_at: Instant,
    /// Its client wants to know what the node has, however old that is.
    stale: bool,
    /// A place among the node's watches, given back with the watch.
    _place: OwnedSemaphorePermit,
}

pub(super) async fn watch(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::WatchJobRequest,
) -> Result<Response<JobStream>, Status> {
    let (mut watch, first) = JobWatch::open(services, metadata, request.job_id, request.consistency).await?;
    let stamp = first.stamp;
    let stream = async_stream::stream! {
        yield Ok(first.message);
        while let Some(next) = watch.next().await {
            yield next.map(|told| told.message);
        }
    };
    Ok(stamp.answer(Box::pin(stream)))
}

pub(super) async fn wait(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::WaitJobRequest,
) -> Result<Response<v1::WaitJobResponse>, Status> {
    let until = wait_until(metadata, request.timeout_ms);
    let (mut watch, mut last) = JobWatch::open(services, metadata, request.job_id, request.consistency).await?;
    loop {
        match timeout_at(until, watch.next()).await {
            Ok(Some(told)) => last = told?,
            Ok(None) => return Ok(last.stamp.answer(v1::WaitJobResponse { job: last.message.job })),
            Err(_) => {
                let job = last.message.job.unwrap_or_default();
                let message = format!(
                    "job {} has not ended yet, {} % of it is copied: wait again, or see ExplainJob",
                    job.job_id, job.progress_percent
                );
                return Err(last.stamp.refusal(Status::new(Code::DeadlineExceeded, message)));
            }
        }
    }
}

fn wait_until(metadata: &MetadataMap, timeout_ms: u64) -> Instant {
    let now = Instant::now();
    let asked = if timeout_ms == 0 { WAIT_MAX } else { Duration::from_millis(timeout_ms).min(WAIT_MAX) };
    let of_call = deadline::given(metadata).map(|given| deadline::for_answer(now + given));
    of_call.map_or(now + asked, |of_call| of_call.min(now + asked))
}

/// A state of the job, and when it holds.
struct Told {
    message: v1::WatchJobResponse,
    stamp: Stamp,
}

impl Told {
    fn of(reading: &Reading, job: v1::Job) -> Self {
        let message = v1::WatchJobResponse { job: Some(job), revision: reading.stamp.revision };
        Self { message, stamp: reading.stamp }
    }
}

impl JobWatch {
    /// The job as it is, and what will tell of its changes.
    async fn open(
        services: &Services,
        metadata: &MetadataMap,
        id: i64,
        consistency: i32,
    ) -> Result<(Self, Told), Status> {
        let id = wire::job_id(id)?;
        let place = services.watch_place()?;
        let changes = services.raft.changes();
        let reading = services.reads.open(consistency, metadata).await?;
        let job = read_job(&reading, id)?;
        let (services, told, looked_at) = (services.clone(), Some(job.clone()), Instant::now());
        let stale = consistency == i32::from(v1::Consistency::Stale);
        let watch = Self { services, id, changes, told, looked_at, stale, _place: place };
        Ok((watch, Told::of(&reading, job)))
    }

    /// The next state that differs; `None` once the job has ended and that was told, or it was collected.
    async fn next(&mut self) -> Option<Result<Told, Status>> {
        loop {
            if self.told.as_ref().is_none_or(has_ended) {
                return None;
            }
            let ended = tokio::select! {
                changed = self.changes.changed() => {
                    changed.ok()?;
                    None
                }
                () = self.services.stopping.cancelled() => Some("this node is stopping: watch on another node"),
                () = self.services.reads.out_of_touch(), if !self.stale => {
                    Some("this node hears of no leader and of no changes any more: watch on another node")
                }
            };
            if let Some(reason) = ended {
                self.told = None;
                return Some(Err(Status::unavailable(reason)));
            }
            sleep_until(self.looked_at + LOOK_INTERVAL).await;
            self.changes.borrow_and_update();
            self.looked_at = Instant::now();
            if let Some(told) = self.look() {
                return Some(told);
            }
        }
    }

    fn look(&mut self) -> Option<Result<Told, Status>> {
        let reading = self.services.reads.after_write();
        let job = match read_job(&reading, self.id) {
            Ok(job) => job,
            Err(status) => {
                self.told = None;
                return (status.code() != Code::NotFound).then_some(Err(status));
            }
        };
        if self.told.as_ref().is_some_and(|told| same(told, &job)) {
            return None;
        }
        self.told = Some(job.clone());
        if has_ended(&job) && ferry_planted::is(Bug::WatchMissesEnd) {
            return None;
        }
        Some(Ok(Told::of(&reading, job)))
    }
}

impl Services {
    fn watch_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.watches.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "this node has {} watches open, its limit: watch on another node, or end some",
                self.config.limits.watches
            ))
        })
    }
}

/// Whether two states say the same; the time that passes is no change.
fn same(one: &v1::Job, other: &v1::Job) -> bool {
    let timeless = |job: &v1::Job| v1::Job { duration_ms: 0, ..job.clone() };
    timeless(one) == timeless(other)
}

fn has_ended(job: &v1::Job) -> bool {
    match job.state() {
        v1::JobState::Unspecified | v1::JobState::Pending | v1::JobState::Executing => false,
        v1::JobState::Completed | v1::JobState::Failed | v1::JobState::Canceled => true,
    }
}
