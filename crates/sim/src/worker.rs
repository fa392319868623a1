//! Workers: a lease by their own clock, attempts that claim, copy file by file and report, and everything that goes
//! wrong with a process: it crashes, is paused, restarts, forgets, or has a twin.

use crate::bug::Bug;
use crate::clock::Clock;
use crate::link::{Assign, FromWorker, Link, RunId, ToWorker};
use crate::queue::Event;
use crate::run::{Gate, Phase, Run};
use crate::settings::{HEARTBEAT_MS, LEASE_USED_MS};
use crate::world::World;
use ferry_machine::id::TaskId;
use ferry_machine::row::Work;
use std::collections::BTreeMap;

/// One start of a worker.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: usize,
    pub(crate) incarnation: u64,
    pub(crate) slots: u32,
    pub(crate) clock: Clock,
    pub(crate) alive: bool,
    /// Nothing of it runs before this moment.
    pub(crate) paused_until: u64,
    pub(crate) link: Option<u64>,
    welcomed: bool,
    hello_at: u64,
    /// Counts the uninterrupted periods in which it may write.
    lease_term: u64,
    lease_ends_ms: u64,
    unanswered: BTreeMap<u64, u64>,
    sequence: u64,
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Attempts it has said to have stopped: they do not begin again, for the leader may give them away any moment.
    /// With each, whether it left a write behind.
    stopped: BTreeMap<RunId, bool>,
}

impl Process {
    pub(crate) fn new(name: usize, incarnation: u64, slots: u32, clock: Clock) -> Self {
        Self {
            name,
            incarnation,
            slots,
            clock,
            alive: true,
            paused_until: 0,
            link: None,
            welcomed: false,
            hello_at: 0,
            lease_term: 0,
            lease_ends_ms: 0,
            unanswered: BTreeMap::new(),
            sequence: 0,
            runs: BTreeMap::new(),
            stopped: BTreeMap::new(),
        }
    }

    /// The period in which it may write now, by its own clock.
    pub(crate) fn lease_term_at(&self, now_ms: u64) -> Option<u64> {
        (self.lease_term > 0 && self.clock.monotonic_ms(now_ms) < self.lease_ends_ms).then_some(self.lease_term)
    }

    /// Whether this attempt may write now.
    pub(crate) fn may_write(&self, run: RunId, now_ms: u64) -> bool {
        let term = self.lease_term_at(now_ms);
        self.runs.get(&run).is_some_and(|run| !run.stopping && term == Some(run.lease_term))
    }

    fn renewed(&mut self, sequence: u64, now_ms: u64, bug: Option<Bug>) {
        let Some(sent_ms) = self.unanswered.remove(&sequence) else { return };
        self.unanswered = self.unanswered.split_off(&sequence);
        let now_ms = self.clock.monotonic_ms(now_ms);
        let from_ms = if bug == Some(Bug::LeaseFromAnswer) { now_ms } else { sent_ms };
        let ends_ms = from_ms + LEASE_USED_MS;
        if now_ms < self.lease_ends_ms {
            self.lease_ends_ms = self.lease_ends_ms.max(ends_ms);
        } else if now_ms < ends_ms {
            self.lease_term += 1;
            self.lease_ends_ms = ends_ms;
        }
    }
}

impl World {
    /// A worker process begins.
    pub(crate) fn start_worker(&mut self, name: usize) {
        let clock = Clock::new(&mut self.random);
        let slots = u32::try_from(self.random.between(1, 3)).unwrap_or(1);
        let incarnation = self.processes.len() as u64 + 1;
        let process = self.processes.len();
        self.processes.push(Process::new(name, incarnation, slots, clock));
        self.note(|| format!("worker-{name} starts, incarnation {incarnation}"));
        let at = self.now + self.random.between(1, 20);
        self.queue.push(at, Event::Beat(process));
    }

    /// When a paused process can do what it should do now; `None` where there is nothing to wait for.
    pub(crate) fn resumes_at(&self, process: usize) -> Option<u64> {
        self.processes.get(process).map(|process| process.paused_until).filter(|at| *at > self.now)
    }

