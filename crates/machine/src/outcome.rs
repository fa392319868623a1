//! What a command answers: an outcome, or a rejection that left no trace but the clock.

use crate::id::{JobId, SegmentId, TaskId, WorkerId};
use crate::row::ManifestPin;

/// A command was applied (or had been before).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// The cluster as it is now.
    Bootstrapped {
        /// Its id.
        cluster_id: u64,
    },
    /// A page of a submit.
    Page {
        /// The draft or job.
        job: JobId,
        /// Mappings that are in; the next page starts here.
        mappings: u64,
        /// Every page is in: the job is submitted.
        submitted: bool,
        /// This very command changed nothing: the request was known with all of its pages.
        already_existed: bool,
    },
    /// The job whose state changed or was already as asked.
    Job(JobId),
    /// `first .. first + count` belong to the caller.
    Ids {
        /// First id.
        first: i64,
        /// How many.
        count: u32,
    },
    /// The worker's id.
    Worker(WorkerId),
    /// The task is leased.
    Assigned(TaskId),
    /// The attempt's lease is released and nothing else changed: it ended without a result, or too late to count.
    Released(TaskId),
    /// The task's report is in (now or before).
    Reported {
        /// The job reached its end with this command.
        job_ended: bool,
    },
}

/// Why a command was not applied; it left no trace but the clock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The cluster has no row yet.
    #[error("the cluster is not bootstrapped yet: try again in a moment")]
    NotBootstrapped,
    /// No such job (or it was collected, or is a draft).
    #[error("job {0} does not exist: it may have been collected after its retention; list the jobs that exist")]
    JobNotFound(JobId),
    /// No such task.
    #[error("task {0} does not exist: it may have been collected with its job")]
    TaskNotFound(TaskId),
    /// No such worker.
    #[error("worker {0} does not exist: list the workers that do")]
    WorkerNotFound(WorkerId),
    /// Same request id, another request.
    #[error("request id {request_id:?} was used for another request, which made job {job}: use a new request id")]
    RequestIdReused {
        /// The id.
        request_id: String,
        /// The job it made.
        job: JobId,
    },
    /// The target is held.
    #[error(
        "target segment {target} is held by job {job}: choose another target id, or wait until that job has given it up \
         (`ferry job explain {job}` says what that waits for; a published target is never given up)"
    )]
    TargetHeld {
        /// Which target.
        target: SegmentId,
        /// By which job.
        job: JobId,
    },
    /// A target above the cluster's first own id that was never allocated.
    #[error(
        "target segment {target} was not allocated: ids from {id_start} on come from AllocateIds; use 0 to have one chosen"
    )]
    TargetNotAllocated {
        /// Which target.
        target: SegmentId,
        /// Where the cluster's own ids begin.
        id_start: i64,
    },
    /// Something in the request cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The job is not in the state the command needs.
    #[error("job {job} is {state}: {next_step}")]
    WrongState {
        /// Which job.
        job: JobId,
        /// Its state, as users know it.
        state: &'static str,
        /// What the user can do.
        next_step: &'static str,
    },
    /// The page of a submit does not begin where the draft ends.
    #[error("only {mappings} mappings of this submit are in: send the page that begins there")]
    WrongOffset {
        /// The draft; zero where there is none yet (or no more).
        job: JobId,
        /// Where the next page begins.
        mappings: u64,
    },
    /// A command of a leader that planned on an older state.
    #[error("the plan is stale: {0}")]
    Stale(&'static str),
    /// The attempt does not hold the lease, or its job is over.
    #[error("task {task} attempt {attempt} does not hold the lease: {reason}; drop it")]
    LeaseNotHeld {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// Why.
        reason: &'static str,
    },
    /// A result that does not list exactly the task's targets.
    #[error("the result of task {task} does not list exactly its targets: {reason}")]
    WrongTargets {
        /// The task.
        task: TaskId,
        /// Which target, and what is wrong with it.
        reason: String,
    },
    /// A manifest is not what it was when the task's targets were claimed.
    #[error(
        "the manifest of source segment {segment} has {found}, where the attempt that claimed the targets of task {task} \
         read {pinned}: restore the manifest, or take the snapshot again, and submit a new job"
    )]
    ManifestAltered {
        /// The task.
        task: TaskId,
        /// Whose manifest.
        segment: SegmentId,
        /// What it was.
        pinned: ManifestPin,
        /// What it is.
        found: ManifestPin,
    },
    /// A limit is reached.
    #[error("the limit of {max} {what} is reached: {next_step}")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
        /// What the user can do.
        next_step: &'static str,
    },
}
