//! The rows of the machine; each is the whole truth about one thing, and what can be derived is not in it.

mod attempt;
mod event;
mod job;

use crate::id::{JobId, SegmentId, TaskId, WorkerId};
use crate::time::{Stamp, Time};
use std::collections::BTreeMap;
use std::fmt;

pub use attempt::{AttemptEnd, EndedAttempt, Lease, Work};
pub use event::{Event, EventLog, Transition};
pub use job::{
    FailurePolicy, IndexKind, Indexes, Job, JobOptions, JobSpec, JobState, JobTotals, LiveOptions, Settle, VerifyMode,
};

/// What a key leads to; indexes lead to nothing more than their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The cluster itself.
    Cluster(Cluster),
    /// A job.
    Job(Box<Job>),
    /// A task.
    Task(Box<Task>),
    /// Consecutive target ids that a job holds, or published.
    Targets(Targets),
    /// Where consecutive targets of a job come from, `limits::TARGETS_PER_RUN_MAX` at most; kept beside the lock on
    /// them because another job may take over a freed target.
    Mappings(Vec<Mapping>),
    /// What a request id stands for.
    Request(Request),
    /// A worker.
    Worker(Box<Worker>),
    /// The worker that has a name.
    WorkerName(WorkerId),
    /// An index entry.
    Index,
    /// What users are told of a job.
    Event(Box<Event>),
}

/// The cluster: its clock, its id sequence, its counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Made once, when the cluster is bootstrapped.
    pub cluster_id: u64,
    /// Ids below this are the callers' own.
    pub id_start: i64,
    /// The next id that nobody has; jobs, tasks, allocated targets, build ids and callers draw from this one sequence.
    pub next_id: i64,
    /// Cluster time of the last command.
    pub now: Time,
    /// Pass of the job that got the last task; new jobs begin here (stride scheduling).
    pub pass: u64,
    /// Jobs by state.
    pub jobs: JobCounts,
    /// Tasks by effective state, over all jobs that can be read.
    pub tasks: TaskCounts,
    /// Known workers.
    pub workers: u64,
    /// The events that are kept.
    pub events: EventLog,
}

/// Jobs by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// Hidden drafts.
    pub draft: u64,
    /// Tasks are still being created.
    pub pending: u64,
    /// Tasks are being copied.
    pub executing: u64,
    /// Published.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Canceled.
    pub canceled: u64,
}

/// Tasks by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Created or to be created, waiting for a worker.
    pub pending: u64,
    /// Leased by a worker.
    pub in_progress: u64,
    /// Copied and verified.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
}

/// A task: some segments of a job, copied together by one worker; or, with no segments, the publication of the job, which
/// writes the metadata file of the copy's own snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// What it copies, in the order of target ids; so are the tasks of a job. Until settling writes it down beside the
    /// lock on the targets, this is the one place that says what was copied. Empty for the publication alone.
    pub segments: Vec<TaskSegment>,
    /// It copies nothing: it looks at its segments' objects, or compares their copies with them, and never claims.
    pub verifies: bool,
    /// What became of it.
    pub outcome: TaskOutcome,
    /// The attempt that runs now.
    pub lease: Option<Lease>,
    /// Number of the last attempt, from 1; zero before the first.
    pub attempt: u32,
    /// Attempts that failed or were lost; drained and paused ones do not count.
    pub failures: u32,
    /// An attempt found its target keys free and may have written some of them: they are the job's to clean up.
    pub claimed: bool,
    /// When it may be leased; `None` unless it is in the queue.
    pub queued_at: Option<Time>,
    /// A worker whose credentials were refused: others go first, and for a copy a second one's refusal is permanent.
    pub refused_by: Option<WorkerId>,
    /// Why the last attempt failed; empty if none did.
    pub last_error: String,
    /// The manifests of its segments, in the order of its mappings, as the first attempt that claimed the targets read
    /// them; empty before. They decide which keys are the task's, so every later attempt has to read the same.
    pub manifests: Vec<ManifestPin>,
    /// Bytes of its files, as the attempt that claimed the targets found them.
    pub bytes_planned: u64,
    /// Bytes copied; never decreases.
    pub bytes_copied: u64,
    /// When it was created.
    pub created: Stamp,
    /// When it was first leased.
    pub started: Option<Stamp>,
    /// What is to become of its target files when the job does not complete.
    pub clean_up: CleanUp,
    /// Until then a remote store may carry out what attempts sent it and gave up; zero where each request was answered. A
    /// clean-up counts only if it began then or later.
    pub late_until: Time,
    /// How many attempts ended with requests that were sent and not answered, or were lost.
    pub late_ends: u32,
    /// Its last attempts that ended, the latest last; at most `limits::ATTEMPTS_KEPT_PER_TASK`.
    pub attempts: Vec<EndedAttempt>,
}

