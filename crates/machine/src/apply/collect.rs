//! Collection: the rows of a job whose retention is over, or of a dropped draft, go in pages, the job's own row last.

use super::keep::Desk;
use super::settle::{before_first_task, tasks_after};
use super::validate::invalid;
use crate::derive;
use crate::id::{JobId, SegmentId, TaskId};
use crate::key::Key;
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::{Job, JobState, Request, Settle};
use crate::tables::Tables;

/// Removes the next page; the first one hides the job, and the cursor that settled it starts anew.
pub(super) fn collect(desk: &mut Desk<'_>, id: JobId) -> Result<Outcome, Rejection> {
    let old = read::job(&desk.rows, id).ok_or(Rejection::JobNotFound(id))?;
    let mut job = old.clone();
    if old.state != JobState::Collecting {
        let due = derive::at_rest(&old).then(|| derive::due_of(&old)).flatten();
        if due.is_none_or(|at| at > desk.now.at) {
            return Err(Rejection::Stale("the job is not due for collection"));
        }
        job.state = JobState::Collecting;
        job.settle = Settle::Segments { after: SegmentId(0) };
    }
    job.settle = match job.settle {
        Settle::Segments { after } => collect_segments(desk, &job, after),
        Settle::Tasks { after } => collect_tasks(desk, &job, after),
        Settle::Kept | Settle::Metadata | Settle::Done => {
            debug_assert!(false, "collection begins anew, with the segments: {:?}", job.settle);
            Settle::Done
        }
    };
    if job.settle == Settle::Done {
        forget(desk, &old);
    } else {
        desk.put_job(Some(&old), job);
    }
    Ok(Outcome::Done)
}

/// Published segments stay for ever, and a target that another job took over is that job's.
fn collect_segments(desk: &mut Desk<'_>, job: &Job, after: SegmentId) -> Settle {
    let (page, last_page) = read::job_runs(&desk.rows, job.id, after, limits::SEGMENTS_PER_COLLECT_PAGE);
    for (last, mappings) in &page {
        let first = read::first_of(*last, mappings.len());
        for (held_last, held) in read::targets_between(&desk.rows, first, *last, mappings.len()) {
            if held.job == job.id && held.published.is_none() {
                desk.rows.delete(&Key::Targets(held_last));
            }
        }
        desk.rows.delete(&Key::JobTargets(job.id, *last));
    }
    match page.last() {
        Some((last, _)) if !last_page => Settle::Segments { after: *last },
        _ if job.counts.tasks_created == 0 => Settle::Done,
        _ => Settle::Tasks { after: before_first_task(job) },
    }
}

fn collect_tasks(desk: &mut Desk<'_>, job: &Job, after: TaskId) -> Settle {
    let tasks_max = limits::tasks_per_settle_page(job.spec.options.segments_per_task_max);
    let page = tasks_after(desk, job, after, tasks_max);
    for task in &page {
        for index in derive::task_indexes(task) {
            desk.rows.delete(&index);
        }
        desk.rows.delete(&Key::Task(task.id));
    }
    match page.last() {
        Some(last) if page.len() == tasks_max => Settle::Tasks { after: last.id },
        _ => Settle::Done,
    }
}

/// Removes the job's row; its request id goes on naming it for a while. That of a dropped draft is another's by now.
fn forget(desk: &mut Desk<'_>, job: &Job) {
    let request = read::request(&desk.rows, &job.request_id).filter(|request| request.job == job.id);
    if let Some(request) = request {
        let expires_at = Some(desk.now.at.plus(limits::REQUEST_RETENTION_MS));
        desk.put_request(&job.request_id, Some(Request { expires_at, ..request }));
    }
    desk.delete_job(job);
}

/// Drops request ids whose time is over, and leaves those alone that it is not over for.
pub(super) fn expire_requests(desk: &mut Desk<'_>, request_ids: &[String]) -> Result<Outcome, Rejection> {
    if request_ids.len() > limits::REQUESTS_PER_PAGE {
        return Err(invalid("request_ids", format!("a page has {} at most: send more", limits::REQUESTS_PER_PAGE)));
    }
    for id in request_ids {
        let expires_at = read::request(&desk.rows, id).and_then(|request| request.expires_at);
        if expires_at.is_some_and(|at| at <= desk.now.at) {
            desk.put_request(id, None);
        }
    }
    Ok(Outcome::Done)
}
