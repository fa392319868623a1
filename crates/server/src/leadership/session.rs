//! One worker's session: its messages become proposals, and it hears of them once they are committed.
//!
//! Invariant: no message of a worker waits for another one of its messages, so a slow proposal never costs a lease;
//! and a renewal is answered only after the leadership was confirmed by a round begun after the heartbeat arrived.

use super::dispatcher::drop_of;
use super::sessions::{OUTGOING_MAX, Outgoing};
use super::{Leader, Leadership};
use ferry_machine::command::{Command, CopiedSegment, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::{SegmentId, TaskId, WorkerId};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::ManifestPin;
use ferry_machine::view;
use ferry_proto::v1::{self, SessionRequest, SessionResponse};
use ferry_proto::v1::{session_request::Message as FromWorker, session_response::Message as ToWorker};
use ferry_raft::{ProposeError, Proposed};
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{info, warn};

/// A worker must say hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages of one worker that are being worked on at once; more wait in the stream.
const MESSAGES_MAX: usize = 256;

/// What a session answers with.
pub(crate) type Responses = ReceiverStream<Result<SessionResponse, Status>>;

impl Leader {
    /// Opens a session, or tells the worker who leads.
    pub(crate) async fn open_session(&self, mut incoming: Streaming<SessionRequest>) -> Result<Responses, Status> {
        let Some(leadership) = self.current() else { return Err(Status::unavailable("this node does not lead")) };
        let hello = hello(&mut incoming).await?;
        check_request_timeout(&hello, leadership.config.request_timeout_ms())?;
        let registering = leadership.registrations.read().await;
        let worker = register(&leadership, &hello).await?;
        let (outgoing, responses) = mpsc::channel(OUTGOING_MAX);
        let session =
            OpenSession { worker, incarnation: hello.incarnation, outgoing, leadership: Arc::downgrade(&leadership) };
        session.welcome(&leadership, &hello)?;
        let ended = leadership.ended.clone();
        drop(registering);
        drop(leadership);
        tokio::spawn(ended.run_until_cancelled_owned(session.run(incoming)));
        Ok(ReceiverStream::new(responses))
    }
}

async fn hello(incoming: &mut Streaming<SessionRequest>) -> Result<v1::Hello, Status> {
    let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no hello within 10 s: send hello first"))??;
    match first.and_then(|request| request.message) {
        Some(FromWorker::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("the first message of a session must be `hello`")),
    }
}

/// A clean-up waits for as long as the nodes are told that a worker's request can take: a longer one could write after it.
fn check_request_timeout(hello: &v1::Hello, longest_ms: u64) -> Result<(), Status> {
    if hello.request_timeout_ms <= longest_ms {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "worker {:?} has a `request-timeout` of {} ms, and the nodes wait {longest_ms} ms before they clean up after it \
         (`leadership.request-timeout`): shorten the worker's, or lengthen that of every node first",
        hello.name, hello.request_timeout_ms
    )))
}

async fn register(leadership: &Leadership, hello: &v1::Hello) -> Result<WorkerId, Status> {
    let command = Command::RegisterWorker {
        name: hello.name.clone(),
        incarnation: hello.incarnation,
        slots: hello.slots,
        labels: hello.labels.clone().into_iter().collect(),
        writes_for_ms: leadership.config.writes_for_ms(),
    };
    match leadership.propose(command).await.map_err(|error| crate::status::of_propose(&error))?.outcome {
        Outcome::Worker(worker) => Ok(worker),
        other => Err(Status::internal(format!("a registration was answered with {other:?}"))),
    }
}

/// A session as its own task sees it; holds its leadership weakly, for it must not outlive it.
struct OpenSession {
    worker: WorkerId,
    incarnation: u64,
    outgoing: Outgoing,
    leadership: Weak<Leadership>,
}

impl OpenSession {
    /// Both sides compare: what the worker runs is noted, what it lacks is sent, what the rows lack is dropped.
    fn welcome(&self, leadership: &Leadership, hello: &v1::Hello) -> Result<(), Status> {
        info!(worker_id = self.worker.0, name = hello.name, running = hello.running.len(), "worker connected");
        self.answer(ToWorker::Welcome(v1::Welcome {
            worker_id: self.worker.0,
            lease_ms: leadership.config.lease_ms(),
            heartbeat_interval_ms: leadership.config.heartbeat_interval_ms(),
        }));
        let running = hello.running.iter().map(|running| (TaskId(running.task_id), running.attempt));
        let (worker, view) = ((self.worker, self.incarnation), || leadership.raft.view());
        if !leadership.sessions.connect(worker, self.outgoing.clone(), running, view) {
            let name = &hello.name;
            return Err(Status::aborted(format!(
                "another process has registered as worker {name:?}: give each worker a name of its own"
            )));
        }
        leadership.sessions.reconcile(view);
        leadership.wake();
        Ok(())
    }

