//! Commands: each is one atomic transition, bounded to `limits::ROWS_PER_COMMAND_MAX` rows, and names what it expects.

use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::row::{JobSpec, LiveOptions, ManifestPin, Settle};
use crate::time::Time;
use std::collections::BTreeMap;

/// One atomic transition. A late or repeated one is rejected or answered as before, never applied twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes the cluster's row; answered with what there is when it exists.
    Bootstrap {
        /// Names the cluster for ever.
        cluster_id: u64,
        /// Ids below this are the callers' own.
        id_start: i64,
    },
    /// Nothing but the clock; also the barrier of a new leader.
    Tick,
    /// A page of a submit; the first opens a draft, the last turns it into a job. One page may be both.
    SubmitPage(Box<SubmitPage>),
    /// Drops a draft: it is hidden at once and collected in pages.
    DropDraft {
        /// Which.
        job: JobId,
    },
    /// Creates the next page of tasks of a Pending job; the last page makes it Executing.
    CreateTasks {
        /// Which job.
        job: JobId,
        /// Tasks that exist already: a repeated page is rejected.
        tasks_created: u64,
    },
    /// Leases one queued task to a worker.
    AssignTask(LeaseRef),
    /// An attempt of a task that only verifies says how much there is to look at, and takes nothing by it. Any other attempt
    /// found none of its target keys taken and is about to write them. The first claim pins the manifests that
    /// the keys were derived from; one with others is rejected.
    ClaimTargets {
        /// Which attempt.
        lease: LeaseRef,
        /// Bytes of the files it will copy.
        bytes_planned: u64,
        /// The manifest of each segment as the attempt read it, in the order of the task's mappings; none for a
        /// publication, whose key follows from its job.
        manifests: Vec<ManifestPin>,
    },
    /// How far an attempt is; coarse.
    ReportProgress {
        /// Which attempt.
        lease: LeaseRef,
        /// Bytes copied so far.
        bytes_copied: u64,
    },
    /// How an attempt ended.
    ReportTask {
        /// Which attempt.
        lease: LeaseRef,
        /// How.
        result: TaskResult,
        /// Longest time the store may still carry out what the attempt sent and gave up, in milliseconds; zero only where
        /// each request was answered.
        writes_for_ms: u64,
    },
    /// An attempt ended without a result: its worker acknowledged a drop, or never knew the attempt.
    ReleaseTask {
        /// Which attempt.
        lease: LeaseRef,
        /// As in `ReportTask`.
        writes_for_ms: u64,
    },
    /// A worker, or a new incarnation of one, is here.
    RegisterWorker {
        /// Unique in the cluster.
        name: String,
        /// New at each start.
        incarnation: u64,
        /// Tasks it runs at once.
        slots: u32,
        /// For people and filters.
        labels: BTreeMap<String, String>,
        /// Longest time an incarnation that this one replaces may still write, in milliseconds: its lease and one
        /// request.
        writes_for_ms: u64,
        /// Longest time a remote store may carry out a request after its caller gave it up, in milliseconds.
        late_writes_ms: u64,
        /// Attempts of the incarnation that this one replaces, by task, of which each writing request was answered and that
        /// could send no other: nothing of them comes late.
        settled: BTreeMap<TaskId, u32>,
    },
    /// A worker's lease ended; what it had is released in pages.
    LoseWorker {
        /// Which.
        worker: WorkerId,
        /// The incarnation that is lost.
        incarnation: u64,
        /// Longest time an attempt of it may still write, in milliseconds: one request, for its lease has ended.
        writes_for_ms: u64,
        /// As in `RegisterWorker`.
        late_writes_ms: u64,
        /// As in `RegisterWorker`.
        settled: BTreeMap<TaskId, u32>,
    },
    /// The next page of a lost or returning worker's assignments is released.
    ReleaseWorker {
        /// Which.
        worker: WorkerId,
        /// As in `RegisterWorker`: what a returning worker has left is that of the incarnation it replaces.
        writes_for_ms: u64,
        /// As in `RegisterWorker`.
        late_writes_ms: u64,
    },
    /// A worker gets nothing new, or gets tasks again.
    DrainWorker {
        /// Which.
        worker: WorkerId,
        /// Whether it drains.
        draining: bool,
    },
    /// The user ends a job.
    CancelJob {
        /// Which.
        job: JobId,
    },
    /// A failed job keeps what it copied no longer: its user says so, or its retention is over.
    CleanUpJob {
        /// Which.
        job: JobId,
    },
    /// The leader ends a job: its deadline has passed.
    FailJob {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// No new attempts of a job, or new ones again.
    PauseJob {
        /// Which.
        job: JobId,
        /// Whether it is paused.
        paused: bool,
    },
    /// Live options of a job.
    UpdateJob {
        /// Which.
        job: JobId,
        /// Which of them, and to which value.
        change: LiveOptions,
    },
    /// Writes the next page of derived states of a terminal job into its rows.
    SettleJob {
        /// Which.
        job: JobId,
        /// How far it is: a repeated page is rejected.
        settle: Settle,
    },
    /// Removes the next page of rows of a job whose retention is over (the first page hides it) or of a dropped draft.
    CollectJob {
        /// Which.
        job: JobId,
    },
    /// Drops request ids whose time is over.
    ExpireRequests {
        /// Which, at most a page.
        request_ids: Vec<String>,
    },
    /// Drops the next page of events that happened before a moment, or that are more than are kept. It carries the moment,
    /// so that a leader with another retention changes nothing that is done.
    ExpireEvents {
        /// Cluster time.
        before: Time,
    },
    /// The receiver of the webhook has taken every event before this one.
    NoteDelivered {
        /// The first one that it may not have taken.
        before: EventId,
    },
    /// Reserves a window of ids for the leader to hand out.
    ReserveIds {
        /// How many.
        count: u32,
    },
}

