//! The workers as the leader sees them right now: who is connected, until when each lease runs, what each runs.
//!
//! Invariant: a worker in here has a row, and its lease on the leader ends later than on the worker, which counts from
//! the moment it sent the heartbeat.

use super::dispatcher::{self, Run};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::plan::Connected;
use ferry_machine::row::{Worker, WorkerState};
use ferry_machine::tables::Read;
use ferry_machine::view;
use ferry_proto::v1::SessionResponse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::Status;

/// Where answers to a worker go; a full queue means the worker does not read, and its connection is given up.
pub(super) type Outgoing = mpsc::Sender<Result<SessionResponse, Status>>;

/// Rows read at once of the workers that are known.
const WORKERS_PER_PAGE: usize = 1_000;
/// Answers queued for one worker.
pub(super) const OUTGOING_MAX: usize = 4_096;

/// All workers that hold, or may hold, a lease.
pub(super) struct Sessions {
    workers: Mutex<BTreeMap<WorkerId, Session>>,
}

/// One of them.
pub(super) struct Session {
    pub(super) incarnation: u64,
    pub(super) renewed_at: Instant,
    pub(super) outgoing: Option<Outgoing>,
    /// What was sent to it and has not ended, by task.
    pub(super) runs: BTreeMap<TaskId, Run>,
}

impl Sessions {
    /// A new leader grants every known worker one full lease.
    pub(super) fn begin(read: &dyn Read) -> Self {
        let known = known_workers(read).into_iter().filter(|worker| worker.state != WorkerState::Lost);
        let workers = known.map(|worker| (worker.id, Session::unconnected(&worker))).collect();
        Self { workers: Mutex::new(workers) }
    }

    /// A worker said hello: from now on this connection is the one that counts.
    pub(super) fn connect(&self, worker: WorkerId, incarnation: u64, outgoing: Outgoing) {
        let session =
            Session { incarnation, renewed_at: Instant::now(), outgoing: Some(outgoing), runs: BTreeMap::new() };
        self.lock().insert(worker, session);
    }

    /// A connection ended; another one of the same worker may have replaced it already.
    pub(super) fn disconnect(&self, worker: WorkerId, outgoing: &Outgoing) {
        if let Some(session) = self.lock().get_mut(&worker)
            && session.outgoing.as_ref().is_some_and(|current| current.same_channel(outgoing))
        {
            session.outgoing = None;
        }
    }

    /// A heartbeat that arrived at `arrived` was confirmed: the lease runs from there. False when this incarnation is
    /// not known any more, so that the worker has to say hello again.
    pub(super) fn renew(&self, worker: WorkerId, incarnation: u64, arrived: Instant) -> bool {
        match self.lock().get_mut(&worker) {
            Some(session) if session.incarnation == incarnation => {
                session.renewed_at = session.renewed_at.max(arrived);
                true
            }
            _ => false,
        }
    }

    /// Workers whose lease has ended.
    pub(super) fn silent_for(&self, lease: Duration) -> Vec<(WorkerId, u64)> {
        let sessions = self.lock();
        let silent = sessions.iter().filter(|(_, session)| session.renewed_at.elapsed() > lease);
        silent.map(|(worker, session)| (*worker, session.incarnation)).collect()
    }

    /// The worker was declared lost; its connection, if it has one, ends.
    pub(super) fn forget(&self, worker: WorkerId, incarnation: u64) {
        let mut sessions = self.lock();
        if sessions.get(&worker).is_some_and(|session| session.incarnation == incarnation) {
            sessions.remove(&worker);
        }
    }

    /// Connected workers and the slots they have free, by their rows.
    pub(super) fn connected(&self, read: &dyn Read) -> Vec<Connected> {
        let connected: Vec<(WorkerId, u64)> = {
            let sessions = self.lock();
            let connected = sessions.iter().filter(|(_, session)| session.outgoing.is_some());
            connected.map(|(worker, session)| (*worker, session.incarnation)).collect()
        };
        let free = |(worker, incarnation): (WorkerId, u64)| {
            let row = view::worker(read, worker).filter(|row| row.incarnation == incarnation)?;
            let takes_tasks = row.state == WorkerState::Active && !row.draining;
            let slots_free = if takes_tasks { row.slots.saturating_sub(row.leased) } else { 0 };
            Some(Connected { worker, incarnation, slots_free })
        };
        connected.into_iter().filter_map(free).collect()
    }

    /// Sends each connected worker what its rows have and it lacks, and tells it to drop what they have no more.
    pub(super) fn reconcile(&self, read: &dyn Read) {
        for (worker, session) in self.lock().iter_mut() {
            dispatcher::reconcile(*worker, session, read);
        }
    }

    /// An attempt has ended and need not be told anything any more; false when that was known.
    pub(super) fn finished(&self, worker: WorkerId, task: TaskId, attempt: u32) -> bool {
        self.lock().get_mut(&worker).is_some_and(|session| {
            let runs = session.runs.get(&task).is_some_and(|run| run.attempt == attempt);
            runs && session.runs.remove(&task).is_some()
        })
    }

    /// What an attempt that the worker lists in its hello, or reports on, is known as from now on.
    pub(super) fn adopt(&self, worker: WorkerId, task: TaskId, attempt: u32) {
        if let Some(session) = self.lock().get_mut(&worker) {
            session.runs.insert(task, Run::of_worker(attempt));
        }
    }

    /// Notes progress; never goes back.
    pub(super) fn note_progress(&self, worker: WorkerId, task: TaskId, attempt: u32, copied_bytes: u64) {
        if let Some(session) = self.lock().get_mut(&worker)
            && let Some(run) = session.runs.get_mut(&task)
            && run.attempt == attempt
        {
            run.live_bytes = run.live_bytes.max(copied_bytes);
        }
    }

    /// Calls `visit` for every run of every worker.
    pub(super) fn for_each_run(&self, mut visit: impl FnMut(WorkerId, u64, TaskId, &mut Run)) {
        for (worker, session) in self.lock().iter_mut() {
            for (task, run) in &mut session.runs {
                visit(*worker, session.incarnation, *task, run);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Session>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every worker that has a row.
fn known_workers(read: &dyn Read) -> Vec<Worker> {
    let mut known = Vec::new();
    let mut after = Some(WorkerId(i64::MIN));
    while let Some(from) = after {
        let page = view::list_workers(read, from, WORKERS_PER_PAGE);
        known.extend(page.items);
        after = page.next;
    }
    known
}

impl Session {
    fn unconnected(worker: &Worker) -> Self {
        Self { incarnation: worker.incarnation, renewed_at: Instant::now(), outgoing: None, runs: BTreeMap::new() }
    }

    /// Queues an answer. A worker that does not read loses its connection, never the leader's time.
    pub(super) fn send(&mut self, response: SessionResponse) -> bool {
        let sent = self.outgoing.as_ref().is_some_and(|outgoing| outgoing.try_send(Ok(response)).is_ok());
        if !sent {
            self.outgoing = None;
        }
        sent
    }
}
