//! A leadership: its clock, its sessions, its window of ids; made when a node begins to lead, dropped when it learns that
//! it does not. The loop plans with the machine and proposes what it said, and nothing else.

use crate::bug::Bug;
use crate::clock::Clock;
use crate::consensus::Purpose;
use crate::queue::Event;
use crate::settings::{CHECK_INTERVAL_MS, EVENT_RETENTION_MS, LATE_WRITES_MS, LEASE_MS, REQUEST_TIMEOUT_MS};
use crate::world::World;
use ferry_machine::command::{Command, LeaseRef};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::plan::{Connected, Heads, Policy, plan, plan_on};
use ferry_machine::row::WorkerState;
use ferry_machine::tables::Memory;
use ferry_machine::time::Time;
use ferry_machine::view;
use std::collections::BTreeMap;
use std::ops::Range;

/// All that a leader owns.
#[derive(Debug)]
pub(crate) struct Leadership {
    pub(crate) term: u64,
    /// The barrier is behind it.
    pub(crate) ready: bool,
    base: Time,
    since_ms: u64,
    since_wall_ms: u64,
    pub(crate) sessions: BTreeMap<WorkerId, Session>,
    /// Proposals of the current round that are not answered yet.
    pub(crate) busy: usize,
    /// Registrations that are not answered yet: nobody is declared lost meanwhile.
    pub(crate) registering: usize,
    /// Workers that are being declared lost: whoever says hello meanwhile waits.
    pub(crate) losing: usize,
    next_round_at: u64,
    heads: Heads,
    pub(crate) window: Range<i64>,
}

/// A worker as the leader sees it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) incarnation: u64,
    pub(crate) renewed_ms: u64,
    pub(crate) link: Option<u64>,
    /// What it has, and when it was last told to drop it.
    pub(crate) runs: BTreeMap<TaskId, (u32, Option<u64>)>,
    /// Attempts that have settled.
    pub(crate) settled: BTreeMap<TaskId, u32>,
}

impl Session {
    pub(crate) fn new(incarnation: u64, renewed_ms: u64, link: Option<u64>) -> Self {
        Self { incarnation, renewed_ms, link, runs: BTreeMap::new(), settled: BTreeMap::new() }
    }
}

impl Leadership {
    /// A new leader grants every known worker one full lease.
    pub(crate) fn new(term: u64, rows: &Memory, monotonic_ms: u64) -> Self {
        let workers = view::list_workers(rows, WorkerId(i64::MIN), 1_000).items;
        let known = workers.into_iter().filter(|worker| worker.state != WorkerState::Lost);
        Self {
            term,
            ready: false,
            base: view::cluster(rows).map_or(Time(0), |cluster| cluster.now),
            since_ms: monotonic_ms,
            since_wall_ms: 0,
            sessions: known.map(|worker| (worker.id, Session::new(worker.incarnation, monotonic_ms, None))).collect(),
            busy: 0,
            registering: 0,
            losing: 0,
            next_round_at: u64::MAX,
            heads: Heads::default(),
            window: 0..0,
        }
    }

    /// Cluster time: what was committed last when this leader began, and what its monotonic clock has counted since.
    pub(crate) fn now(&self, clock: &Clock, now_ms: u64, bug: Option<Bug>) -> Time {
        if bug == Some(Bug::WallClockIsTime) && self.since_wall_ms > 0 {
            return self.base.plus(clock.wall_ms(now_ms).saturating_sub(self.since_wall_ms));
        }
        self.base.plus(clock.monotonic_ms(now_ms).saturating_sub(self.since_ms))
    }
}

impl World {
    /// The leadership of a node, as it sees itself, of this term.
    pub(crate) fn leading(&mut self, node: usize, term: u64) -> Option<&mut Leadership> {
        let leadership = self.nodes.get_mut(node).filter(|node| node.up)?.leadership.as_mut()?;
        (leadership.term == term).then_some(leadership)
    }

    /// The barrier is behind a new leader: it begins.
    pub(crate) fn begin_to_lead(&mut self, node: usize, term: u64) {
        let (now, bug) = (self.now, self.bug);
        let Some(leader) = self.nodes.get_mut(node) else { return };
        let monotonic_ms = leader.clock.monotonic_ms(now);
        leader.leadership = Some(Leadership::new(term, &leader.rows, monotonic_ms));
        if let Some(leadership) = &mut leader.leadership {
            leadership.ready = true;
            leadership.since_wall_ms = leader.clock.wall_ms(now);
            if bug == Some(Bug::NoLeaseFromNewLeader) {
                leadership.sessions.values_mut().for_each(|session| session.renewed_ms = 0);
            }
        }
        if view::cluster(&self.rows).is_none() {
            let command = Command::Bootstrap { cluster_id: 1, id_start: crate::settings::ID_START };
            self.propose(node, command, Purpose::Plan);
        }
        self.wake(node, 1);
    }

    /// Has the leader's loop come round soon.
    pub(crate) fn wake(&mut self, node: usize, in_ms: u64) {
        let at = self.now + in_ms;
        let Some(leadership) = self.nodes.get_mut(node).and_then(|node| node.leadership.as_mut()) else { return };
        if at < leadership.next_round_at {
            leadership.next_round_at = at;
            let term = leadership.term;
            self.queue.push(at, Event::Round { node, term });
        }
    }

