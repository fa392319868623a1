//! One worker's session: its messages become proposals, and it hears of them once they are committed.
//!
//! Messages of attempts that arrive together are proposed together, and share entries of the log.
//!
//! Invariant: no message waits for those that came before it and are not answered, so a slow proposal never costs a lease;
//! and a renewal is answered only after the leadership was confirmed by a round begun after the heartbeat arrived.

mod wire;

use super::dispatcher::drop_of;
use super::sessions::{OUTGOING_MAX, Outgoing};
use super::{Leader, Leadership};
use crate::config::LeadershipConfig;
use ferry_machine::command::{Command, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::view;
use ferry_proto::v1::{self, Heartbeat, SessionRequest, SessionResponse};
use ferry_proto::v1::{session_request::Message as FromWorker, session_response::Message as ToWorker};
use ferry_raft::{ProposeError, Proposed};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{info, warn};
use wire::{attempt, manifest, task_result};

/// A worker must say hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// While so many messages of one worker are being worked on, more wait in the stream.
const MESSAGES_MAX: usize = 256;
/// Messages that are worked on together: the first is answered when the last one is committed.
const TOGETHER_MAX: usize = 64;

/// What a session answers with.
pub(crate) type Responses = ReceiverStream<Result<SessionResponse, Status>>;

impl Leader {
    /// Opens a session, or tells the worker who leads.
    pub(crate) async fn open_session(&self, mut incoming: Streaming<SessionRequest>) -> Result<Responses, Status> {
        let Some(leadership) = self.current() else { return Err(Status::unavailable("this node does not lead")) };
        let hello = hello(&mut incoming).await?;
        check_waits(&hello, &leadership.config)?;
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

/// A clean-up waits for as long as the nodes are told that a worker's request can take, and that a store can carry it out
/// late: a longer one could write after it.
fn check_waits(hello: &v1::Hello, config: &LeadershipConfig) -> Result<(), Status> {
    let waits = [
        ("request-timeout", hello.request_timeout_ms, config.request_timeout_ms()),
        ("late-writes", hello.late_writes_ms, config.late_writes_ms()),
    ];
    let Some((option, own_ms, longest_ms)) = waits.into_iter().find(|(_, own_ms, longest_ms)| own_ms > longest_ms)
    else {
        return Ok(());
    };
    Err(Status::failed_precondition(format!(
        "worker {:?} has a `{option}` of {own_ms} ms, and the nodes wait {longest_ms} ms before they clean up after it \
         (`leadership.{option}`): shorten the worker's, or lengthen that of every node first",
        hello.name
    )))
}

async fn register(leadership: &Leadership, hello: &v1::Hello) -> Result<WorkerId, Status> {
    let known = view::worker_named(&leadership.raft.view(), &hello.name);
    let settled = known.map(|known| leadership.sessions.replace(known.id, hello.incarnation)).unwrap_or_default();
    let command = Command::RegisterWorker {
        name: hello.name.clone(),
        incarnation: hello.incarnation,
        slots: hello.slots,
        labels: hello.labels.clone().into_iter().collect(),
        writes_for_ms: leadership.config.writes_for_ms(),
        late_writes_ms: leadership.config.late_writes_ms(),
        settled,
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
            hears_writes: true,
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

    async fn run(self, incoming: Streaming<SessionRequest>) {
        let mut incoming = incoming.ready_chunks(TOGETHER_MAX);
        let mut handling = FuturesUnordered::new();
        let mut messages = 0;
        loop {
            tokio::select! {
                arrived = incoming.next(), if messages < MESSAGES_MAX => {
                    let Some(tasks) = arrived.and_then(|arrived| self.tasks(arrived)) else { break };
                    messages += tasks.iter().map(|(count, _)| count).sum::<usize>();
                    handling.extend(tasks.into_iter().map(|(count, task)| async move { (count, task.await) }));
                }
                Some((count, known)) = handling.next(), if !handling.is_empty() => {
                    messages -= count;
                    if !known {
                        break;
                    }
                }
                () = self.outgoing.closed() => break,
            }
        }
        drop(handling);
        if let Some(leadership) = self.leadership.upgrade() {
            info!(worker_id = self.worker.0, "worker disconnected");
            leadership.sessions.disconnect(self.worker, &self.outgoing);
        }
    }

    /// What is to be done about messages that arrived together, and for how many of them; `None` when the stream broke or
    /// a message cannot be read.
    fn tasks(&self, arrived: Vec<Result<SessionRequest, Status>>) -> Option<Vec<(usize, BoxFuture<'_, bool>)>> {
        let (mut tasks, mut asked) = (Vec::new(), Vec::new());
        for request in arrived {
            match request.ok()?.message {
                None => {}
                Some(FromWorker::Hello(_)) => return None,
                Some(FromWorker::Heartbeat(Heartbeat { sequence })) => {
                    tasks.push((1, self.renew(sequence, Instant::now()).boxed()));
                }
                Some(FromWorker::Progress(progress)) => self.progress(&progress)?,
                Some(FromWorker::WritesSettled(settled)) => self.writes_settled(&settled)?,
                Some(FromWorker::WritesBegin(begin)) => self.writes_begin(&begin)?,
                Some(FromWorker::Claim(claim)) => {
                    let lease = self.lease(claim.attempt)?;
                    let manifests = claim.manifests.iter().map(manifest).collect();
                    asked.push((lease, Command::ClaimTargets { lease, bytes_planned: claim.total_bytes, manifests }));
                }
                Some(FromWorker::Result(result)) => {
                    let (lease, writes_for_ms) = (self.lease(result.attempt)?, result.writes_for_ms);
                    let result = task_result(result.outcome?);
                    asked.push((lease, Command::ReportTask { lease, result, writes_for_ms }));
                }
                Some(FromWorker::Dropped(dropped)) => {
                    let lease = self.lease(dropped.attempt)?;
                    let writes_for_ms = dropped.writes_for_ms;
                    asked.push((lease, Command::ReleaseTask { lease, writes_for_ms }));
                }
            }
        }
        if !asked.is_empty() {
            tasks.push((asked.len(), self.propose(asked).boxed()));
        }
        Some(tasks)
    }

    /// Proposes what attempts ask for, and answers each. False when the worker has to say hello again.
    async fn propose(&self, asked: Vec<(LeaseRef, Command)>) -> bool {
        let Some(leadership) = self.leadership.upgrade() else { return false };
        let (leases, commands): (Vec<LeaseRef>, Vec<Command>) = asked.into_iter().unzip();
        if commands.iter().any(gives_back) {
            leadership.sessions.gave_back(self.worker);
        }
        let proposed = leadership.propose_all(&commands).await;
        let mut known = true;
        for ((lease, command), proposed) in leases.into_iter().zip(&commands).zip(proposed) {
            match command {
                Command::ClaimTargets { .. } => self.claimed(&leadership, lease, proposed).await,
                Command::ReleaseTask { .. } => known &= self.released(&leadership, lease, &proposed),
                _ => self.reported(&leadership, lease, proposed, writes_for_ms(command)).await,
            }
        }
        known
    }

    async fn renew(&self, sequence: u64, arrived: Instant) -> bool {
        let Some(leadership) = self.leadership.upgrade() else { return false };
        if leadership.raft.confirm_leadership(leadership.term).await.is_err() {
            return true;
        }
        // A worker that does not read its answers must not go on holding a lease: its tasks would wait for ever.
        let addresses = leadership.raft.addresses();
        leadership.sessions.renew(self.worker, self.incarnation, arrived)
            && self.answer(ToWorker::Renewed(v1::Renewed { sequence, addresses }))
    }

    async fn claimed(&self, leadership: &Leadership, lease: LeaseRef, proposed: Result<Proposed, ProposeError>) {
        let Err(error) = proposed else {
            self.answer(ToWorker::Claimed(v1::Claimed { attempt: Some(attempt(lease)) }));
            return;
        };
        if let Some(rejection) = cannot_be(&error) {
            // Whether that is committed or not, the attempt is dropped; it has written nothing yet.
            let _ = self.fail(leadership, lease, rejection, 0).await;
        }
        self.refused(lease, &error);
    }

    fn progress(&self, progress: &v1::Progress) -> Option<()> {
        let (attempt, leadership) = (progress.attempt?, self.leadership.upgrade()?);
        let task = TaskId(attempt.task_id);
        leadership.sessions.note_progress(self.worker, task, attempt.attempt, progress.copied_bytes);
        Some(())
    }

    fn writes_settled(&self, settled: &v1::WritesSettled) -> Option<()> {
        let (lease, leadership) = (self.lease(settled.attempt)?, self.leadership.upgrade()?);
        leadership.sessions.settled(lease, &self.outgoing);
        Some(())
    }

    /// Where the attempt is not known any more, it hears so otherwise.
    fn writes_begin(&self, begin: &v1::WritesBegin) -> Option<()> {
        let (lease, leadership) = (self.lease(begin.attempt)?, self.leadership.upgrade()?);
        if leadership.sessions.begin_writes(lease, &self.outgoing) {
            let (attempt, sequence) = (begin.attempt, begin.sequence);
            self.answer(ToWorker::WritesBegun(v1::WritesBegun { attempt, sequence }));
        }
        Some(())
    }

    async fn reported(
        &self,
        leadership: &Leadership,
        lease: LeaseRef,
        mut reported: Result<Proposed, ProposeError>,
        writes_for_ms: u64,
    ) {
        if let Some(rejection) = reported.as_ref().err().and_then(cannot_be).cloned() {
            reported = self.fail(leadership, lease, &rejection, writes_for_ms).await;
        }
        match reported {
            Ok(proposed) => self.acknowledge(leadership, lease, &proposed),
            Err(error) => self.refused(lease, &error),
        }
    }

    /// A worker that says what cannot be would say it again: the attempt has failed, and counts. A source that is not what
    /// it was is not for another attempt to mend.
    async fn fail(
        &self,
        leadership: &Leadership,
        lease: LeaseRef,
        rejection: &Rejection,
        writes_for_ms: u64,
    ) -> Result<Proposed, ProposeError> {
        warn!(worker_id = self.worker.0, %rejection, "an attempt failed by what its worker said of it");
        let altered = matches!(rejection, Rejection::ManifestAltered { .. });
        let kind = if altered { FailureKind::Permanent } else { FailureKind::Transient };
        let result = TaskResult::Failed { kind, reason: rejection.to_string() };
        leadership.propose(Command::ReportTask { lease, result, writes_for_ms }).await
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

    fn released(&self, leadership: &Leadership, lease: LeaseRef, released: &Result<Proposed, ProposeError>) -> bool {
        match released {
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

/// Whether a report gives its attempt back.
fn gives_back(command: &Command) -> bool {
    let Command::ReportTask { result, .. } = command else { return false };
    matches!(result, TaskResult::Failed { kind: FailureKind::GivenBack, .. })
}

/// How long the store may carry out what a reported attempt gave up.
fn writes_for_ms(command: &Command) -> u64 {
    if let Command::ReportTask { writes_for_ms, .. } = command { *writes_for_ms } else { 0 }
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
