//! Keys of the rows; their derived order is the order of every scan, in memory and on disk.

use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::time::Time;

/// Where a row is. The order of the variants and of their fields is the order of the tables: the on-disk encoding
/// in `store` keeps it, and a property test compares the two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `row::Cluster`: one row, written by every command.
    Cluster,
    /// `row::Job`.
    Job(JobId),
    /// `row::Task`: the tasks of one job are neighbours.
    Task(TaskId),
    /// `row::Targets`, by the last of some consecutive target ids: the lock on the ids; stays for ever once published.
    Targets(SegmentId),
    /// `row::Mapping`s of consecutive targets of a job, by the last of them; collected with the job.
    JobTargets(JobId, SegmentId),
    /// `row::Request`, by request id.
    Request(String),
    /// `row::Worker`.
    Worker(WorkerId),
    /// The `WorkerId` that has this name.
    WorkerName(String),
    /// Index: jobs that wait for a command of the leader, by what they wait for; derived from the job's row.
    Stage(Stage, JobId),
    /// Index: what becomes due, by time; derived from the row of the job or request.
    Due(Time, DueItem),
    /// Index: jobs with queued tasks that may be leased, by pass; derived from the job's row.
    Dispatch(u64, JobId),
    /// Index: queued tasks of a job by the time from which they may be leased; derived from the task's row.
    Queue(JobId, Time, TaskId),
    /// Index: what a worker has leased; derived from the task's row.
    Assignment(WorkerId, TaskId),
    /// Index: lost and returning workers that still have assignments to release; derived from the worker's row.
    LostWorker(WorkerId),
    /// `row::Event`: what users are told, in order; it expires.
    Event(EventId),
}

/// What a job waits for that only the leader's commands can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Pending: pages of `CreateTasks`.
    CreatingTasks,
    /// Terminal, no attempt runs any more: pages of `SettleJob`.
    Settling,
    /// Hidden: pages of `CollectJob`.
    Collecting,
}

/// What becomes due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueItem {
    /// A job: the expiry of a draft, the deadline of a live job, the end of retention of a settled and clean one.
    Job(JobId),
    /// The end of a request id.
    Request(String),
}
