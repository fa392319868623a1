//! Settling: what follows from a job's end is written into its rows in pages, and its clean-ups are queued.

use super::keep::Desk;
use crate::derive;
use crate::id::{JobId, SegmentId, TaskId};
use crate::key::Key;
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read::{self, TasksOfTargets};
use crate::row::{CleanUp, Job, Row, Settle, Targets, Task, TaskOutcome};
use crate::tables::Tables;
use crate::time::Stamp;
use ferry_planted::Bug;

/// Writes the next page down, from where the command expects it.
pub(super) fn settle(desk: &mut Desk<'_>, id: JobId, at: Settle) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    let Some(ended) = derive::ended(&old) else { return Err(Rejection::Stale("the job has not ended")) };
    if old.counts.tasks_leased > 0 {
        return Err(Rejection::Stale("attempts of the job still run"));
    }
    if old.settle != at {
        return Err(Rejection::Stale("this page was settled already"));
    }
    let mut job = old.clone();
    job.settle = match at {
        Settle::Segments { .. } if derive::never_completes(&job) => unpublish(desk, &mut job, ended)?,
        Settle::Segments { after } => settle_segments(desk, &job, after),
        Settle::Metadata => return Err(Rejection::Stale("the snapshot metadata file is to be deleted first")),
        Settle::Tasks { after } => settle_tasks(desk, &mut job, after, ended),
        Settle::Kept => return Err(Rejection::Stale("the job keeps what it copied")),
        Settle::Done => return Err(Rejection::Stale("everything was settled already")),
    };
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

/// Of the segments of a job that never completes there is nothing to write down. What its publication may have written is
/// deleted before any copy: whoever finds the metadata file must find all that it names.
fn unpublish(desk: &mut Desk<'_>, job: &mut Job, ended: Stamp) -> Result<Settle, Rejection> {
    let next = Settle::Tasks { after: before_first_task(job) };
    if derive::verifies(&job.spec) || !derive::all_copied(job) {
        return Ok(next);
    }
    let publication = desk.task(derive::publication_of(job))?;
    if !publication.claimed {
        return Ok(next);
    }
    settle_task(desk, job, &publication, ended);
    Ok(Settle::Metadata)
}

/// Only published segments outlive their job.
fn settle_segments(desk: &mut Desk<'_>, job: &Job, after: SegmentId) -> Settle {
    let (page, last_page) = read::job_runs(&desk.rows, job.id, after, limits::SEGMENTS_PER_SETTLE_PAGE);
    let mut tasks = TasksOfTargets::new(job);
    let forgotten = usize::from(ferry_planted::is(Bug::SettleForgetsSegment));
    for (last, mappings) in page.iter().take(page.len().saturating_sub(forgotten)) {
        let first = read::first_of(*last, mappings.len());
        let published = Some(tasks.published(&desk.rows, job, first, mappings));
        desk.rows.put(Key::Targets(*last), Row::Targets(Targets { job: job.id, first, published }));
    }
    match page.last() {
        Some((last, _)) if !last_page => Settle::Segments { after: *last },
        // Every task of a completed job says Completed already.
        _ => Settle::Done,
    }
}

fn settle_tasks(desk: &mut Desk<'_>, job: &mut Job, after: TaskId, ended: Stamp) -> Settle {
    let tasks_max = limits::tasks_per_settle_page(job.spec.options.segments_per_task_max);
    let page = tasks_after(desk, job, after, tasks_max);
    // The clean-up of a publication that had claimed ended before.
    for old in page.iter().filter(|task| task.clean_up == CleanUp::NotNeeded) {
        settle_task(desk, job, old, ended);
    }
    match page.last() {
        Some(last) if page.len() == tasks_max => Settle::Tasks { after: last.id },
        _ => Settle::Done,
    }
}

/// Writes down that a task of a job that never completes has failed with it, and queues its clean-up if it had claimed.
fn settle_task(desk: &mut Desk<'_>, job: &mut Job, old: &Task, ended: Stamp) {
    debug_assert!(old.lease.is_none(), "attempts of the job still run: {old:?}");
    let mut task = old.clone();
    task.queued_at = None;
    if task.outcome == TaskOutcome::Open {
        // Its reason is the job's, which outlives the task: `view` looks there, and a large job repeats nothing.
        task.outcome = TaskOutcome::Failed { ended, reason: String::new() };
    }
    if task.claimed {
        task.clean_up = CleanUp::Due;
        task.failures = 0;
        task.queued_at = Some(desk.now.at.max(job.quiet_at));
    }
    desk.put_task(Some(old), task, job);
}

/// The id before a job's first task.
pub(super) fn before_first_task(job: &Job) -> TaskId {
    TaskId(job.first_task.0.saturating_sub(1))
}

/// Tasks of a job after one of them.
pub(super) fn tasks_after(desk: &Desk<'_>, job: &Job, after: TaskId, rows_max: usize) -> Vec<Task> {
    read::tasks(&desk.rows, TaskId(after.0.saturating_add(1)), read::tasks_end(job), rows_max)
}
