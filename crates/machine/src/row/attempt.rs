//! Attempts of tasks: the one that runs, and what is remembered of those that ended.

use crate::id::WorkerId;
use crate::time::Stamp;

/// What an attempt of a task does; it follows from the task's row (`derive::work_of`) and is not stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It copies the files of the task's segments.
    Copy,
    /// It writes the metadata file of the copy's own snapshot, once every copy of the job is complete.
    Publish,
    /// It deletes what earlier attempts of the task wrote.
    CleanUp,
    /// It looks at the objects of the task's segments, and writes nothing.
    Verify,
}

/// One attempt of a task by one incarnation of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub worker: WorkerId,
    /// Which start of that worker.
    pub incarnation: u64,
    /// Which attempt of the task.
    pub attempt: u32,
    /// Since when.
    pub since: Stamp,
}

/// An attempt that has ended, as its task remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    /// Which attempt of the task.
    pub number: u32,
    /// Who had it.
    pub worker: WorkerId,
    /// What it was to do.
    pub work: Work,
    /// When it was leased.
    pub started: Stamp,
    /// When its lease was taken back.
    pub ended: Stamp,
    /// How it ended.
    pub end: AttemptEnd,
    /// What went wrong; empty where nothing did.
    pub error: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Every segment was copied and verified.
    Copied,
    /// The copy's snapshot metadata file was written.
    Published,
    /// None of the target files was left.
    CleanedUp,
    /// Every object was as it has to be.
    Verified,
    /// It failed, and no retry could help.
    Permanent,
    /// Its worker's credentials were refused.
    Refused,
    /// It failed, and a retry may help.
    Transient,
    /// Its worker gave it back, because it ends or has no slot; not counted.
    GivenBack,
    /// Its store was away; not counted while that is not for long. Of several in a row the first and the last are kept.
    Outage,
    /// It was stopped, because its job is over or nothing ran for it; not counted.
    Stopped,
    /// Its worker was lost or started anew.
    Lost,
}
