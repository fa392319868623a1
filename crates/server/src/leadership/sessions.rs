//! The workers as the leader sees them right now: who is connected, until when each lease runs, what each runs.
//!
//! Invariant: a worker in here has a row, and its lease on the leader ends later than on the worker, which counts from
//! the moment it sent the heartbeat.

use super::dispatcher::{self, JobMark, Run};
use super::shares::Share;
use ferry_machine::command::LeaseRef;
use ferry_machine::id::{JobId, TaskId, WorkerId};
use ferry_machine::limits;
use ferry_machine::plan::Connected;
use ferry_machine::row::{Worker, WorkerState};
use ferry_machine::tables::Read;
use ferry_machine::view;
use ferry_proto::v1::{Assign, SessionResponse};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::Status;

mod division;
#[cfg(test)]
mod tests;

/// Where answers to a worker go; a full queue means the worker does not read, and its connection is given up.
pub(super) type Outgoing = mpsc::Sender<Result<SessionResponse, Status>>;

/// Rows read at once of the workers that are known.
const WORKERS_PER_PAGE: usize = 1_000;
/// A worker that gave an attempt back is offered none for this long: it is most likely ending.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(2);
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
    /// Where its answers go; none while it is not connected, and none once it did not read what was sent.
    pub(super) outgoing: Option<Outgoing>,
    /// When it gave an attempt back.
    gave_back_at: Option<Instant>,
    /// What was sent to it and has not ended, by task.
    pub(super) runs: BTreeMap<TaskId, Run>,
    /// The jobs of that, as they were when it was told.
    pub(super) jobs: BTreeMap<JobId, JobMark>,
    /// What it was last told of their limits; unset where that is not known, since another leader told it.
    pub(super) shares: BTreeMap<JobId, Option<Share>>,
    /// When all of that was compared with the rows; unset where it has to be again.
    pub(super) compared_at: Option<Instant>,
}

/// A worker whose lease has ended.
#[derive(Debug)]
pub(super) struct Silent {
    pub(super) worker: WorkerId,
    pub(super) incarnation: u64,
    /// Attempts of it that had settled, by task.
    pub(super) settled: BTreeMap<TaskId, u32>,
}

impl Sessions {
    /// A new leader grants every known worker one full lease.
    pub(super) fn begin(read: &dyn Read) -> Self {
        let known = known_workers(read).into_iter().filter(|worker| worker.state != WorkerState::Lost);
        let workers = known.map(|worker| (worker.id, Session::unconnected(worker.incarnation))).collect();
        Self { workers: Mutex::new(workers) }
    }

