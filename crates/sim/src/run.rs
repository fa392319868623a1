//! Attempts as their workers have them, and what they have in flight.

use crate::link::{FromWorker, RunId};
use crate::store::Key;
use ferry_machine::command::{IdMapping, TaskResult};
use ferry_machine::id::JobId;
use ferry_machine::row::Work;

/// Bytes of every file.
pub(crate) const FILE_BYTES: u64 = 10;

/// An attempt as its worker has it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) job: JobId,
    /// Its target is in a store that carries out late what nobody waits for any more.
    pub(crate) remote: bool,
    pub(crate) work: Work,
    pub(crate) phase: Phase,
    /// What comes after the wait for the lease.
    pub(crate) first: Phase,
    pub(crate) mappings: Vec<IdMapping>,
    pub(crate) files: Vec<(Key, Key)>,
    pub(crate) files_done: usize,
    pub(crate) lease_term: u64,
    pub(crate) in_flight: bool,
    /// It ends once nothing is in flight any more.
    pub(crate) stopping: bool,
    /// It gave up a write that the store may still carry out.
    pub(crate) gave_up: bool,
    /// Whether it may send writes to a remote store.
    pub(crate) gate: Gate,
}

/// Whether an attempt may send writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may.
    Open,
    /// Each was answered, and it asks before the next one.
    Settled,
    /// It asks, under this number.
    Asking(u64),
}

/// Where an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for the worker's lease.
    Waiting,
    /// It looks whether its targets are free.
    Look,
    /// It waits until its claim is committed.
    Claiming,
    /// It copies, or publishes.
    Copy,
    /// It deletes.
    Delete,
    /// It has ended and says so until it is heard.
    Ended(TaskResult),
}

/// A write in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) process: usize,
    pub(crate) run: RunId,
    pub(crate) job: JobId,
    pub(crate) key: Key,
    /// What to put there; nothing: delete it.
    pub(crate) content: Option<u64>,
    /// When it was sent.
    pub(crate) sent_at: u64,
    /// Where it goes to a remote store, its attempt may be over before it lands.
    pub(crate) remote: bool,
    /// Nobody waits for it any more when it lands.
    pub(crate) late: bool,
}

impl Run {
    /// Whether its task is a publication.
    pub(crate) fn publishes(&self) -> bool {
        self.mappings.is_empty()
    }

    /// Whether nothing of it is under way, neither a write nor a word.
    pub(crate) fn has_said_nothing(&self) -> bool {
        let silent = matches!(self.phase, Phase::Waiting | Phase::Look | Phase::Copy | Phase::Delete);
        silent && !self.in_flight && !self.stopping && !self.gave_up
    }

    /// Whether it does not wait for what it has in flight when it is stopped.
    pub(crate) fn may_give_up(&self) -> bool {
        self.remote && self.work != Work::CleanUp
    }

    /// What it says when its targets are free.
    pub(crate) fn claim(&self, run: RunId) -> FromWorker {
        FromWorker::Claim { run, bytes: self.bytes(), manifests: crate::store::manifests(&self.mappings) }
    }

    /// Bytes of all files that it copies.
    fn bytes(&self) -> u64 {
        if self.publishes() { 0 } else { self.files.len() as u64 * FILE_BYTES }
    }
}