    /// One round: what is silent is lost, what is planned is proposed; it waits until all of it is answered.
    pub(crate) fn round(&mut self, node: usize, term: u64) {
        let (now, bug) = (self.now, self.bug);
        let Some(leadership) = self.leading(node, term) else { return };
        if leadership.next_round_at != now || !leadership.ready || leadership.busy > 0 {
            if leadership.next_round_at <= now {
                leadership.next_round_at = u64::MAX;
                self.wake(node, CHECK_INTERVAL_MS);
            }
            return;
        }
        leadership.next_round_at = u64::MAX;
        self.lose_silent_workers(node);
        self.reconcile(node);
        let Some(leader) = self.nodes.get_mut(node) else { return };
        let Some(leadership) = &mut leader.leadership else { return };
        let cluster_now = leadership.now(&leader.clock, now, bug);
        let connected = connected(leadership, &leader.rows);
        let anew = plan(&leader.rows, cluster_now, &policy(bug), &connected);
        let plan = plan_on(&mut leadership.heads, &leader.rows, cluster_now, &policy(bug), &connected);
        assert_eq!(plan, anew, "whoever plans on sees what one sees who begins");
        let committed = view::cluster(&leader.rows).map_or(cluster_now, |cluster| cluster.now);
        let mut commands = plan.commands;
        commands.extend(plan.assignments.iter().copied().map(Command::AssignTask));
        if plan.next_due.is_some() && cluster_now.since(committed) >= 1_000 {
            commands.push(Command::Tick);
        }
        if bug == Some(Bug::AssignsBeforeCommit) {
            plan.assignments.iter().for_each(|lease| self.assign_early(node, *lease));
        }
        for command in commands {
            self.plan_proposed(node);
            self.propose(node, command, Purpose::Plan);
        }
        self.wake(node, CHECK_INTERVAL_MS);
    }

    fn plan_proposed(&mut self, node: usize) {
        if let Some(leadership) = self.nodes.get_mut(node).and_then(|node| node.leadership.as_mut()) {
            leadership.busy += 1;
        }
    }

    /// The planted bug: the worker hears of what nobody has agreed on.
    fn assign_early(&mut self, node: usize, lease: LeaseRef) {
        let rows = self.nodes.get(node).map(|node| node.rows.clone()).unwrap_or_default();
        let session = self.nodes.get(node).and_then(|node| node.leadership.as_ref()?.sessions.get(&lease.worker));
        let link = session.and_then(|session| session.link);
        if let (Some(link), Some((job, task))) = (link, view::task(&rows, lease.task)) {
            self.send_assignment(link, &job, &task, lease.attempt);
        }
    }

    /// A worker that is about to be lost gets no renewal while that is being agreed on.
    fn close_session(&mut self, node: usize, worker: WorkerId) {
        let leadership = self.nodes.get_mut(node).and_then(|node| node.leadership.as_mut());
        if let Some(session) = leadership.and_then(|leadership| leadership.sessions.get_mut(&worker)) {
            session.link = None;
        }
    }

    fn lose_silent_workers(&mut self, node: usize) {
        let (now, bug) = (self.now, self.bug);
        let Some(leader) = self.nodes.get_mut(node) else { return };
        let monotonic_ms = leader.clock.monotonic_ms(now);
        let Some(leadership) = &mut leader.leadership else { return };
        if leadership.registering > 0 {
            return;
        }
        let silent = |session: &Session| monotonic_ms.saturating_sub(session.renewed_ms) > LEASE_MS;
        let lost: Vec<(WorkerId, u64, BTreeMap<TaskId, u32>)> = leadership
            .sessions
            .iter()
            .filter(|(_, session)| silent(session))
            .map(|(worker, session)| (*worker, session.incarnation, session.settled.clone()))
            .collect();
        leadership.losing += lost.len();
        for (worker, incarnation, settled) in lost {
            let Policy { writes_for_ms, late_writes_ms, .. } = policy(bug);
            let command = Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled };
            self.plan_proposed(node);
            self.close_session(node, worker);
            self.propose(node, command, Purpose::Lose(worker, incarnation));
        }
    }
}

/// A lost worker's lease is over on its own clock: only what is in flight may still land.
fn policy(bug: Option<Bug>) -> Policy {
    let writes_for_ms = if bug == Some(Bug::NoQuietTime) { 0 } else { REQUEST_TIMEOUT_MS };
    let late_writes_ms = late_ms(true, bug);
    let event_retention_ms = EVENT_RETENTION_MS;
    Policy { writes_for_ms, late_writes_ms, assignments_max: 16, event_retention_ms, ..Policy::default() }
}

/// How long a remote store may carry out what an attempt gave up.
pub(crate) fn late_ms(gave_up: bool, bug: Option<Bug>) -> u64 {
    if gave_up && bug != Some(Bug::LateWritesIgnored) { LATE_WRITES_MS } else { 0 }
}

/// Connected workers and the slots they have free, by their rows.
fn connected(leadership: &Leadership, rows: &Memory) -> Vec<Connected> {
    let linked = leadership.sessions.iter().filter(|(_, session)| session.link.is_some());
    let free = |(worker, session): (&WorkerId, &Session)| {
        let row = view::worker(rows, *worker)?;
        Some(Connected {
            worker: *worker,
            incarnation: session.incarnation,
            slots_free: row.slots.saturating_sub(row.leased),
        })
    };
    linked.filter_map(free).collect()
}
