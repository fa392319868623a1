//! What follows from one row alone: its index entries, and what it counts for; `apply` keeps it, `check` compares it.

use crate::id::TaskId;
use crate::key::{DueItem, Key, Stage};
use crate::row::{
    CleanUp, Job, JobCounts, JobSpec, JobState, JobTotals, Request, Settle, Task, TaskCounts, TaskOutcome, Work,
    Worker, WorkerState,
};
use crate::time::{Stamp, Time};

/// How many tasks a job has that copy, or verify.
pub(crate) fn copies_planned(spec: &JobSpec) -> u64 {
    spec.segments.div_ceil(u64::from(spec.options.segments_per_task_max.max(1)))
}

/// Whether a job only looks at what is there: it has no publication, no targets and no clean-up.
pub(crate) fn verifies(spec: &JobSpec) -> bool {
    spec.options.verify_only
}

/// Whether a job looks at the source alone; each of its segments stands for its own target then.
pub(crate) fn verifies_source(spec: &JobSpec) -> bool {
    verifies(spec) && spec.target_uri.is_empty()
}

/// How many tasks a job has once all are created: its copies, and where there are any the publication.
pub(crate) fn tasks_planned(spec: &JobSpec) -> u64 {
    let copies = copies_planned(spec);
    copies + u64::from(copies > 0 && !verifies(spec))
}

/// The task that publishes: the last of the job's ids.
pub(crate) fn publication_of(job: &Job) -> TaskId {
    TaskId(job.first_task.0.saturating_add_unsigned(copies_planned(&job.spec)))
}

/// Whether every copy of a job is complete, so that its publication may begin.
pub(crate) fn all_copied(job: &Job) -> bool {
    job.counts.tasks_completed >= copies_planned(&job.spec)
}

/// Whether a task is its job's publication.
pub(crate) fn publishes(task: &Task) -> bool {
    task.segments.is_empty()
}

/// What an attempt of a task does as the task stands.
pub(crate) fn work_of(task: &Task) -> Work {
    match task.clean_up {
        CleanUp::Due => Work::CleanUp,
        CleanUp::NotNeeded | CleanUp::Done | CleanUp::LeftOver if publishes(task) => Work::Publish,
        CleanUp::NotNeeded | CleanUp::Done | CleanUp::LeftOver if task.verifies => Work::Verify,
        CleanUp::NotNeeded | CleanUp::Done | CleanUp::LeftOver => Work::Copy,
    }
}

/// Whether clean-ups of a job that never completes may be leased: all of them once everything is written down, and before
/// that the one of its publication alone, for which settling waits.
pub(crate) fn cleans_up(job: &Job) -> bool {
    match job.settle {
        Settle::Kept | Settle::Segments { .. } | Settle::Tasks { .. } => false,
        Settle::Metadata | Settle::Done => never_completes(job),
    }
}

/// When a job ended; `None` while it lives, and while it is hidden.
pub(crate) fn ended(job: &Job) -> Option<Stamp> {
    match &job.state {
        JobState::Completed { ended } | JobState::Failed { ended, .. } | JobState::Canceled { ended } => Some(*ended),
        JobState::Draft { .. } | JobState::Pending | JobState::Executing | JobState::Collecting => None,
    }
}

/// Whether users do not see the job.
pub(crate) fn hidden(job: &Job) -> bool {
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => true,
        JobState::Pending
        | JobState::Executing
        | JobState::Completed { .. }
        | JobState::Failed { .. }
        | JobState::Canceled { .. } => false,
    }
}

/// Whether the job may still complete.
pub(crate) fn live(job: &Job) -> bool {
    !hidden(job) && ended(job).is_none()
}

/// Whether a terminal job is written down, cleaned up and at rest.
pub(crate) fn at_rest(job: &Job) -> bool {
    ended(job).is_some() && job.settle == Settle::Done && job.clean_up_remaining == 0 && job.counts.tasks_leased == 0
}

/// Whether a job's target is in a store that may carry out a request after its caller gave it up.
pub(crate) fn writes_remotely(spec: &JobSpec) -> bool {
    !["file://", "memory://"].iter().any(|scheme| spec.target_uri.starts_with(scheme))
}

/// Whether a job has ended and none of its targets ever becomes visible.
pub(crate) fn never_completes(job: &Job) -> bool {
    match job.state {
        JobState::Failed { .. } | JobState::Canceled { .. } => true,
        JobState::Draft { .. }
        | JobState::Pending
        | JobState::Executing
        | JobState::Completed { .. }
        | JobState::Collecting => false,
    }
}

