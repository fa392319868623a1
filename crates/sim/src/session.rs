//! A leader's end of the sessions: messages of workers become proposals, and workers hear of what is committed.

use crate::bug::Bug;
use crate::client::Call;
use crate::consensus::{Answer, Proposal, Purpose};
use crate::leader::{Session, late_ms};
use crate::link::{Assign, FromWorker, RunId, ToWorker};
use crate::queue::Event;
use crate::settings::{DROP_REPEAT_MS, LEASE_MS, REQUEST_TIMEOUT_MS};
use crate::world::World;
use ferry_machine::command::{Command, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{Job, JobState, Task, Work};
use ferry_machine::tables::Memory;
use ferry_machine::view;
use std::collections::BTreeMap;

impl World {
    /// A message of a worker arrives.
    pub(crate) fn at_node(&mut self, id: u64, message: FromWorker) {
        let Some(link) = self.links.get(&id).cloned() else { return };
        let leading = self.nodes.get(link.node).filter(|node| node.up).and_then(|node| node.leadership.as_ref());
        let Some(term) = leading.filter(|leadership| leadership.ready).map(|leadership| leadership.term) else {
            self.say_to_worker(id, ToWorker::Close);
            return;
        };
        let lease = |run| link.lease(run);
        match message {
            FromWorker::Hello { running } => {
                let Some(process) = self.processes.get(link.process) else { return };
                let Some(leadership) = self.nodes.get_mut(link.node).and_then(|node| node.leadership.as_mut()) else {
                    return;
                };
                if leadership.losing > 0 {
                    let message = FromWorker::Hello { running };
                    self.queue.push(self.now + 1, Event::ToNode { link: id, message });
                    return;
                }
                leadership.registering += 1;
                let name = format!("worker-{}", process.name);
                let settled = self.replace(link.node, &name, link.incarnation);
                let Some(process) = self.processes.get(link.process) else { return };
                let command = Command::RegisterWorker {
                    name,
                    incarnation: link.incarnation,
                    slots: process.slots,
                    labels: BTreeMap::new(),
                    writes_for_ms: self.quiet_ms(LEASE_MS + REQUEST_TIMEOUT_MS),
                    late_writes_ms: late_ms(true, self.bug),
                    settled,
                };
                self.propose(link.node, command, Purpose::Hello { link: id, running });
            }
            FromWorker::Heartbeat { sequence } => self.heartbeat(id, link.node, term, sequence),
            FromWorker::Claim { run, bytes, manifests } => {
                let Some(lease) = lease(run) else { return };
                let command = Command::ClaimTargets { lease, bytes_planned: bytes, manifests };
                self.propose(link.node, command, Purpose::Claim { link: id, run });
            }
            FromWorker::Progress { run, bytes } => {
                let Some(lease) = lease(run) else { return };
                let command = Command::ReportProgress { lease, bytes_copied: bytes };
                self.propose(link.node, command, Purpose::Progress { link: id, run });
            }
            FromWorker::Result { run, result, gave_up } => {
                let Some(lease) = lease(run).map(|lease| self.booked_under(lease)) else { return };
                let command = Command::ReportTask { lease, result, writes_for_ms: late_ms(gave_up, self.bug) };
                self.propose(link.node, command, Purpose::Report { link: id, run });
            }
            FromWorker::Dropped { run, gave_up } => {
                let Some(lease) = lease(run) else { return };
                let command = Command::ReleaseTask { lease, writes_for_ms: late_ms(gave_up, self.bug) };
                self.propose(link.node, command, Purpose::Dropped { link: id, run });
            }
            FromWorker::WritesSettled { run } => {
                if let Some(session) = self.session_of(id) {
                    session.settled.insert(run.0, run.1);
                }
            }
            FromWorker::WritesBegin { run, sequence } => {
                let Some(session) = self.session_of(id) else { return };
                session.settled.remove(&run.0);
                if session.runs.get(&run.0).is_some_and(|(attempt, _)| *attempt == run.1) {
                    self.say_to_worker(id, ToWorker::WritesBegun { run, sequence });
                }
            }
        }
    }

    /// The session that this link carries, where it is the one that counts.
    fn session_of(&mut self, id: u64) -> Option<&mut Session> {
        let link = self.links.get(&id)?;
        let (node, worker) = (link.node, link.worker?);
        let leadership = self.nodes.get_mut(node)?.leadership.as_mut()?;
        leadership.sessions.get_mut(&worker).filter(|session| session.link == Some(id))
    }

    /// Another start of a worker registers: what the one before it had settled, which has to say hello from now on.
    fn replace(&mut self, node: usize, name: &str, incarnation: u64) -> BTreeMap<TaskId, u32> {
        let Some(node) = self.nodes.get_mut(node) else { return BTreeMap::new() };
        let known = view::worker_named(&node.rows, name).map(|worker| worker.id);
        let sessions = node.leadership.as_mut().map(|leadership| &mut leadership.sessions);
        let session = known.zip(sessions).and_then(|(worker, sessions)| sessions.get_mut(&worker));
        let Some(session) = session.filter(|session| session.incarnation != incarnation) else {
            return BTreeMap::new();
        };
        session.link = None;
        session.settled.clone()
    }

    fn quiet_ms(&self, quiet_ms: u64) -> u64 {
        if self.bug == Some(Bug::NoQuietTime) { 0 } else { quiet_ms }
    }

    /// The attempt itself; with the planted bug, whichever holds the lease now.
    fn booked_under(&self, lease: LeaseRef) -> LeaseRef {
        let holder = view::task(&self.rows, lease.task).and_then(|(_, task)| task.lease);
        match holder.filter(|_| self.bug == Some(Bug::ResultsOfAnyAttempt)) {
            Some(held) => {
                LeaseRef { attempt: held.attempt, worker: held.worker, incarnation: held.incarnation, ..lease }
            }
            None => lease,
        }
    }

    /// A heartbeat is answered after a confirmation of the leadership that begins now.
    fn heartbeat(&mut self, link: u64, node: usize, term: u64, sequence: u64) {
        let arrived_at = self.now;
        let round_trip = self.random.between(1, 8);
        self.queue.push(self.now + round_trip, Event::Confirm { node, term, link, sequence, arrived_at });
    }

    /// The confirmation is answered.
    pub(crate) fn confirm(&mut self, node: usize, term: u64, id: u64, sequence: u64, arrived_at: u64) {
        let confirmed = self.term == term && self.quorum(node);
        if !confirmed {
            self.count("fault: leadership not confirmed");
        }
        if !confirmed && self.bug != Some(Bug::RenewsUnconfirmed) {
            return;
        }
        let Some((worker, incarnation)) = self.links.get(&id).and_then(|link| Some((link.worker?, link.incarnation)))
        else {
            return;
        };
        let Some(monotonic_ms) = self.nodes.get(node).map(|node| node.clock.monotonic_ms(arrived_at)) else { return };
        let Some(leadership) = self.leading(node, term) else { return };
        // Hellos may be answered in another order than they were sent: only the connection that counts renews.
        let counts = |session: &&mut Session| session.incarnation == incarnation && session.link == Some(id);
        let session = leadership.sessions.get_mut(&worker).filter(counts);
        let Some(session) = session else {
            self.say_to_worker(id, ToWorker::Close);
            return;
        };
        session.renewed_ms = session.renewed_ms.max(monotonic_ms);
        self.say_to_worker(id, ToWorker::Renewed { sequence });
    }

    /// The proposer learns what became of its proposal, if it still leads.
    pub(crate) fn answered(&mut self, proposal: &Proposal, answer: Option<Answer>) {
        let (node, term) = (proposal.node, proposal.term);
        let Some(leadership) = self.leading(node, term) else { return };
        match proposal.purpose {
            Purpose::Hello { .. } => leadership.registering -= 1,
            Purpose::Lose(..) => leadership.losing -= 1,
            Purpose::Barrier
            | Purpose::Plan
            | Purpose::Claim { .. }
            | Purpose::Progress { .. }
            | Purpose::Report { .. }
            | Purpose::Dropped { .. }
            | Purpose::Client(_) => {}
        }
        match (&proposal.purpose, answer) {
            (Purpose::Barrier, Some(_)) => self.begin_to_lead(node, term),
            (Purpose::Barrier, None) => {
                if self.term == term {
                    self.propose(node, Command::Tick, Purpose::Barrier);
                }
            }
            (Purpose::Plan, _) => self.round_answered(node, term),
            (Purpose::Lose(worker, incarnation), answer) => {
                if matches!(answer, Some(Ok(_)))
                    && let Some(leadership) = self.leading(node, term)
                    && leadership.sessions.get(worker).is_some_and(|session| session.incarnation == *incarnation)
                {
                    leadership.sessions.remove(worker);
                }
                self.round_answered(node, term);
            }
            (Purpose::Hello { link, running }, Some(Ok(Outcome::Worker(worker)))) => {
                self.welcome(node, term, *link, worker, running);
            }
            (Purpose::Hello { link, .. }, _) => self.say_to_worker(*link, ToWorker::Close),
            (Purpose::Claim { link, run }, Some(Ok(_))) => self.say_to_worker(*link, ToWorker::Claimed { run: *run }),
            (Purpose::Report { link, run }, Some(Ok(_))) => {
                self.finished(node, term, *link, *run);
                self.say_to_worker(*link, ToWorker::Acknowledged { run: *run });
            }
            (Purpose::Report { link, run }, Some(Err(rejection @ Rejection::WrongTargets { .. }))) => {
                self.refuse_result(proposal, *link, *run, &rejection);
            }
            (Purpose::Claim { link, run } | Purpose::Report { link, run }, Some(Err(_))) => {
                self.say_to_worker(*link, ToWorker::Drop { run: *run });
            }
            (Purpose::Dropped { link, run }, Some(_)) => self.finished(node, term, *link, *run),
            // The worker has forgotten the attempt, so nobody would name it again: both sides compare anew.
            (Purpose::Dropped { link, .. }, None) => self.say_to_worker(*link, ToWorker::Close),
            (Purpose::Client(call), answer) => self.answer_client(call, answer),
            (Purpose::Claim { .. } | Purpose::Report { .. } | Purpose::Progress { .. }, _) => {}
        }
        self.wake(node, 1);
    }

    /// A worker that reports other targets than its own would do so again: the attempt has failed.
    fn refuse_result(&mut self, refused: &Proposal, link: u64, run: RunId, rejection: &Rejection) {
        let Some(lease) = self.links.get(&link).and_then(|link| link.lease(run)) else { return };
        let result = TaskResult::Failed { kind: FailureKind::Transient, reason: rejection.to_string() };
        let writes_for_ms =
            if let Command::ReportTask { writes_for_ms, .. } = refused.command { writes_for_ms } else { 0 };
        self.propose(refused.node, Command::ReportTask { lease, result, writes_for_ms }, Purpose::Report { link, run });
    }

    fn round_answered(&mut self, node: usize, term: u64) {
        let Some(leadership) = self.leading(node, term) else { return };
        leadership.busy = leadership.busy.saturating_sub(1);
        if leadership.busy == 0 {
            self.reconcile(node);
        }
    }

    /// Both sides compare: what the worker runs is noted, what it lacks is sent, what the rows lack is dropped.
    fn welcome(&mut self, node: usize, term: u64, id: u64, worker: WorkerId, running: &[RunId]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.worker = Some(worker);
        let incarnation = link.incarnation;
        let Some(renewed_ms) = self.nodes.get(node).map(|node| node.clock.monotonic_ms(self.now)) else { return };
        self.say_to_worker(id, ToWorker::Welcome);
        let runs = running.iter().map(|(task, attempt)| (*task, (*attempt, None))).collect();
        if let Some(leadership) = self.leading(node, term) {
            leadership.sessions.insert(worker, Session { runs, ..Session::new(incarnation, renewed_ms, Some(id)) });
        }
        self.reconcile(node);
    }

    fn finished(&mut self, node: usize, term: u64, link: u64, run: RunId) {
        let Some(worker) = self.links.get(&link).and_then(|link| link.worker) else { return };
        let Some(leadership) = self.leading(node, term) else { return };
        let Some(session) = leadership.sessions.get_mut(&worker) else { return };
        if session.runs.get(&run.0).is_some_and(|(attempt, _)| *attempt == run.1) {
            session.runs.remove(&run.0);
        }
    }

    /// Sends each connected worker what its rows have and it lacks, and tells it to drop what they have no more.
    pub(crate) fn reconcile(&mut self, node: usize) {
        let Some(leader) = self.nodes.get_mut(node) else { return };
        let monotonic_ms = leader.clock.monotonic_ms(self.now);
        let Some(mut leadership) = leader.leadership.take() else { return };
        let rows = std::mem::take(&mut leader.rows);
        for (worker, session) in &mut leadership.sessions {
            self.reconcile_one(&rows, *worker, session, monotonic_ms);
        }
        if let Some(leader) = self.nodes.get_mut(node) {
            leader.rows = rows;
            leader.leadership = Some(leadership);
        }
    }

    fn reconcile_one(&mut self, rows: &Memory, worker: WorkerId, session: &mut Session, monotonic_ms: u64) {
        let Some(link) = session.link else { return };
        let mut wanted = BTreeMap::new();
        for task in view::assigned_tasks(rows, worker) {
            let Some(lease) = task.lease.filter(|lease| lease.incarnation == session.incarnation) else { continue };
            let Some(job) = view::job(rows, task.job) else { continue };
            if !should_run(&job, &task) {
                session.runs.entry(task.id).or_insert((lease.attempt, None));
                continue;
            }
            wanted.insert(task.id, lease.attempt);
            if session.runs.get(&task.id).is_none_or(|run| run.0 != lease.attempt) {
                self.send_assignment(link, &job, &task, lease.attempt);
                session.runs.insert(task.id, (lease.attempt, None));
            }
        }
        for (task, (attempt, told)) in &mut session.runs {
            let repeat = told.is_none_or(|told| monotonic_ms.saturating_sub(told) >= DROP_REPEAT_MS);
            if wanted.get(task) != Some(attempt) && repeat {
                *told = Some(monotonic_ms);
                self.say_to_worker(link, ToWorker::Drop { run: (*task, *attempt) });
            }
        }
    }

    pub(crate) fn send_assignment(&mut self, link: u64, job: &Job, task: &Task, attempt: u32) {
        let mappings = view::task_mappings(task).collect();
        let (work, snapshot_id) = (view::work(task), job.snapshot_id);
        let run: (TaskId, u32) = (task.id, attempt);
        let (claimed, manifests) = (task.claimed, task.manifests.clone());
        let remote = job.spec.target_uri.starts_with("s3://");
        let assign = Assign { run, job: job.id, remote, work, snapshot_id, claimed, manifests, mappings };
        self.say_to_worker(link, ToWorker::Assign(assign));
    }

    /// A call of a client arrives at a node, which leads or says nothing.
    pub(crate) fn call(&mut self, call: Call) {
        let leading = |node: &&usize| {
            let leadership = self.nodes.get(**node).filter(|node| node.up).and_then(|node| node.leadership.as_ref());
            leadership.is_some_and(|leadership| leadership.ready)
        };
        let leaders: Vec<usize> = (0..self.nodes.len()).collect::<Vec<_>>().iter().filter(leading).copied().collect();
        let Some(node) = self.random.pick(&leaders) else { return };
        match self.command_of(&call, node) {
            Some(command) => self.propose(node, command, Purpose::Client(call)),
            None => self.hand_out_ids(node, &call),
        }
    }
}

/// A lease of a live job copies or publishes; one of a failed or canceled job may only clean up.
fn should_run(job: &Job, task: &Task) -> bool {
    match &job.state {
        JobState::Executing => true,
        JobState::Failed { .. } | JobState::Canceled { .. } => view::work(task) == Work::CleanUp,
        JobState::Draft { .. } | JobState::Pending | JobState::Completed { .. } | JobState::Collecting => false,
    }
}
