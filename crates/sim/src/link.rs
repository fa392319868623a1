//! Sessions between workers and nodes: messages of one link arrive in order until it breaks; what was under way then is
//! late or lost, and may overtake, or be overtaken by, what a later link carries.

use crate::queue::Event;
use crate::world::World;
use ferry_machine::command::{IdMapping, LeaseRef, TaskResult};
use ferry_machine::id::{JobId, TaskId, WorkerId};
use ferry_machine::row::{ManifestPin, Work};

/// An attempt, as both sides name it.
pub(crate) type RunId = (TaskId, u32);

/// What a worker says.
#[derive(Debug, Clone)]
pub(crate) enum FromWorker {
    /// The first message: who it is and what it runs.
    Hello { running: Vec<RunId> },
    /// It is there.
    Heartbeat { sequence: u64 },
    /// It found its targets free.
    Claim { run: RunId, bytes: u64, manifests: Vec<ManifestPin> },
    /// How far it is.
    Progress { run: RunId, bytes: u64 },
    /// How an attempt ended.
    Result { run: RunId, result: TaskResult, gave_up: bool },
    /// An attempt has stopped, or was never known.
    Dropped { run: RunId, gave_up: bool },
    /// Each write of an attempt was answered, and it sends no other before it may.
    WritesSettled { run: RunId },
    /// It has to write again.
    WritesBegin { run: RunId, sequence: u64 },
}

/// What a leader says.
#[derive(Debug, Clone)]
pub(crate) enum ToWorker {
    /// The session is open.
    Welcome,
    /// The lease is renewed.
    Renewed { sequence: u64 },
    /// Copy, publish or clean up.
    Assign(Assign),
    /// The targets are the attempt's.
    Claimed { run: RunId },
    /// Stop.
    Drop { run: RunId },
    /// The result is in.
    Acknowledged { run: RunId },
    /// The attempt may write again.
    WritesBegun { run: RunId, sequence: u64 },
    /// Say hello again.
    Close,
}

/// What an attempt is to do.
#[derive(Debug, Clone)]
pub(crate) struct Assign {
    pub(crate) run: RunId,
    pub(crate) job: JobId,
    pub(crate) remote: bool,
    pub(crate) work: Work,
    pub(crate) snapshot_id: i64,
    pub(crate) claimed: bool,
    /// Of the mappings' sources, as the claim found them; empty before it.
    pub(crate) manifests: Vec<ManifestPin>,
    pub(crate) mappings: Vec<IdMapping>,
}

/// A connection of a worker to a node.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) process: usize,
    pub(crate) node: usize,
    pub(crate) incarnation: u64,
    /// The worker's id, once the node has welcomed it.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) broken: bool,
    to_node_at: u64,
    to_worker_at: u64,
}

impl Link {
    pub(crate) fn new(process: usize, node: usize, incarnation: u64) -> Self {
        Self { process, node, incarnation, worker: None, broken: false, to_node_at: 0, to_worker_at: 0 }
    }

    /// An attempt of this link's worker.
    pub(crate) fn lease(&self, run: RunId) -> Option<LeaseRef> {
        let worker = self.worker?;
        Some(LeaseRef { task: run.0, attempt: run.1, worker, incarnation: self.incarnation })
    }
}

impl World {
    /// How long a message takes, now and then very long; `None` for one that is lost.
    pub(crate) fn message_delay_ms(&mut self) -> Option<u64> {
        if !self.faults_on {
            return Some(self.random.between(1, 5));
        }
        match self.random.next() % 100 {
            0..=1 => {
                self.count("fault: message lost");
                None
            }
            2..=4 => {
                self.count("fault: message late");
                Some(self.random.between(1_000, 9_000))
            }
            _ => Some(self.random.between(1, 30)),
        }
    }

    /// The time at which a message of an open link arrives; losing one breaks the link.
    fn carry(&mut self, link: u64, to_node: bool) -> Option<u64> {
        if self.links.get(&link).is_none_or(|link| link.broken) {
            return None;
        }
        let delay = self.message_delay_ms();
        let now = self.now;
        let link = self.links.get_mut(&link)?;
        let Some(delay) = delay else {
            link.broken = true;
            return None;
        };
        let last = if to_node { &mut link.to_node_at } else { &mut link.to_worker_at };
        *last = (now + delay).max(*last + 1);
        Some(*last)
    }

    /// A worker says something; false when it knows that nobody hears.
    pub(crate) fn say_to_node(&mut self, link: u64, message: FromWorker) {
        if let Some(at) = self.carry(link, true) {
            self.queue.push(at, Event::ToNode { link, message });
        }
    }

    /// A node says something.
    pub(crate) fn say_to_worker(&mut self, link: u64, message: ToWorker) {
        if let Some(at) = self.carry(link, false) {
            self.queue.push(at, Event::ToWorker { link, message });
        }
    }
}
