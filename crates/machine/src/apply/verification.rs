//! The end of a job that only verifies: once every task of it has ended, and not with the first one that found something.

use super::control;
use super::keep::Desk;
use super::validate;
use crate::derive;
use crate::outcome::Rejection;
use crate::row::{Job, JobState, Settle, TaskOutcome};

/// Ends the job if no task of it is left; tells whether it did.
pub(super) fn conclude(desk: &Desk<'_>, job: &mut Job) -> Result<bool, Rejection> {
    let (failed, total) = (job.counts.tasks_failed, derive::tasks_planned(&job.spec));
    if job.counts.tasks_completed + failed < total {
        return Ok(false);
    }
    let Some(first) = job.failed_by else {
        debug_assert!(failed == 0, "the first task that failed is known: {job:?}");
        job.state = JobState::Completed { ended: desk.now };
        // Nothing was published, and nothing is to be written down.
        job.settle = Settle::Done;
        return Ok(true);
    };
    let cause = match desk.task(first)?.outcome {
        TaskOutcome::Failed { reason, .. } => reason,
        TaskOutcome::Open | TaskOutcome::Completed { .. } => {
            debug_assert!(false, "a task that failed stays failed: {first}");
            String::new()
        }
    };
    control::set_failed(job, desk.now, validate::reason(&format!("{failed}/{total} tasks failed: {cause}")));
    Ok(true)
}