/// Whether a job can never write to its targets again, nor ever made one visible, so that others may have them.
pub(crate) fn gave_up_targets(job: &Job, now: Time) -> bool {
    // What is being collected was dropped as a draft, or was at rest long ago; either way nobody copies for it.
    let over = job.state == JobState::Collecting || (never_completes(job) && at_rest(job));
    over && job.quiet_at <= now
}

/// What a job waits for that only the leader's commands can give.
pub(crate) fn stage_of(job: &Job) -> Option<Stage> {
    match job.state {
        JobState::Draft { .. } | JobState::Executing => None,
        JobState::Pending => Some(Stage::CreatingTasks),
        JobState::Completed { .. } | JobState::Failed { .. } | JobState::Canceled { .. } => match job.settle {
            Settle::Segments { .. } | Settle::Tasks { .. } => (job.counts.tasks_leased == 0).then_some(Stage::Settling),
            // A worker's report moves it on, or its user or the end of its retention does.
            Settle::Metadata | Settle::Kept | Settle::Done => None,
        },
        JobState::Collecting => Some(Stage::Collecting),
    }
}

/// When time alone changes something about a job.
pub(crate) fn due_of(job: &Job) -> Option<Time> {
    match &job.state {
        JobState::Draft { expires_at } => Some(*expires_at),
        JobState::Pending | JobState::Executing => {
            job.spec.options.timeout_ms.map(|timeout_ms| job.submitted.at.plus(timeout_ms))
        }
        JobState::Failed { ended, .. } if job.settle == Settle::Kept => {
            Some(ended.at.plus(job.spec.options.retention_ms))
        }
        JobState::Completed { ended } | JobState::Failed { ended, .. } | JobState::Canceled { ended } => {
            at_rest(job).then(|| ended.at.plus(job.spec.options.retention_ms).max(job.quiet_at))
        }
        JobState::Collecting => None,
    }
}

/// The job's place in the dispatch order.
pub(crate) fn dispatch_of(job: &Job) -> Option<u64> {
    let runs = match job.state {
        JobState::Draft { .. } | JobState::Pending | JobState::Collecting => false,
        JobState::Executing => !job.paused,
        JobState::Completed { .. } | JobState::Failed { .. } | JobState::Canceled { .. } => cleans_up(job),
    };
    let can_begin = attempts_free(job).is_none_or(|free| free > 0);
    (runs && can_begin && job.counts.tasks_queued > 0).then_some(job.pass)
}

/// How many more attempts of the job may be leased; `None`: it has no limit. More may run where its limit was lowered.
pub(crate) fn attempts_free(job: &Job) -> Option<u64> {
    let limit = u64::from(job.spec.options.attempts_at_once_max);
    (limit > 0).then(|| limit.saturating_sub(job.counts.tasks_leased))
}

/// All index entries of a job.
pub(crate) fn job_indexes(job: &Job) -> Vec<Key> {
    let stage = stage_of(job).map(|stage| Key::Stage(stage, job.id));
    let due = due_of(job).map(|at| Key::Due(at, DueItem::Job(job.id)));
    let dispatch = dispatch_of(job).map(|pass| Key::Dispatch(pass, job.id));
    stage.into_iter().chain(due).chain(dispatch).collect()
}

/// All index entries of a task.
pub(crate) fn task_indexes(task: &Task) -> Vec<Key> {
    let queue = task.queued_at.map(|at| Key::Queue(task.job, at, task.id));
    let assignment = task.lease.map(|lease| Key::Assignment(lease.worker, task.id));
    queue.into_iter().chain(assignment).collect()
}

/// All index entries of a worker.
pub(crate) fn worker_indexes(worker: &Worker) -> Vec<Key> {
    let releasing = match worker.state {
        WorkerState::Active => false,
        WorkerState::Returning | WorkerState::Lost => worker.leased > 0,
    };
    if releasing { vec![Key::LostWorker(worker.id)] } else { Vec::new() }
}

/// All index entries of a request id.
pub(crate) fn request_indexes(id: &str, request: &Request) -> Vec<Key> {
    request.expires_at.map(|at| Key::Due(at, DueItem::Request(id.to_owned()))).into_iter().collect()
}

/// What a job counts for among the cluster's jobs; one that is being collected counts for nothing.
pub(crate) fn counts_of(job: &Job) -> JobCounts {
    let mut counts = JobCounts::default();
    match job.state {
        JobState::Draft { .. } => counts.draft = 1,
        JobState::Pending => counts.pending = 1,
        JobState::Executing => counts.executing = 1,
        JobState::Completed { .. } => counts.completed = 1,
        JobState::Failed { .. } => counts.failed = 1,
        JobState::Canceled { .. } => counts.canceled = 1,
        JobState::Collecting => {}
    }
    counts
}