    async fn run(self, mut incoming: Streaming<SessionRequest>) {
        let mut handling = FuturesUnordered::new();
        loop {
            tokio::select! {
                message = incoming.message(), if handling.len() < MESSAGES_MAX => match message {
                    Ok(Some(SessionRequest { message: Some(message) })) => {
                        handling.push(self.handle(message, Instant::now()));
                    }
                    Ok(Some(SessionRequest { message: None })) => {}
                    Ok(None) | Err(_) => break,
                },
                Some(known) = handling.next(), if !handling.is_empty() => if !known { break },
                () = self.outgoing.closed() => break,
            }
        }
        drop(handling);
        if let Some(leadership) = self.leadership.upgrade() {
            info!(worker_id = self.worker.0, "worker disconnected");
            leadership.sessions.disconnect(self.worker, &self.outgoing);
        }
    }

    /// False when the worker has to say hello again.
    async fn handle(&self, message: FromWorker, arrived: Instant) -> bool {
        let Some(leadership) = self.leadership.upgrade() else { return false };
        match message {
            FromWorker::Hello(_) => false,
            FromWorker::Heartbeat(heartbeat) => self.renew(&leadership, heartbeat.sequence, arrived).await,
            FromWorker::Claim(claim) => self.claim(&leadership, claim).await,
            FromWorker::Progress(progress) => self.progress(&leadership, &progress),
            FromWorker::Result(result) => self.result(&leadership, result).await,
            FromWorker::Dropped(dropped) => self.dropped(&leadership, dropped).await,
        }
    }

    async fn renew(&self, leadership: &Leadership, sequence: u64, arrived: Instant) -> bool {
        if leadership.raft.confirm_leadership(leadership.term).await.is_err() {
            return true;
        }
        // A worker that does not read its answers must not go on holding a lease: its tasks would wait for ever.
        leadership.sessions.renew(self.worker, self.incarnation, arrived)
            && self.answer(ToWorker::Renewed(v1::Renewed { sequence }))
    }

    async fn claim(&self, leadership: &Leadership, claim: v1::Claim) -> bool {
        let Some(lease) = self.lease(claim.attempt) else { return false };
        let manifests = claim.manifests.iter().map(manifest).collect();
        let command = Command::ClaimTargets { lease, bytes_planned: claim.total_bytes, manifests };
        match leadership.propose(command).await {
            Ok(_) => {
                self.answer(ToWorker::Claimed(v1::Claimed { attempt: claim.attempt }));
            }
            Err(error) => {
                if let Some(rejection) = cannot_be(&error) {
                    // Whether that is committed or not, the attempt is dropped.
                    let _ = self.fail(leadership, lease, rejection).await;
                }
                self.refused(lease, &error);
            }
        }
        true
    }

    fn progress(&self, leadership: &Leadership, progress: &v1::Progress) -> bool {
        let Some(attempt) = &progress.attempt else { return false };
        let task = TaskId(attempt.task_id);
        leadership.sessions.note_progress(self.worker, task, attempt.attempt, progress.copied_bytes);
        true
    }

    async fn result(&self, leadership: &Leadership, result: v1::Result) -> bool {
        let (Some(lease), Some(outcome)) = (self.lease(result.attempt), result.outcome) else { return false };
        let result = task_result(outcome);
        if matches!(result, TaskResult::Failed { kind: FailureKind::GivenBack, .. }) {
            leadership.sessions.gave_back(self.worker);
        }
        let mut reported = leadership.propose(Command::ReportTask { lease, result }).await;
        if let Some(rejection) = reported.as_ref().err().and_then(cannot_be).cloned() {
            reported = self.fail(leadership, lease, &rejection).await;
        }
        match reported {
            Ok(proposed) => self.acknowledge(leadership, lease, &proposed),
            Err(error) => self.refused(lease, &error),
        }
        true
    }

    /// A worker that says what cannot be would say it again: the attempt has failed, and counts. A source that is not what
    /// it was is not for another attempt to mend.
    async fn fail(
        &self,
        leadership: &Leadership,
        lease: LeaseRef,
        rejection: &Rejection,
    ) -> Result<Proposed, ProposeError> {
        warn!(worker_id = self.worker.0, %rejection, "an attempt failed by what its worker said of it");
        let altered = matches!(rejection, Rejection::ManifestAltered { .. });
        let kind = if altered { FailureKind::Permanent } else { FailureKind::Transient };
        let result = TaskResult::Failed { kind, reason: rejection.to_string() };
        leadership.propose(Command::ReportTask { lease, result }).await
    }

