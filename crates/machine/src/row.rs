//! The rows of the machine; each is the whole truth about one thing, and what can be derived is not in it.

use crate::id::{JobId, SegmentId, TaskId, WorkerId};
use crate::time::{Stamp, Time};
use std::collections::BTreeMap;

/// What a key leads to; indexes lead to nothing more than their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The cluster itself.
    Cluster(Cluster),
    /// A job.
    Job(Box<Job>),
    /// A task.
    Task(Box<Task>),
    /// A target segment, which is also the lock on its id.
    Segment(Segment),
    /// Where a job's target comes from; kept beside the segment because another job may take over a freed target.
    Mapping(Mapping),
    /// What a request id stands for.
    Request(Request),
    /// A worker.
    Worker(Box<Worker>),
    /// The worker that has a name.
    WorkerName(WorkerId),
    /// An index entry.
    Index,
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

/// A copy-segment job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The id its submitter (or the node that took it) gave the request.
    pub request_id: String,
    /// What was asked for, options resolved.
    pub spec: JobSpec,
    /// Where it stands in its life.
    pub state: JobState,
    /// No new attempt starts while this is set.
    pub paused: bool,
    /// When the job was submitted: its last page committed (its first, while it is a draft).
    pub submitted: Stamp,
    /// When it began to execute.
    pub started: Option<Stamp>,
    /// First of its consecutive task ids; zero while a draft.
    pub first_task: TaskId,
    /// First of its consecutive new build ids; zero when the source has none.
    pub first_build_id: i64,
    /// Mappings received; equals `spec.segments` once submitted.
    pub mappings: u64,
    /// Its counters.
    pub counts: JobTotals,
    /// The last target that belongs to a created task; tasks are created in the order of target ids.
    pub task_cursor: SegmentId,
    /// How far its derived states are written down; while it is collected, how far its rows are removed.
    pub settle: Settle,
    /// Tasks whose targets are still to be cleaned up, known as settling goes on.
    pub clean_up_remaining: u64,
    /// Tasks whose clean-up was given up; their files are left over.
    pub clean_up_left_over: u64,
    /// No attempt that was lost can write after this moment.
    pub quiet_at: Time,
    /// Its place in the dispatch order (stride scheduling): the lower goes first.
    pub pass: u64,
}

/// What a job's submitter asked for; never changes, but for the live options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobSpec {
    /// For people.
    pub name: String,
    /// The snapshot that is copied.
    pub source_uri: String,
    /// Length of the snapshot's metadata file when the job was submitted.
    pub metadata_bytes: u64,
    /// CRC32C of the snapshot's metadata file when the job was submitted.
    pub metadata_crc32c: u32,
    /// Where the copies go.
    pub target_uri: String,
    /// The collection the targets belong to.
    pub collection_id: i64,
    /// Source partition -> target partition, where the submitter named them.
    pub partition_ids: BTreeMap<i64, i64>,
    /// How many segments the job copies.
    pub segments: u64,
    /// How many build ids the source has; as many new ones are kept for the copies.
    pub build_ids: u32,
    /// How it is to be done.
    pub options: JobOptions,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
}

/// How a job is to be done, resolved against the configuration at submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOptions {
    /// The job fails when it is not terminal this long after its submit; `None`: never.
    pub timeout_ms: Option<u64>,
    /// The job stays readable this long after its end.
    pub retention_ms: u64,
    /// 0 to 100; its share of the workers.
    pub priority: u8,
    /// Segments of one task.
    pub segments_per_task_max: u32,
    /// Failed or lost attempts of one task before it counts as exhausted.
    pub attempts_max: u32,
    /// Bytes per second over all attempts of one worker for this job; zero: no limit.
    pub bandwidth_bytes_per_second: u64,
    /// The job is submitted paused.
    pub start_paused: bool,
    /// How copies are verified.
    pub verify: VerifyMode,
    /// What an exhausted task does to its job.
    pub on_exhausted: ExhaustedPolicy,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            timeout_ms: Some(24 * 60 * 60 * 1_000),
            retention_ms: 3 * 60 * 60 * 1_000,
            priority: 50,
            segments_per_task_max: crate::limits::SEGMENTS_PER_TASK_DEFAULT,
            attempts_max: 10,
            bandwidth_bytes_per_second: 0,
            start_paused: false,
            verify: VerifyMode::Standard,
            on_exhausted: ExhaustedPolicy::Fail,
        }
    }
}