/// The tasks of a job by effective state. All planned tasks count, created or not, so the sum does not move while
/// tasks are created; hidden jobs have none.
pub(crate) fn task_counts_of(job: &Job) -> TaskCounts {
    let planned = tasks_planned(&job.spec);
    let completed = job.counts.tasks_completed;
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => TaskCounts::default(),
        JobState::Pending | JobState::Executing | JobState::Completed { .. } => {
            let (in_progress, failed) = (job.counts.tasks_leased, job.counts.tasks_failed);
            let pending = planned.saturating_sub(completed).saturating_sub(in_progress).saturating_sub(failed);
            TaskCounts { pending, in_progress, completed, failed }
        }
        JobState::Failed { .. } | JobState::Canceled { .. } => {
            TaskCounts { completed, failed: planned.saturating_sub(completed), ..TaskCounts::default() }
        }
    }
}

/// What one task adds to the counters of its job.
pub(crate) fn totals_of(task: &Task) -> JobTotals {
    let copied = || task.segments.iter().filter_map(|segment| segment.copied);
    JobTotals {
        tasks_created: 1,
        tasks_queued: u64::from(task.queued_at.is_some()),
        tasks_leased: u64::from(task.lease.is_some()),
        tasks_completed: u64::from(matches!(task.outcome, TaskOutcome::Completed { .. })),
        tasks_failed: u64::from(matches!(task.outcome, TaskOutcome::Failed { .. })),
        segments_copied: copied().count() as u64,
        bytes_planned: task.bytes_planned,
        bytes_copied: task.bytes_copied,
        rows: copied().fold(0, |rows, copied| rows.saturating_add(u64::try_from(copied.rows).unwrap_or_default())),
    }
}

/// What one task adds to its job's (remaining, left over) clean-ups.
pub(crate) fn clean_ups_of(task: &Task) -> (u64, u64) {
    match task.clean_up {
        CleanUp::NotNeeded | CleanUp::Done => (0, 0),
        CleanUp::Due => (1, 0),
        CleanUp::LeftOver => (0, 1),
    }
}

/// Replaces what `old` counted by what `new` counts.
fn moved(total: u64, old: u64, new: u64) -> u64 {
    total.saturating_add(new).saturating_sub(old)
}

/// The cluster's jobs once one of them changed from `old` to `new`.
pub(crate) fn jobs_moved(total: JobCounts, old: JobCounts, new: JobCounts) -> JobCounts {
    JobCounts {
        draft: moved(total.draft, old.draft, new.draft),
        pending: moved(total.pending, old.pending, new.pending),
        executing: moved(total.executing, old.executing, new.executing),
        completed: moved(total.completed, old.completed, new.completed),
        failed: moved(total.failed, old.failed, new.failed),
        canceled: moved(total.canceled, old.canceled, new.canceled),
    }
}

/// The cluster's tasks once those of one job changed from `old` to `new`.
pub(crate) fn tasks_moved(total: TaskCounts, old: TaskCounts, new: TaskCounts) -> TaskCounts {
    TaskCounts {
        pending: moved(total.pending, old.pending, new.pending),
        in_progress: moved(total.in_progress, old.in_progress, new.in_progress),
        completed: moved(total.completed, old.completed, new.completed),
        failed: moved(total.failed, old.failed, new.failed),
    }
}

/// A job's counters once one of its tasks changed from `old` to `new`.
pub(crate) fn totals_moved(total: JobTotals, old: JobTotals, new: JobTotals) -> JobTotals {
    JobTotals {
        tasks_created: moved(total.tasks_created, old.tasks_created, new.tasks_created),
        tasks_queued: moved(total.tasks_queued, old.tasks_queued, new.tasks_queued),
        tasks_leased: moved(total.tasks_leased, old.tasks_leased, new.tasks_leased),
        tasks_completed: moved(total.tasks_completed, old.tasks_completed, new.tasks_completed),
        tasks_failed: moved(total.tasks_failed, old.tasks_failed, new.tasks_failed),
        segments_copied: moved(total.segments_copied, old.segments_copied, new.segments_copied),
        bytes_planned: moved(total.bytes_planned, old.bytes_planned, new.bytes_planned),
        bytes_copied: moved(total.bytes_copied, old.bytes_copied, new.bytes_copied),
        rows: moved(total.rows, old.rows, new.rows),
    }
}
