//! A job's row: what was asked for, where it stands, and its counters, which `apply` keeps equal to its tasks.

use crate::id::{JobId, SegmentId, TaskId};
use crate::time::{Stamp, Time};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The task that failed for good or used up its attempts, which paused the job; `None` while its user alone did, or
    /// nobody.
    pub paused_by: Option<TaskId>,
    /// The first of its tasks that failed, while a job that only verifies goes on with the others; its reason becomes the
    /// job's.
    pub failed_by: Option<TaskId>,
    /// When the job was submitted: its last page committed (its first, while it is a draft).
    pub submitted: Stamp,
    /// When it began to execute.
    pub started: Option<Stamp>,
    /// First of its consecutive task ids, of which the last is its publication's; zero while a draft.
    pub first_task: TaskId,
    /// First of its consecutive new build ids; zero when the source has none.
    pub first_build_id: i64,
    /// Id of the copy's own snapshot; zero while a draft, and for a job without segments, which makes none.
    pub snapshot_id: i64,
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
    /// The snapshot that is copied, or verified.
    pub source_uri: String,
    /// Length of the snapshot's metadata file when the job was submitted.
    pub metadata_bytes: u64,
    /// CRC32C of the snapshot's metadata file when the job was submitted.
    pub metadata_crc32c: u32,
    /// Where the copies go, or are; empty for a job that verifies the source alone.
    pub target_uri: String,
    /// The collection the targets belong to.
    pub collection_id: i64,
    /// Source partition -> target partition, where the submitter named them.
    pub partition_ids: BTreeMap<i64, i64>,
    /// How many segments the job copies.
    pub segments: u64,
    /// How many build ids the source has; as many new ones are kept for the copies.
    pub build_ids: u32,
    /// First build id of the copy that a job only verifies; zero where builds keep their ids, and for every other job.
    pub first_build_id: i64,
    /// Id of the own snapshot of the copy that a job only verifies; zero for every other job.
    pub snapshot_id: i64,
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
    /// Bytes per second over all attempts of the job in the cluster; zero: no limit.
    pub bandwidth_bytes_per_second: u64,
    /// Requests to stores per second over all attempts of the job in the cluster; zero: no limit.
    pub requests_per_second: u32,
    /// Attempts of the job that are leased at once, whatever they do; zero: no limit.
    pub attempts_at_once_max: u32,
    /// The job is submitted paused.
    pub start_paused: bool,
    /// How copies are verified.
    pub verify: VerifyMode,
    /// What a task that failed for good, or used up its attempts, does to its job.
    pub on_failure: FailurePolicy,
    /// Which index files are copied.
    pub indexes: Indexes,
    /// The copy's own snapshot carries its data in a folder beside it, instead of referring to it.
    pub self_contained: bool,
    /// Nothing is copied: what is there is looked at. No target is the job's.
    pub verify_only: bool,
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
            requests_per_second: 0,
            attempts_at_once_max: 0,
            start_paused: false,
            verify: VerifyMode::Standard,
            on_failure: FailurePolicy::Fail,
            indexes: Indexes::All,
            self_contained: false,
            verify_only: false,
        }
    }
}

/// Changes of options that a job takes while it lives; `None`: as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveOptions {
    /// As in [`JobOptions`].
    pub priority: Option<u8>,
    /// As in [`JobOptions`]; zero: no limit any more.
    pub bandwidth_bytes_per_second: Option<u64>,
    /// As in [`JobOptions`]; zero: no limit any more.
    pub requests_per_second: Option<u32>,
    /// As in [`JobOptions`]; zero: no limit any more.
    pub attempts_at_once_max: Option<u32>,
}

/// How copies are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// Sizes always, checksums where the store or the snapshot has them.
    Standard,
    /// The same, and every copy is read back.
    Full,
}

/// What a task that no attempt can help any more does to its job; `Keep` holds for a job that fails by its deadline too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The job fails.
    Fail,
    /// The job is paused; its resume gives the task fresh attempts.
    Pause,
    /// The job fails, and keeps what it copied until its retention is over or its user says otherwise.
    Keep,
}

/// Which index files are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexes {
    /// Every index, of kinds that come later too.
    All,
    /// Those of these kinds; empty: none.
    Only(BTreeSet<IndexKind>),
}

/// What an index is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexKind {
    /// A vector field.
    Vector,
    /// A scalar field.
    Scalar,
    /// The words of a text field.
    Text,
    /// The keys of a JSON field.
    Json,
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
    /// Every segment copied and verified, and the copy's snapshot written: every target is visible.
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
    /// The job failed and keeps what it copied: nothing is written down, and no clean-up begins, before
    /// `Command::CleanUpJob`. Its targets stay its own.
    Kept,
    /// Segments up to and including this target are written.
    Segments {
        /// The last one written.
        after: SegmentId,
    },
    /// The job never completes and its publication had claimed: before anything else of it is deleted, the copy's snapshot
    /// metadata file is. Its clean-up is queued or leased, and goes on to `Tasks` with its end; no command is due.
    Metadata,
    /// All segments, and tasks up to and including this one, are written.
    Tasks {
        /// The last one written.
        after: TaskId,
    },
    /// Everything is written down.
    Done,
}