/// How copies are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// Sizes always, checksums where the store or the snapshot has them.
    Standard,
    /// The same, and every copy is read back.
    Full,
}

/// What a task that used up its attempts does to its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExhaustedPolicy {
    /// The job fails.
    Fail,
    /// The job is paused and the task waits for its resume.
    Pause,
}

/// Where a job stands in its life; a terminal state is final until collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Hidden: pages of its submit are still coming; dropped at `expires_at`.
    Draft {
        /// When it is dropped unless another page comes.
        expires_at: Time,
    },
    /// Submitted; its tasks are being created in pages.
    Pending,
    /// All tasks exist; workers copy.
    Executing,
    /// Every segment copied and verified: every target is visible.
    Completed {
        /// When.
        ended: Stamp,
    },
    /// It will never complete; no target was or will be visible.
    Failed {
        /// When.
        ended: Stamp,
        /// Why.
        reason: String,
    },
    /// Ended by its user.
    Canceled {
        /// When.
        ended: Stamp,
    },
    /// Hidden: its rows are being removed.
    Collecting,
}

/// Counters of a job, kept by `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobTotals {
    /// Tasks that exist.
    pub tasks_created: u64,
    /// Tasks in the queue (waiting for a worker or for their back-off), copies and clean-ups alike.
    pub tasks_queued: u64,
    /// Tasks leased by a worker, copies and clean-ups alike.
    pub tasks_leased: u64,
    /// Tasks whose row says Completed.
    pub tasks_completed: u64,
    /// Tasks whose row says Failed.
    pub tasks_failed: u64,
    /// Segments of completed tasks.
    pub segments_copied: u64,
    /// Bytes of the files of claimed tasks: grows as workers learn what there is to copy.
    pub bytes_planned: u64,
    /// Bytes copied; never decreases.
    pub bytes_copied: u64,
    /// Rows in the segments of completed tasks.
    pub rows: u64,
}

/// How far the derived states of a terminal job are written into its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Segments up to and including this target are written.
    Segments {
        /// The last one written.
        after: SegmentId,
    },
    /// All segments, and tasks up to and including this one, are written.
    Tasks {
        /// The last one written.
        after: TaskId,
    },
    /// Everything is written down.
    Done,
}

/// A task: some segments of a job, copied together by one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its job.
    pub job: JobId,
    /// The first of its targets; its mappings are `segments` entries of the job from here on, in target order.
    pub first_target: SegmentId,
    /// How many.
    pub segments: u32,
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
    /// A worker whose credentials were refused; a second one's refusal is permanent.
    pub refused_by: Option<WorkerId>,
    /// Why the last attempt failed; empty if none did.
    pub last_error: String,
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

/// A target segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The job that holds the id; history once the segment is Flushed.
    pub job: JobId,
    /// Where it is copied from.
    pub source: SegmentId,
    /// Target collection.
    pub collection_id: i64,
    /// Target partition; zero until the copy tells where the source's partition led.
    pub partition_id: i64,
    /// As stored; the effective state follows from the job until it is settled.
    pub state: SegmentState,
    /// Rows; zero until copied.
    pub rows: i64,
    /// Bytes of its files; zero until copied.
    pub bytes: u64,
}

/// States of a target segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Not visible: its job is not completed.
    Importing,
    /// Visible.
    Flushed,
    /// Never to be visible.
    Dropped,
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
    /// Hash of the canonical request.
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