    /// A worker said hello, and runs these attempts: from now on this connection is the one that counts. False when a
    /// later start of the worker has registered meanwhile.
    pub(super) fn connect<R: Read>(
        &self,
        (worker, incarnation): (WorkerId, u64),
        outgoing: Outgoing,
        running: impl Iterator<Item = (TaskId, u32)>,
        view: impl FnOnce() -> R,
    ) -> bool {
        let mut sessions = self.lock();
        let current = view::worker(&view(), worker).is_some_and(|row| row.incarnation == incarnation);
        if current {
            let runs = running.map(|(task, attempt)| (task, Run::of_worker(attempt))).collect();
            let session = Session { outgoing: Some(outgoing), runs, ..Session::unconnected(incarnation) };
            sessions.insert(worker, session);
        }
        current
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
    /// not known any more, or did not read what was sent to it, so that the worker has to say hello again.
    pub(super) fn renew(&self, worker: WorkerId, incarnation: u64, arrived: Instant) -> bool {
        match self.lock().get_mut(&worker) {
            Some(session) if session.incarnation == incarnation && session.outgoing.is_some() => {
                session.renewed_at = session.renewed_at.max(arrived);
                true
            }
            _ => false,
        }
    }

    /// Whether the lease of some worker has ended.
    pub(super) fn any_silent_for(&self, lease: Duration) -> bool {
        self.lock().values().any(|session| session.renewed_at.elapsed() > lease)
    }

    /// Takes out the workers whose lease has ended: nothing but another hello of theirs begins a new one, so none holds
    /// a lease when it is declared lost, and no attempt of it that has settled begins to write again.
    pub(super) fn take_silent_for(&self, lease: Duration) -> Vec<Silent> {
        let mut silent = Vec::new();
        self.lock().retain(|worker, session| {
            let holds = session.renewed_at.elapsed() <= lease;
            if !holds {
                let (worker, incarnation, settled) = (*worker, session.incarnation, session.settled());
                silent.push(Silent { worker, incarnation, settled });
            }
            holds
        });
        silent
    }

    /// Another start of the worker registers: what the one before it had settled, which from now on has to say hello before
    /// anything of it is answered.
    pub(super) fn replace(&self, worker: WorkerId, incarnation: u64) -> BTreeMap<TaskId, u32> {
        let mut sessions = self.lock();
        let replaced = sessions.get_mut(&worker).filter(|session| session.incarnation != incarnation);
        let Some(session) = replaced else { return BTreeMap::new() };
        session.outgoing = None;
        session.settled()
    }

    /// The worker says over this connection that an attempt has settled.
    pub(super) fn settled(&self, lease: LeaseRef, outgoing: &Outgoing) {
        if let Some(run) = self.lock().get_mut(&lease.worker).and_then(|session| session.run_of(lease, outgoing)) {
            run.settled = true;
        }
    }

    /// The worker asks over this connection to let an attempt write again. Whether it may: from now on nobody takes it for
    /// settled.
    pub(super) fn begin_writes(&self, lease: LeaseRef, outgoing: &Outgoing) -> bool {
        let mut sessions = self.lock();
        let run = sessions.get_mut(&lease.worker).and_then(|session| session.run_of(lease, outgoing));
        let known = run.is_some();
        if let Some(run) = run {
            run.settled = false;
        }
        known
    }

    /// A worker could not be declared lost: the start of it that the rows have is granted one full lease.
    pub(super) fn grant(&self, read: &dyn Read, worker: WorkerId) {
        let row = view::worker(read, worker).filter(|row| row.state != WorkerState::Lost);
        if let Some(row) = row {
            self.lock().entry(worker).or_insert_with(|| Session::unconnected(row.incarnation));
        }
    }

    /// The worker gave an attempt back.
    pub(super) fn gave_back(&self, worker: WorkerId) {
        if let Some(session) = self.lock().get_mut(&worker) {
            session.gave_back_at = Some(Instant::now());
        }
    }

    /// Connected workers and the slots they have free, by their rows.
    pub(super) fn connected(&self, read: &dyn Read) -> Vec<Connected> {
        let connected: Vec<(WorkerId, u64, bool)> = {
            let sessions = self.lock();
            let connected = sessions.iter().filter(|(_, session)| session.outgoing.is_some());
            connected.map(|(worker, session)| (*worker, session.incarnation, session.pauses())).collect()
        };
        let free = |(worker, incarnation, pauses): (WorkerId, u64, bool)| {
            let row = view::worker(read, worker).filter(|row| row.incarnation == incarnation)?;
            let takes_tasks = row.state == WorkerState::Active && !row.draining && !pauses;
            let slots_free = if takes_tasks { row.slots.saturating_sub(row.leased) } else { 0 };
            Some(Connected { worker, incarnation, slots_free })
        };
        connected.into_iter().filter_map(free).collect()
    }

    /// Sends each connected worker what its rows have and it lacks, and tells it to drop what they have no more.
    ///
    /// The rows are read with the sessions locked: by older rows an attempt that has just `finished` would be sent again.
    pub(super) fn reconcile<R: Read>(&self, view: impl FnOnce() -> R) {
        let mut sessions = self.lock();
        let read = view();
        let mut missing = Vec::new();
        for (worker, session) in sessions.iter_mut() {
            missing.extend(of_worker(*worker, dispatcher::reconcile(*worker, session, &read)));
        }
        division::tell(&mut sessions, &read, missing);
    }

    /// The same, where anything may have changed: what this costs does not depend on how much the workers run.
    pub(super) fn reconcile_outdated<R: Read>(&self, view: impl FnOnce() -> R) {
        let mut sessions = self.lock();
        let read = view();
        let mut missing = Vec::new();
        for (worker, session) in sessions.iter_mut().filter(|(_, session)| dispatcher::is_outdated(session, &read)) {
            missing.extend(of_worker(*worker, dispatcher::reconcile(*worker, session, &read)));
        }
        division::tell(&mut sessions, &read, missing);
    }

    /// Sends what has just been leased.
    pub(super) fn send_leased<R: Read>(&self, leased: &BTreeMap<WorkerId, Vec<TaskId>>, view: impl FnOnce() -> R) {
        let mut sessions = self.lock();
        let read = view();
        let mut missing = Vec::new();
        for (worker, tasks) in leased {
            if let Some(session) = sessions.get_mut(worker) {
                missing.extend(of_worker(*worker, dispatcher::leased(session, &read, tasks)));
            }
        }
        division::tell(&mut sessions, &read, missing);
    }

    /// An attempt has ended and need not be told anything any more; false when that was known.
    pub(super) fn finished(&self, worker: WorkerId, task: TaskId, attempt: u32) -> bool {
        self.lock().get_mut(&worker).is_some_and(|session| {
            let runs = session.runs.get(&task).is_some_and(|run| run.attempt == attempt);
            runs && session.runs.remove(&task).is_some()
        })
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

fn of_worker(worker: WorkerId, missing: Vec<Assign>) -> impl Iterator<Item = (WorkerId, Assign)> {
    missing.into_iter().map(move |assign| (worker, assign))
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
    /// Whose lease begins now, and who is not connected.
    fn unconnected(incarnation: u64) -> Self {
        let now = Instant::now();
        Self {
            incarnation,
            renewed_at: now,
            outgoing: None,
            gave_back_at: None,
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            shares: BTreeMap::new(),
            compared_at: None,
        }
    }

    /// A run, where the connection is the one that counts: an older one may carry what is true no more.
    fn run_of(&mut self, lease: LeaseRef, outgoing: &Outgoing) -> Option<&mut Run> {
        let counts = self.outgoing.as_ref().is_some_and(|current| current.same_channel(outgoing));
        self.runs.get_mut(&lease.task).filter(|run| counts && run.attempt == lease.attempt)
    }

    /// As many as one command releases.
    fn settled(&self) -> BTreeMap<TaskId, u32> {
        let settled = self.runs.iter().filter(|(_, run)| run.settled);
        settled.map(|(task, run)| (*task, run.attempt)).take(limits::RELEASES_PER_PAGE).collect()
    }

    fn pauses(&self) -> bool {
        self.gave_back_at.is_some_and(|at| at.elapsed() < GIVE_BACK_PAUSE)
    }

    /// Queues an answer. A worker that does not read loses its connection, with its next heartbeat at the latest, and
    /// never costs the leader time.
    pub(super) fn send(&mut self, response: SessionResponse) -> bool {
        let sent = self.outgoing.as_ref().is_some_and(|outgoing| outgoing.try_send(Ok(response)).is_ok());
        if !sent {
            self.outgoing = None;
        }
        sent
    }
}
