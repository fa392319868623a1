//! The world of a simulation: one thread, one queue of events, one source of chance.

use crate::bug::Bug;
use crate::client::{Call, Submit};
use crate::consensus::{Entry, Node, Proposal};
use crate::life::Told;
use crate::link::Link;
use crate::oracle::Oracle;
use crate::queue::{Event, Queue};
use crate::random::Random;
use crate::settings::{HEALING_MS_MAX, ID_START, Scale};
use crate::store::Store;
use crate::worker::Process;
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::row::{Job, JobState};
use ferry_machine::tables::Memory;
use ferry_machine::view;
use std::collections::BTreeMap;

/// Between two acts of clients and operators.
const ACT_MS: (u64, u64) = (500, 4_000);
/// How often somebody looks whether everything has healed, and resumes what is paused.
const CARE_MS: u64 = 5_000;
/// More than request ids are kept.
const REQUESTS_EXPIRE_MS: u64 = 25 * 60 * 60 * 1_000;
/// More events than any simulation needs.
const EVENTS_MAX: u64 = 400_000;

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) scale: Scale,
    pub(crate) bug: Option<Bug>,
    pub(crate) queue: Queue,
    pub(crate) random: Random,
    pub(crate) faults_on: bool,
    /// Numbers of proposals and links.
    pub(crate) made: u64,
    /// The committed log, the rows it makes, and what is on its way into it.
    pub(crate) log: Vec<Entry>,
    pub(crate) rows: Memory,
    pub(crate) proposals: BTreeMap<u64, Proposal>,
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) processes: Vec<Process>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) submits: Vec<Submit>,
    pub(crate) store: Store,
    pub(crate) oracle: Oracle,
    /// Segments with a row, as of the last whole check.
    pub(crate) segments: usize,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) transcript: Option<String>,
    pub(crate) contradiction: Option<String>,
    /// The life of one job that is told, where it is not the history of a seed.
    pub(crate) told: Option<Told>,
}

impl World {
    /// A world in which everything is about to start.
    pub(crate) fn new(seed: u64, scale: Scale, bug: Option<Bug>, transcribed: bool) -> Self {
        let mut world = Self::empty(seed, scale, bug, transcribed);
        world.populate();
        world.disturb();
        world
    }

    /// A world in which nothing goes wrong by itself, and nobody asks for anything.
    pub(crate) fn calm(seed: u64, scale: Scale) -> Self {
        let mut world = Self::empty(seed, scale, None, false);
        world.faults_on = false;
        world.populate();
        world
    }

    fn empty(seed: u64, scale: Scale, bug: Option<Bug>, transcribed: bool) -> Self {
        Self {
            now: 0,
            scale,
            bug,
            queue: Queue::default(),
            random: Random::new(seed),
            faults_on: true,
            made: 0,
            log: Vec::new(),
            rows: Memory::default(),
            proposals: BTreeMap::new(),
            term: 0,
            leader: None,
            nodes: Vec::new(),
            processes: Vec::new(),
            links: BTreeMap::new(),
            submits: Vec::new(),
            store: Store::default(),
            oracle: Oracle::default(),
            segments: 0,
            counts: BTreeMap::new(),
            transcript: transcribed.then(String::new),
            contradiction: None,
            told: None,
        }
    }

    fn populate(&mut self) {
        for _ in 0..self.scale.nodes {
            let node = Node::new(self.clock());
            self.nodes.push(node);
        }
        (0..self.scale.workers).for_each(|name| self.start_worker(name));
        self.queue.push(1, Event::Elect);
    }

    /// Clients with their submits, objects that are in the way, and all that goes wrong.
    fn disturb(&mut self) {
        let last = self.scale.faults_ms;
        for number in 0..usize::try_from(self.scale.submits).unwrap_or(0) {
            self.submits.push(Submit::new(number, &mut self.random));
            let at = self.random.between(50, last * 2 / 3);
            self.queue.push(at, Event::Submit(number));
        }
        for _ in 0..self.random.index(4) {
            let caller = self.random.percent(70);
            let target = if caller { self.random.between(1, 40) } else { self.random.between(1, 300) };
            let first = if caller { 0 } else { ID_START };
            self.store.put_foreign((SegmentId(first + i64::try_from(target).unwrap_or_default()), 0));
        }
        self.queue.push(self.scale.calm_ms, Event::Fault);
        self.queue.push(ACT_MS.1, Event::Act);
    }

    /// Faults, then healing.
    pub(crate) fn run(&mut self) {
        self.run_until(self.scale.faults_ms);
        self.heal();
        let end = self.now + HEALING_MS_MAX;
        while self.contradiction.is_none() && self.now < end && !self.healed() {
            self.care();
            self.run_until(self.now + CARE_MS);
        }
        if self.contradiction.is_none() && !self.healed() {
            let left = self.unhealed();
            self.contradict(format!("nothing healed within {HEALING_MS_MAX} ms: {left}"));
        }
        if self.contradiction.is_none() {
            self.judge_rest();
        }
    }