    /// A worker's timer: it says hello or that it is there, and stops what it may not go on with.
    pub(crate) fn beat(&mut self, id: usize) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(id).filter(|process| process.alive) else { return };
        self.queue.push(now + HEARTBEAT_MS / 3, Event::Beat(id));
        let link = process.link.and_then(|link| self.links.get(&link));
        let silent = now.saturating_sub(process.hello_at) > HEARTBEAT_MS && !process.welcomed;
        if link.is_none_or(|link| link.broken) || silent {
            self.say_hello(id);
        } else if let Some(link) = process.link.filter(|_| process.welcomed) {
            process.sequence += 1;
            let sequence = process.sequence;
            process.unanswered.insert(sequence, process.clock.monotonic_ms(now));
            self.say_to_node(link, FromWorker::Heartbeat { sequence });
        }
        self.stop_without_lease(id);
        self.repeat_unanswered(id);
        self.repeat_gates(id);
    }

    fn say_hello(&mut self, id: usize) {
        let known = self.leader.filter(|_| self.random.percent(80));
        let node = known.unwrap_or_else(|| self.random.index(self.nodes.len()));
        let (now, link) = (self.now, self.made + 1);
        self.made = link;
        let Some(process) = self.processes.get_mut(id) else { return };
        if let Some(old) = process.link.and_then(|link| self.links.get_mut(&link)) {
            old.broken = true;
        }
        self.links.insert(link, Link::new(id, node, process.incarnation));
        process.link = Some(link);
        process.welcomed = false;
        process.hello_at = now;
        process.unanswered.clear();
        let running = process.runs.iter().filter(|(_, run)| !run.stopping).map(|(run, _)| *run).collect();
        self.say_to_node(link, FromWorker::Hello { running });
    }

    fn stop_without_lease(&mut self, id: usize) {
        if self.bug == Some(Bug::WorkerIgnoresLease) {
            return;
        }
        let now = self.now;
        let Some(process) = self.processes.get(id) else { return };
        let term = process.lease_term_at(now);
        let over = process.runs.iter().filter(|(_, run)| run.phase != Phase::Waiting && term != Some(run.lease_term));
        let over: Vec<RunId> =
            over.filter(|(_, run)| !matches!(run.phase, Phase::Ended(_))).map(|(run, _)| *run).collect();
        for run in over {
            self.count("a worker stops by its own clock");
            self.stop(id, run);
        }
    }

    /// Claims and results are said again until they are answered.
    fn repeat_unanswered(&mut self, id: usize) {
        let Some(process) = self.processes.get(id) else { return };
        let Some(link) = process.link.filter(|_| process.welcomed) else { return };
        let unanswered = |(run, state): (&RunId, &Run)| match &state.phase {
            Phase::Ended(result) => {
                Some(FromWorker::Result { run: *run, result: result.clone(), gave_up: state.gave_up })
            }
            Phase::Claiming => Some(state.claim(*run)),
            Phase::Waiting | Phase::Look | Phase::Copy | Phase::Delete => None,
        };
        let messages: Vec<FromWorker> = process.runs.iter().filter_map(unanswered).collect();
        for message in messages {
            self.say_to_node(link, message);
        }
    }

    /// So is what the leader has to know of attempts that have settled.
    fn repeat_gates(&mut self, id: usize) {
        let Some(process) = self.processes.get(id) else { return };
        let Some(link) = process.link.filter(|_| process.welcomed) else { return };
        let gates = |(run, state): (&RunId, &Run)| match state.gate {
            Gate::Open => None,
            Gate::Settled => Some(FromWorker::WritesSettled { run: *run }),
            Gate::Asking(sequence) => Some(FromWorker::WritesBegin { run: *run, sequence }),
        };
        let messages: Vec<FromWorker> = process.runs.iter().filter_map(gates).collect();
        for message in messages {
            self.say_to_node(link, message);
        }
    }

    /// Whether an attempt may send a write; one that has settled asks first.
    pub(crate) fn passes(&mut self, id: usize, run: RunId) -> bool {
        let bug = self.bug;
        let Some(process) = self.processes.get_mut(id) else { return false };
        let Some(state) = process.runs.get_mut(&run) else { return false };
        if state.gate == Gate::Settled && bug != Some(Bug::WritesWhileSettled) {
            process.sequence += 1;
            let sequence = process.sequence;
            state.gate = Gate::Asking(sequence);
            self.count("a settled attempt asks to write");
            self.tell(id, FromWorker::WritesBegin { run, sequence });
            return false;
        }
        state.gate == Gate::Open || bug == Some(Bug::WritesWhileSettled)
    }

    /// Now and then an attempt writes nothing for a while, once all it wrote was answered.
    fn settle(&mut self, id: usize, run: RunId) -> u64 {
        let settles = |state: &&mut Run| state.remote && !state.gave_up && state.gate == Gate::Open;
        let chance = self.random.percent(40);
        let state = self.processes.get_mut(id).and_then(|process| process.runs.get_mut(&run));
        let Some(state) = state.filter(settles).filter(|_| chance) else { return 1 };
        state.gate = Gate::Settled;
        self.count("an attempt settles");
        self.tell(id, FromWorker::WritesSettled { run });
        self.random.between(1, 3_000)
    }

    /// A message of the leader arrives.
    pub(crate) fn at_worker(&mut self, id: u64, message: ToWorker) {
        let (now, bug) = (self.now, self.bug);
        let Some(link) = self.links.get(&id).map(|link| link.process) else { return };
        if let Some(at) = self.resumes_at(link) {
            self.queue.push(at, Event::ToWorker { link: id, message });
            return;
        }
        let Some(process) = self.processes.get_mut(link).filter(|process| process.alive) else { return };
        if process.link != Some(id) {
            return;
        }
        match message {
            ToWorker::Welcome => {
                process.welcomed = true;
                process.sequence += 1;
                let sequence = process.sequence;
                process.unanswered.insert(sequence, process.clock.monotonic_ms(now));
                for state in process.runs.values_mut().filter(|state| matches!(state.gate, Gate::Asking(_))) {
                    process.sequence += 1;
                    state.gate = Gate::Asking(process.sequence);
                }
                self.say_to_node(id, FromWorker::Heartbeat { sequence });
                self.repeat_gates(link);
            }
            ToWorker::WritesBegun { run, sequence } => {
                if let Some(state) = process.runs.get_mut(&run).filter(|state| state.gate == Gate::Asking(sequence)) {
                    state.gate = Gate::Open;
                    self.queue.push(now + 1, Event::Step { process: link, run });
                }
            }
            ToWorker::Renewed { sequence } => {
                process.renewed(sequence, now, bug);
                self.begin_waiting(link);
            }
            ToWorker::Assign(assign) => self.take(link, assign),
            ToWorker::Claimed { run } => {
                if let Some(state) = process.runs.get_mut(&run).filter(|state| state.phase == Phase::Claiming) {
                    state.phase = Phase::Copy;
                    self.queue.push(now + 1, Event::Step { process: link, run });
                }
            }
            ToWorker::Drop { run } => self.stop(link, run),
            ToWorker::Acknowledged { run } => {
                process.runs.remove(&run);
            }
            ToWorker::Close => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.broken = true;
                }
            }
        }
    }

    fn take(&mut self, id: usize, assign: Assign) {
        if self.processes.get(id).is_some_and(|process| process.stopped.contains_key(&assign.run)) {
            self.say_dropped(id, assign.run, false);
            return;
        }
        self.supersede(id, assign.run);
        let Some(process) = self.processes.get_mut(id) else { return };
        if assign.claimed && assign.manifests != crate::store::manifests(&assign.mappings) {
            let (task, attempt) = assign.run;
            self.contradict(format!("attempt {attempt} of task {task} has pins of other manifests than its own"));
            return;
        }
        let metadata = crate::store::metadata(assign.snapshot_id);
        let files = match assign.mappings.is_empty() {
            // A publication makes its file of what the rows say.
            true => vec![(metadata, metadata)],
            false => assign.mappings.iter().flat_map(crate::store::files).collect(),
        };
        let first = match assign.work {
            Work::CleanUp => Phase::Delete,
            Work::Copy | Work::Publish if assign.claimed => Phase::Copy,
            Work::Copy | Work::Publish | Work::Verify => Phase::Look,
        };
        if process.runs.contains_key(&assign.run) {
            return;
        }
        let run = Run {
            job: assign.job,
            remote: assign.remote,
            work: assign.work,
            phase: Phase::Waiting,
            first,
            mappings: assign.mappings,
            files,
            files_done: 0,
            lease_term: 0,
            in_flight: false,
            stopping: false,
            gave_up: false,
            gate: Gate::Open,
        };
        process.runs.insert(assign.run, run);
        self.begin_waiting(id);
    }

    /// A newer attempt of a task ends the older ones: the leader names the newer one alone from now on.
    fn supersede(&mut self, id: usize, run: RunId) {
        let Some(process) = self.processes.get(id) else { return };
        let older: Vec<RunId> = process.runs.range((run.0, 0)..run).map(|(run, _)| *run).collect();
        older.into_iter().for_each(|run| self.stop(id, run));
    }

    /// Attempts that waited for a lease begin.
    fn begin_waiting(&mut self, id: usize) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(id) else { return };
        let Some(term) = process.lease_term_at(now) else { return };
        for (run, state) in process.runs.iter_mut().filter(|(_, state)| state.phase == Phase::Waiting) {
            state.phase = state.first.clone();
            state.lease_term = term;
            self.queue.push(now + 1, Event::Step { process: id, run: *run });
        }
    }

    /// An attempt stops, then the leader hears of it: what writes to a remote store at once, for a request is given up by
    /// not waiting for it; any other when what is in flight has landed.
    pub(crate) fn stop(&mut self, id: usize, run: RunId) {
        let bug = self.bug;
        let Some(process) = self.processes.get_mut(id) else { return };
        match process.runs.get_mut(&run) {
            Some(state) if state.in_flight && !state.may_give_up() && bug != Some(Bug::AcknowledgesBeforeStop) => {
                state.stopping = true;
            }
            _ => {
                let stopped = process.runs.remove(&run);
                let gave_up = stopped.as_ref().is_some_and(|run| run.gave_up || (run.in_flight && run.may_give_up()));
                if let Some(stopped) =
                    stopped.filter(|run| bug == Some(Bug::DeletesOnDrop) && run.work != Work::CleanUp)
                {
                    stopped.files.iter().take(stopped.files_done).for_each(|(_, target)| {
                        self.store.objects.remove(target);
                    });
                }
                self.say_dropped(id, run, gave_up);
            }
        }
    }

    /// Says that an attempt has stopped; where no session is open, the next hello says so by not naming it.
    fn say_dropped(&mut self, id: usize, run: RunId, gave_up: bool) {
        let Some(process) = self.processes.get_mut(id) else { return };
        let gave_up = *process.stopped.entry(run).and_modify(|before| *before |= gave_up).or_insert(gave_up);
        let Some(link) = process.link else { return };
        if process.welcomed {
            self.say_to_node(link, FromWorker::Dropped { run, gave_up });
        } else if let Some(link) = self.links.get_mut(&link) {
            link.broken = true;
        }
    }

    /// A worker has waited long enough for an answer: it tries again, and the store may carry the write out much later.
    pub(crate) fn give_up(&mut self, id: usize, run: RunId) {
        let Some(state) = self.processes.get_mut(id).and_then(|process| process.runs.get_mut(&run)) else { return };
        state.in_flight = false;
        state.gave_up = true;
        self.count("a worker gives a write up");
        self.queue.push(self.now + 1, Event::Step { process: id, run });
    }

    /// A write of an attempt has landed, or its answer has; the attempt goes on, or stops if it was to.
    pub(crate) fn landed(&mut self, id: usize, run: RunId) {
        let Some(state) = self.processes.get_mut(id).and_then(|process| process.runs.get_mut(&run)) else { return };
        state.in_flight = false;
        state.files_done += 1;
        if state.stopping {
            self.stop(id, run);
        } else {
            let pause_ms = self.settle(id, run);
            self.queue.push(self.now + pause_ms, Event::Step { process: id, run });
        }
    }

    /// Every attempt of a task, as (process, attempt).
    pub(crate) fn runs_of(&self, task: TaskId) -> impl Iterator<Item = (usize, RunId, &Run)> {
        self.processes.iter().enumerate().filter(|(_, process)| process.alive).flat_map(move |(id, process)| {
            process.runs.range((task, 0)..=(task, u32::MAX)).map(move |(run, state)| (id, *run, state))
        })
    }
}