/// A page of a submit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubmitPage {
    /// Names the submit: the same id with the same hash is the same job.
    pub request_id: String,
    /// Hash of the canonical request up to this page: what a draft that it continues was left at.
    pub hash_before: Vec<u8>,
    /// Hash of the canonical request with this page; after the last page, that of the whole request. Where the mappings
    /// follow from the request, as those of a whole snapshot do, it is the same on every page.
    pub request_hash: Vec<u8>,
    /// What is asked for.
    pub spec: JobSpec,
    /// Mappings in the pages before this one.
    pub offset: u64,
    /// The mappings of this page, `limits::MAPPINGS_PER_PAGE_MAX` at most.
    pub mappings: Vec<IdMapping>,
}

/// A source and its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IdMapping {
    /// Source segment.
    pub source: SegmentId,
    /// Target segment; zero: an id of the cluster's sequence is taken.
    pub target: SegmentId,
    /// Target partition; zero: by the job's partition map, else the source's own.
    pub partition_id: i64,
}

/// Names one attempt of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseRef {
    /// The task.
    pub task: TaskId,
    /// Which attempt; for an assignment, the task's last attempt plus one.
    pub attempt: u32,
    /// Who.
    pub worker: WorkerId,
    /// Which start of that worker.
    pub incarnation: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskResult {
    /// Every segment copied and verified; must list exactly the task's targets.
    Copied {
        /// One for each target, in any order.
        segments: Vec<CopiedSegment>,
    },
    /// The metadata file of the copy's snapshot is written: what moves the job to Completed.
    Published,
    /// None of the task's target files is left.
    CleanedUp,
    /// Every object of a task that only verifies is as it has to be; must list exactly the task's targets.
    Verified {
        /// One for each target, in any order, with what was looked at.
        segments: Vec<CopiedSegment>,
    },
    /// The attempt failed.
    Failed {
        /// What kind of failure it was.
        kind: FailureKind,
        /// What went wrong, naming the object.
        reason: String,
    },
}

/// A copied target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedSegment {
    /// Which target.
    pub target: SegmentId,
    /// The partition it was copied to.
    pub partition_id: i64,
    /// Its rows.
    pub rows: i64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Kinds of failure, as the worker sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No retry can help: the job fails at once.
    Permanent,
    /// Credentials were refused: permanent when a second worker says so, counted until then.
    Refused,
    /// A retry may help: back-off, counted.
    Transient,
    /// The worker gives the attempt back (it drains or the job was paused): not counted.
    GivenBack,
    /// The store is away: tried again, and counted only when that has lasted for long.
    Outage,
}
