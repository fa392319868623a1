//! WatchJob and WaitJob: fed by what is applied on the node they are connected to, several changes told as one.
//!
//! Invariant: the states a watch shows are states the job was in, in their order, the last of them included.

use super::Services;
use super::jobs::read_job;
use super::news::{News, Tells};
use crate::deadline;
use crate::reads::{Reading, Stamp};
use crate::wire;
use ferry_machine::id::JobId;
use ferry_planted::Bug;
use ferry_proto::v1;
use futures::Stream;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// How long a wait goes on where neither the request nor its call has an end.
const WAIT_MAX: Duration = Duration::from_hours(24 * 365);

/// What WatchJob answers with.
pub(super) type JobStream = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

/// One job as it changes.
struct JobWatch {
    news: News,
    id: JobId,
    told: Option<v1::Job>,
}

pub(super) async fn watch(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::WatchJobRequest,
) -> Result<Response<JobStream>, Status> {
    let of = (request.job_id, request.consistency);
    let (mut watch, first) = JobWatch::open(services, metadata, of, Tells::Changes).await?;
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
    let of = (request.job_id, request.consistency);
    let (mut watch, mut last) = JobWatch::open(services, metadata, of, Tells::TheEnd).await?;
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
        (id, consistency): (i64, i32),
        tells: Tells,
    ) -> Result<(Self, Told), Status> {
        let id = wire::job_id(id)?;
        let (news, reading) = News::open(services, metadata, consistency, tells).await?;
        let job = read_job(&reading, id)?;
        let watch = Self { news, id, told: Some(job.clone()) };
        Ok((watch, Told::of(&reading, job)))
    }

    /// The next state that differs; `None` once the job has ended and that was told, or it was collected.
    async fn next(&mut self) -> Option<Result<Told, Status>> {
        loop {
            if self.told.as_ref().is_none_or(has_ended) {
                return None;
            }
            let reading = match self.news.next().await? {
                Ok(reading) => reading,
                Err(status) => {
                    self.told = None;
                    return Some(Err(status));
                }
            };
            if let Some(told) = self.look(&reading) {
                return Some(told);
            }
        }
    }

    fn look(&mut self, reading: &Reading) -> Option<Result<Told, Status>> {
        let job = match read_job(reading, self.id) {
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
        Some(Ok(Told::of(reading, job)))
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