    fn acknowledge(&self, leadership: &Leadership, lease: LeaseRef, proposed: &Proposed) {
        let first_time = leadership.sessions.finished(self.worker, lease.task, lease.attempt);
        self.answer(ToWorker::Acknowledged(v1::Acknowledged { attempt: Some(attempt(lease)) }));
        if !first_time {
            return;
        }
        let job_ended = matches!(proposed.outcome, Outcome::Reported { job_ended: true });
        let read = leadership.raft.view();
        if let Some((job, task)) = view::task(&read, lease.task) {
            leadership.metrics.observe_task(&task);
            if job_ended {
                leadership.metrics.observe_job(&job);
            }
        }
    }

    async fn dropped(&self, leadership: &Leadership, dropped: v1::Dropped) -> bool {
        let Some(lease) = self.lease(dropped.attempt) else { return false };
        match leadership.propose(Command::ReleaseTask { lease }).await {
            Ok(_) | Err(ProposeError::Rejected { .. }) => {
                leadership.sessions.finished(self.worker, lease.task, lease.attempt);
                true
            }
            // Not known whether it landed, and the worker says it once: another hello compares both sides.
            Err(_) => false,
        }
    }

    /// A refused attempt is dropped; what is merely not known is repeated by the worker.
    fn refused(&self, lease: LeaseRef, error: &ProposeError) {
        if let ProposeError::Rejected { rejection, .. } = error {
            info!(worker_id = self.worker.0, %rejection, "an attempt was refused");
            // Where the queue is full the drop is told again, by the checker or in answer to the next report.
            let _ = self.outgoing.try_send(Ok(drop_of(lease.task, lease.attempt)));
        }
    }

    fn lease(&self, attempt: Option<v1::Attempt>) -> Option<LeaseRef> {
        attempt.map(|attempt| LeaseRef {
            task: TaskId(attempt.task_id),
            attempt: attempt.attempt,
            worker: self.worker,
            incarnation: self.incarnation,
        })
    }

    /// False where the queue is full, which is a worker that does not read: its next heartbeat ends the session.
    fn answer(&self, message: ToWorker) -> bool {
        self.outgoing.try_send(Ok(SessionResponse { message: Some(message) })).is_ok()
    }
}

/// Why a claim or a result can never be applied, whoever repeats it; `None` when it came too late or is not known.
fn cannot_be(error: &ProposeError) -> Option<&Rejection> {
    match error {
        ProposeError::Rejected { rejection, .. } => matches!(
            rejection,
            Rejection::WrongTargets { .. } | Rejection::ManifestAltered { .. } | Rejection::Invalid { .. }
        )
        .then_some(rejection),
        ProposeError::NotLeader { .. }
        | ProposeError::Overloaded
        | ProposeError::Unknown { .. }
        | ProposeError::Stopped => None,
    }
}

fn attempt(lease: LeaseRef) -> v1::Attempt {
    v1::Attempt { task_id: lease.task.0, attempt: lease.attempt }
}

fn manifest(pin: &v1::ManifestPin) -> ManifestPin {
    ManifestPin { size_bytes: pin.size_bytes, crc32c: pin.crc32c }
}

fn task_result(outcome: v1::result::Outcome) -> TaskResult {
    match outcome {
        v1::result::Outcome::Copied(copied) => {
            TaskResult::Copied { segments: copied.segments.iter().map(copied_segment).collect() }
        }
        v1::result::Outcome::CleanedUp(_) => TaskResult::CleanedUp,
        v1::result::Outcome::Failure(failure) => {
            TaskResult::Failed { kind: failure_kind(failure.kind()), reason: failure.reason }
        }
    }
}

fn copied_segment(segment: &v1::CopiedSegment) -> CopiedSegment {
    CopiedSegment {
        target: SegmentId(segment.target_segment_id),
        partition_id: segment.partition_id,
        rows: segment.num_of_rows,
        bytes: segment.size_bytes,
    }
}

fn failure_kind(kind: v1::FailureKind) -> FailureKind {
    match kind {
        v1::FailureKind::Permanent => FailureKind::Permanent,
        v1::FailureKind::Refused => FailureKind::Refused,
        v1::FailureKind::GivenBack => FailureKind::GivenBack,
        v1::FailureKind::Transient | v1::FailureKind::Unspecified => FailureKind::Transient,
    }
}
