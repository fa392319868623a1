//! What users and the leader do to a job as a whole; the first terminal state is final.

use super::keep::Desk;
use super::validate;
use crate::derive;
use crate::id::{JobId, SegmentId};
use crate::outcome::{Outcome, Rejection};
use crate::row::{FailurePolicy, Job, JobState, LiveOptions, Settle};
use crate::time::Stamp;
use crate::view;

/// The user ends a job; ended already by a user is as asked.
pub(super) fn cancel(desk: &mut Desk<'_>, id: JobId) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    if matches!(old.state, JobState::Canceled { .. }) {
        return Ok(Outcome::Job(id));
    }
    if old.settle == Settle::Kept {
        return Err(wrong_state(&old, "it keeps what it copied: clean it up instead"));
    }
    must_live(&old, "a job that has ended stays as it is; its targets can be read or submitted anew")?;
    let job = Job { state: JobState::Canceled { ended: desk.now }, ..old.clone() };
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

/// The leader ends a job.
pub(super) fn fail(desk: &mut Desk<'_>, id: JobId, reason: &str) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    if !derive::live(&old) {
        return Err(Rejection::Stale("the job has ended"));
    }
    let mut job = old.clone();
    set_failed(&mut job, desk.now, validate::reason(reason));
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

/// The job will never complete; what it copied it keeps where its submitter wanted that.
pub(super) fn set_failed(job: &mut Job, ended: Stamp, reason: String) {
    job.state = JobState::Failed { ended, reason };
    if job.spec.options.on_failure == FailurePolicy::Keep {
        job.settle = Settle::Kept;
    }
}

/// A failed job keeps what it copied no longer: it is settled and cleaned up as any other. One that keeps nothing is as
/// asked.
pub(super) fn clean_up(desk: &mut Desk<'_>, id: JobId) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    if !derive::never_completes(&old) {
        let next_step = "only a job that failed has something to clean up; one that lives is canceled first";
        return Err(wrong_state(&old, next_step));
    }
    if old.settle == Settle::Kept {
        let job = Job { settle: Settle::Segments { after: SegmentId(0) }, ..old.clone() };
        desk.put_job(Some(&old), job);
    }
    Ok(Outcome::Job(id))
}

/// No new attempts, or new ones again; what runs goes on either way.
pub(super) fn pause(desk: &mut Desk<'_>, id: JobId, paused: bool) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    must_live(&old, "only a job that has not ended can be paused or resumed")?;
    let job = Job { paused, paused_by: old.paused_by.filter(|_| paused), ..old.clone() };
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

/// Changes the live options of a job.
pub(super) fn update(desk: &mut Desk<'_>, id: JobId, change: LiveOptions) -> Result<Outcome, Rejection> {
    if let Some(priority) = change.priority {
        validate::priority("priority", priority)?;
    }
    let old = desk.job(id)?;
    must_live(&old, "only a job that has not ended can be changed")?;
    let mut job = old.clone();
    let options = &mut job.spec.options;
    options.priority = change.priority.unwrap_or(options.priority);
    options.bandwidth_bytes_per_second =
        change.bandwidth_bytes_per_second.unwrap_or(options.bandwidth_bytes_per_second);
    options.requests_per_second = change.requests_per_second.unwrap_or(options.requests_per_second);
    options.attempts_at_once_max = change.attempts_at_once_max.unwrap_or(options.attempts_at_once_max);
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

fn must_live(job: &Job, next_step: &'static str) -> Result<(), Rejection> {
    if derive::live(job) {
        return Ok(());
    }
    Err(wrong_state(job, next_step))
}

fn wrong_state(job: &Job, next_step: &'static str) -> Rejection {
    let state = view::state(job).map_or("gone", view::State::name);
    Rejection::WrongState { job: job.id, state, next_step }
}