    /// Lets everything happen until a moment.
    pub(crate) fn run_until(&mut self, until: u64) {
        let mut events = 0;
        while self.contradiction.is_none()
            && let Some((at, event)) = self.queue.pop()
        {
            if at > until {
                self.queue.push(at, event);
                break;
            }
            self.now = at;
            self.happen(event);
            events += 1;
            if events > EVENTS_MAX {
                self.contradict("there is no end of events".to_owned());
            }
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Commit(number) => self.commit(number),
            Event::Apply(node) => self.apply_on(node),
            Event::Elect => self.elect(),
            Event::Depose { node, term } => self.depose(node, term),
            Event::StartNode(node) => self.start_node(node),
            Event::Round { node, term } => self.round(node, term),
            Event::Confirm { node, term, link, sequence, arrived_at } => {
                self.confirm(node, term, link, sequence, arrived_at);
            }
            Event::ToNode { link, message } => self.at_node(link, message),
            Event::ToWorker { link, message } => self.at_worker(link, message),
            Event::Beat(process) => match self.resumes_at(process) {
                Some(at) => self.queue.push(at, Event::Beat(process)),
                None => self.beat(process),
            },
            Event::Step { process, run } => self.step(process, run),
            Event::Land(write) => self.land(write),
            Event::GiveUp { process, run } => self.give_up(process, run),
            Event::StartWorker(name) => {
                if !self.processes.iter().any(|process| process.name == name && process.alive) {
                    self.start_worker(name);
                }
            }
            Event::Call(call) => self.call(call),
            Event::Submit(number) => self.submit(number),
            Event::Act if self.faults_on => {
                self.act();
                let wait = self.random.between(ACT_MS.0, ACT_MS.1);
                self.queue.push(self.now + wait, Event::Act);
            }
            Event::Fault if self.faults_on => self.fault(),
            Event::Act | Event::Fault => {}
        }
    }

    /// What people do once the faults are over: they mend what paused jobs and resume them, and take workers back.
    fn care(&mut self) {
        for job in view::list_jobs(&self.rows, JobId(i64::MIN), 1_000).items {
            if job.paused && !view::state(&job).is_some_and(view::State::terminal) {
                let mended = self.mend(job.paused_by);
                let call = if mended { Call::Pause(job.id, false) } else { Call::Cancel(job.id) };
                self.queue.push(self.now + 1, Event::Call(call));
            }
        }
        for worker in view::list_workers(&self.rows, WorkerId(i64::MIN), 1_000).items {
            if worker.draining {
                self.queue.push(self.now + 1, Event::Call(Call::Drain(worker.id, false)));
            }
        }
    }

    /// Puts back what a task misses that paused its job; what lies at its targets was there before, and is not theirs to
    /// remove.
    fn mend(&mut self, paused_by: Option<TaskId>) -> bool {
        let Some(task) = view::tasks_by_id(&self.rows, paused_by.as_slice()).pop() else { return true };
        if task.verifies && task.segments.iter().any(|segment| segment.target != segment.mapping.source) {
            // Nobody makes the copy that it does not find.
            return false;
        }
        let is_taken = |target| self.store.objects.keys().any(|(object, _)| *object == target);
        if !task.claimed && task.segments.iter().any(|segment| is_taken(segment.target)) {
            return false;
        }
        for segment in &task.segments {
            self.store.damaged.retain(|(source, _), _| *source != segment.mapping.source);
        }
        true
    }

    /// Whether every job has ended, was cleaned up and is collected, and every client has its answer.
    pub(crate) fn healed(&self) -> bool {
        let jobs = view::list_jobs(&self.rows, JobId(i64::MIN), 1).items;
        let counts = view::cluster(&self.rows).map(|cluster| cluster.jobs).unwrap_or_default();
        let collecting = self.rows.rows().any(|(_, row)| matches!(row, ferry_machine::row::Row::Job(_)));
        jobs.is_empty() && counts.draft == 0 && !collecting && self.submits.iter().all(Submit::is_done)
    }

    /// What has not ended: the first few jobs with their open tasks.
    fn unhealed(&self) -> String {
        let asked = self.submits.iter().filter(|submit| !submit.is_done()).count();
        let jobs = view::list_jobs(&self.rows, JobId(i64::MIN), 3).items;
        let tasks = |job: &Job| {
            let tasks = view::list_tasks(&self.rows, job, TaskId(i64::MIN), 10_000).items.into_iter();
            tasks
                .filter(|task| task.lease.is_some() || task.queued_at.is_some())
                .map(|task| (task.id, task.lease))
                .collect()
        };
        let jobs: Vec<(JobId, &JobState, bool, Vec<_>)> =
            jobs.iter().map(|job| (job.id, &job.state, job.paused, tasks(job))).collect();
        format!("{asked} submits are not answered; jobs {jobs:?}")
    }

    /// Two days later, request ids are forgotten too, and only what was published is left.
    pub(crate) fn judge_rest(&mut self) {
        self.run_until(self.now + CARE_MS);
        self.judge_rows();
        // A day passes at once, with no entry to commit its time: a leader that dies right after takes it along, so there
        // is another one.
        for _ in 0..2 {
            self.queue.delay_all(REQUESTS_EXPIRE_MS);
            self.now += REQUESTS_EXPIRE_MS;
            self.run_until(self.now + CARE_MS);
        }
        // Who died in this time comes back, too.
        while self.contradiction.is_none() && self.nodes.iter().any(|node| !node.up) {
            self.run_until(self.now + CARE_MS);
        }
        if self.contradiction.is_none() {
            self.judge_leftovers();
        }
    }
}
