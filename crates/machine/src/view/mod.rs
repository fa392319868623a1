//! What users see: effective states, which follow from a job's row wherever its other rows are not written down yet.
//!
//! Hidden jobs (drafts, and those that are being collected) do not exist here, nor does anything that is theirs.

mod pages;
mod segments;
mod tasks;

use crate::derive;
use crate::id::{EventId, JobId, WorkerId};
use crate::read;
use crate::row::{Cluster, Event, Job, JobSpec, JobState, Request, Settle, TaskCounts, Worker};
use crate::tables::Read;
use crate::time::Stamp;

pub use pages::{Page, list_job_segments, list_jobs, list_segments, list_tasks, list_workers};
pub use segments::{Segment, SegmentState, refused_target, segment};
pub use tasks::{
    TaskState, TaskStatus, assigned_tasks, queued_tasks, task, task_mappings, task_status, tasks_by_id, work,
};

/// Where a job stands in its life, as users know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its tasks are being created.
    Pending,
    /// Workers copy.
    Executing,
    /// Every target is visible.
    Completed,
    /// It will never complete.
    Failed,
    /// Ended by its user.
    Canceled,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub fn terminal(self) -> bool {
        match self {
            Self::Pending | Self::Executing => false,
            Self::Completed | Self::Failed | Self::Canceled => true,
        }
    }
}

/// What becomes of the files that a failed or canceled job has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanUpState {
    /// There is nothing to clean up.
    None,
    /// It begins when no attempt can write any more.
    Pending,
    /// Workers delete.
    Running,
    /// Nothing is left.
    Done,
    /// Given up; some files are left over.
    LeftOver,
    /// Nothing is deleted before the job's retention is over, or its user asks for it.
    Kept,
}

/// A job as users see it, beside what its row says plainly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Where it stands.
    pub state: State,
    /// Why it failed, or what there is to say; empty otherwise.
    pub reason: String,
    /// Its tasks by effective state; all of them, created yet or not.
    pub tasks: TaskCounts,
    /// Copied of all segments, 0 to 100; never decreases.
    pub progress_percent: u8,
    /// What becomes of its files.
    pub clean_up: CleanUpState,
    /// When it ended.
    pub ended: Option<Stamp>,
}

/// The cluster's row.
pub fn cluster(read: &dyn Read) -> Option<Cluster> {
    read::cluster(read)
}

/// A job, unless it is hidden.
pub fn job(read: &dyn Read, id: JobId) -> Option<Job> {
    read::job(read, id).filter(|job| !derive::hidden(job))
}

/// Events from one on, in order; they are all there if the cluster's row says that it keeps them from there on.
pub fn events(read: &dyn Read, from: EventId, rows_max: usize) -> Vec<(EventId, Event)> {
    read::events(read, from, rows_max)
}

/// What a request id stands for; the job may be hidden.
pub fn request(read: &dyn Read, request_id: &str) -> Option<Request> {
    read::request(read, request_id)
}

/// A worker.
pub fn worker(read: &dyn Read, id: WorkerId) -> Option<Worker> {
    read::worker(read, id)
}

/// The worker that has a name.
pub fn worker_named(read: &dyn Read, name: &str) -> Option<Worker> {
    read::worker(read, read::worker_named(read, name)?)
}

/// How many tasks a job has once all are created, its publication included.
#[must_use]
pub fn tasks_planned(spec: &JobSpec) -> u64 {
    derive::tasks_planned(spec)
}

/// A job's state; `None` for a hidden one.
#[must_use]
pub fn state(job: &Job) -> Option<State> {
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => None,
        JobState::Pending => Some(State::Pending),
        JobState::Executing => Some(State::Executing),
        JobState::Completed { .. } => Some(State::Completed),
        JobState::Failed { .. } => Some(State::Failed),
        JobState::Canceled { .. } => Some(State::Canceled),
    }
}

/// A job as users see it; `None` for a hidden one.
#[must_use]
pub fn status(job: &Job) -> Option<JobStatus> {
    let state = state(job)?;
    Some(JobStatus {
        state,
        reason: reason(job),
        tasks: derive::task_counts_of(job),
        progress_percent: progress_percent(job, state),
        clean_up: clean_up(job),
        ended: derive::ended(job),
    })
}

/// Why a job ended as it did, or what there is to say.
#[must_use]
pub fn reason(job: &Job) -> String {
    match &job.state {
        JobState::Failed { reason, .. } => reason.clone(),
        JobState::Canceled { .. } => "canceled".to_owned(),
        JobState::Completed { .. } if job.spec.segments == 0 && job.spec.options.verify_only => {
            "no segments to verify".to_owned()
        }
        JobState::Completed { .. } if job.spec.segments == 0 => "no segments to copy".to_owned(),
        JobState::Draft { .. }
        | JobState::Pending
        | JobState::Executing
        | JobState::Completed { .. }
        | JobState::Collecting => String::new(),
    }
}

fn progress_percent(job: &Job, state: State) -> u8 {
    let copied = job.counts.segments_copied.saturating_mul(100).checked_div(job.spec.segments);
    let empty = if state == State::Completed { 100 } else { 0 };
    copied.map_or(empty, |percent| u8::try_from(percent.min(100)).unwrap_or(100))
}

fn clean_up(job: &Job) -> CleanUpState {
    match job.state {
        JobState::Failed { .. } | JobState::Canceled { .. } => {}
        JobState::Draft { .. }
        | JobState::Pending
        | JobState::Executing
        | JobState::Completed { .. }
        | JobState::Collecting => return CleanUpState::None,
    }
    if derive::verifies(&job.spec) {
        return CleanUpState::None;
    }
    let settled = job.settle == Settle::Done;
    let cleans_up = derive::cleans_up(job);
    let written = job.counts.bytes_planned > 0 || job.counts.segments_copied > 0;
    if job.settle == Settle::Kept {
        CleanUpState::Kept
    } else if cleans_up && job.counts.tasks_leased > 0 {
        CleanUpState::Running
    } else if job.clean_up_remaining > 0 || (written && !settled) {
        CleanUpState::Pending
    } else if job.clean_up_left_over > 0 {
        CleanUpState::LeftOver
    } else if written {
        CleanUpState::Done
    } else {
        CleanUpState::None
    }
}