/// A segment of a task, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSegment {
    /// Its target.
    pub target: SegmentId,
    /// Where it comes from.
    pub mapping: Mapping,
    /// What was copied, once the task completed.
    pub copied: Option<Copied>,
}

/// What was copied to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The target partition.
    pub partition_id: i64,
    /// Rows, never negative.
    pub rows: i64,
    /// Bytes of its files.
    pub bytes: u64,
}

impl Copied {
    /// What is told of a target that nothing was copied to.
    pub(crate) fn nothing(mapping: Mapping) -> Self {
        Self { partition_id: mapping.partition_id, rows: 0, bytes: 0 }
    }
}

/// What a manifest was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ManifestPin {
    /// Its length.
    pub size_bytes: u64,
    /// CRC32C of its content.
    pub crc32c: u32,
}

impl fmt::Display for ManifestPin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes with CRC32C {:08x}", self.size_bytes, self.crc32c)
    }
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// Nothing yet.
    Open,
    /// Every segment copied and verified.
    Completed {
        /// When.
        ended: Stamp,
    },
    /// It failed, or was settled with its failed or canceled job.
    Failed {
        /// When.
        ended: Stamp,
        /// Why; empty where it failed with its job, whose reason it then is.
        reason: String,
    },
}

/// What is to become of a task's target files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanUp {
    /// Nothing: none written, or the job lives or completed.
    NotNeeded,
    /// A worker has to delete them; the task is queued or leased for that.
    Due,
    /// Deleted, and a look afterwards found none.
    Done,
    /// Given up after too many attempts.
    LeftOver,
}

/// A run of consecutive target ids, `limits::TARGETS_PER_RUN_MAX` at most; its key has the last of them. No two runs
/// share an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The job that holds them; history once they are published and it is collected.
    pub job: JobId,
    /// The first of them.
    pub first: SegmentId,
    /// What users see of them, once settling wrote down that their job completed; until then all of it follows from the
    /// job, its mappings and its tasks. They are nobody else's any more.
    pub published: Option<Published>,
}

/// What users see of published targets, also when their job is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Target collection.
    pub collection_id: i64,
    /// One for each target, in their order.
    pub segments: Vec<PublishedSegment>,
}

/// A published segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedSegment {
    /// Where it comes from.
    pub source: SegmentId,
    /// What was copied.
    pub copied: Copied,
}

/// Source of a target of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mapping {
    /// Source segment.
    pub source: SegmentId,
    /// Target partition as asked for; zero: by the job's partition map, else the source's own.
    pub partition_id: i64,
}

/// What a request id stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Hash of the canonical request, with the mappings that are in: a draft's grows with each page.
    pub hash: Vec<u8>,
    /// The job it made.
    pub job: JobId,
    /// Removed at this time; `None` while the job has rows.
    pub expires_at: Option<Time>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// Its name, unique in the cluster.
    pub name: String,
    /// Which start of it is current.
    pub incarnation: u64,
    /// Tasks it runs at once.
    pub slots: u32,
    /// Tasks it has leased.
    pub leased: u32,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Whether it is there.
    pub state: WorkerState,
    /// It finishes what it has and gets nothing new; the word of an operator, which outlives a restart.
    pub draining: bool,
    /// When this incarnation registered.
    pub registered: Stamp,
}

/// Whether a worker is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It is, and gets tasks unless it drains.
    Active,
    /// It is back, but what it (or its former incarnation) had is still being released in pages; then it is Active.
    Returning,
    /// Its lease ended; what it had is being released in pages.
    Lost,
}
