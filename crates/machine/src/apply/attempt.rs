//! The end of an attempt, however it came: the task completes, goes back to the queue or fails, and may end its job.

use super::control;
use super::history;
use super::keep::Desk;
use super::report::{copied, published};
use super::settle::before_first_task;
use super::tasks::bytes_fit;
use super::validate::{self, invalid};
use super::verification;
use crate::command::{CopiedSegment, FailureKind};
use crate::derive;
use crate::id::{TaskId, WorkerId};
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::row::{CleanUp, FailurePolicy, Job, JobState, Settle, Task, TaskOutcome};
use crate::time::Time;
use ferry_planted::Bug;

/// How an attempt ended.
pub(super) enum Ending<'a> {
    /// Every segment was copied.
    Copied(&'a [CopiedSegment]),
    /// The copy's snapshot metadata file was written.
    Published,
    /// None of the target files is left.
    CleanedUp,
    /// Every object is as it has to be.
    Verified(&'a [CopiedSegment]),
    /// It failed on this worker.
    Failed(FailureKind, &'a str, WorkerId),
    /// It was given up without a result, and nothing of it runs any more.
    Stopped,
    /// Its worker is gone, and may write for this long.
    Lost {
        /// In milliseconds.
        writes_for_ms: u64,
        /// Which worker.
        name: &'a str,
    },
}

impl Ending<'_> {
    /// How long its own process may still send requests, in milliseconds.
    fn sends_for_ms(&self) -> u64 {
        match self {
            Ending::Lost { writes_for_ms, .. } => *writes_for_ms,
            Ending::Copied(_)
            | Ending::Published
            | Ending::CleanedUp
            | Ending::Verified(_)
            | Ending::Failed(..)
            | Ending::Stopped => 0,
        }
    }
}

/// What the end of an attempt means for its job.
enum Verdict {
    /// Nothing by itself.
    None,
    /// One more copy is complete.
    Copied,
    /// The job has completed.
    Published,
    /// One more task has looked at all that it was to look at.
    Verified,
    /// One has found what must not be; the others are looked at all the same.
    Differs {
        /// Which.
        task: TaskId,
    },
    /// The copy's snapshot metadata file is deleted, or given up: settling goes on.
    Unpublished,
    /// The job has failed.
    Fails {
        /// Why the task failed.
        cause: String,
    },
    /// The job is to wait for its user.
    Pauses {
        /// The task that no attempt can help any more.
        by: TaskId,
    },
}

/// Ends the attempt that `old` has leased. `late_ms`: how long a remote store may carry out what it gave up.
pub(super) fn end(desk: &mut Desk<'_>, old: &Task, ending: &Ending<'_>, late_ms: u64) -> Result<Outcome, Rejection> {
    let old_job = desk.job(old.job)?;
    let mut job = old_job.clone();
    let sent_all_at = desk.now.at.plus(ending.sends_for_ms());
    if matches!(ending, Ending::Lost { .. }) {
        job.quiet_at = job.quiet_at.max(sent_all_at);
    }
    let mut task = Task { lease: None, ..old.clone() };
    note_late(&job, &mut task, late_ms, sent_all_at);
    let over = job.state != JobState::Executing && task.clean_up != CleanUp::Due;
    let verdict = if over {
        Verdict::None
    } else if job.state == JobState::Executing {
        end_work(desk, &mut job, &mut task, ending)?
    } else {
        end_clean_up(desk, &job, &mut task, old, ending)?
    };
    history::remember(old, &mut task, ending, over, desk.now);
    bytes_fit(&job, old, &task)?;
    desk.put_task(Some(old), task, &mut job);
    let job_ended = conclude(desk, &mut job, verdict)?;
    let late = over && matches!(ending, Ending::Copied(_) | Ending::Published);
    if late && ferry_planted::is(Bug::LateResultAccepted) {
        job.state = JobState::Completed { ended: desk.now };
    }
    desk.put_job(Some(&old_job), job);
    let released = over || matches!(ending, Ending::Stopped | Ending::Lost { .. });
    Ok(if released { Outcome::Released(old.id) } else { Outcome::Reported { job_ended } })
}

/// Without a claim nothing was written, and a folder carries out nothing late. A clean-up's deletes count as well: one that
/// comes after the targets are unlocked would be of another job's objects.
fn note_late(job: &Job, task: &mut Task, late_ms: u64, sent_all_at: Time) {
    let writes = task.claimed && derive::writes_remotely(&job.spec);
    if late_ms > 0 && writes {
        task.late_until = task.late_until.max(sent_all_at.plus(late_ms));
        task.late_ends = task.late_ends.saturating_add(1);
    }
}

/// Moves the job where the end of this attempt leads; tells whether that ended it.
fn conclude(desk: &mut Desk<'_>, job: &mut Job, verdict: Verdict) -> Result<bool, Rejection> {
    match verdict {
        Verdict::None => Ok(false),
        Verdict::Copied => {
            if derive::all_copied(job) {
                queue_publication(desk, job)?;
            }
            Ok(false)
        }
        Verdict::Published => {
            // Every target of the job becomes visible with this one row.
            job.state = JobState::Completed { ended: desk.now };
            Ok(true)
        }
        Verdict::Verified => verification::conclude(desk, job),
        Verdict::Differs { task } => {
            job.failed_by.get_or_insert(task);
            verification::conclude(desk, job)
        }
        Verdict::Unpublished => {
            job.settle = Settle::Tasks { after: before_first_task(job) };
            Ok(false)
        }
        Verdict::Pauses { by } => {
            job.paused = true;
            job.paused_by = Some(by);
            Ok(false)
        }
        Verdict::Fails { cause } => {
            let (failed, total) = (job.counts.tasks_failed, derive::tasks_planned(&job.spec));
            let reason = validate::reason(&format!("{failed}/{total} tasks failed: {cause}"));
            control::set_failed(job, desk.now, reason);
            Ok(true)
        }
    }
}

/// The last copy is complete: what is left to do is the publication.
fn queue_publication(desk: &mut Desk<'_>, job: &mut Job) -> Result<(), Rejection> {
    let old = desk.task(derive::publication_of(job))?;
    debug_assert!(
        derive::publishes(&old) && old.queued_at.is_none() && old.started.is_none(),
        "it is queued once: {old:?}"
    );
    let task = Task { queued_at: Some(desk.now.at), ..old.clone() };
    desk.put_task(Some(&old), task, job);
    // What its copies cost it must not put the publication behind every job that comes later, or none would end while
    // more come than workers copy. At the pass of the present the older job goes first.
    job.pass = job.pass.min(desk.cluster.pass);
    Ok(())
}

/// The end of a copy or of the publication, in a job that lives.
fn end_work(desk: &mut Desk<'_>, job: &mut Job, task: &mut Task, ending: &Ending<'_>) -> Result<Verdict, Rejection> {
    match ending {
        Ending::Copied(_) | Ending::Published if task.verifies => {
            Err(invalid("result", "the attempt only verifies: report the segments it verified"))
        }
        Ending::Verified(_) if !task.verifies => {
            Err(invalid("result", "the attempt does not only verify: report what it copied or published"))
        }
        Ending::Verified(segments) => {
            copied(desk, job, task, segments)?;
            Ok(Verdict::Verified)
        }
        Ending::Copied(_) if derive::publishes(task) => {
            Err(invalid("result", "the attempt is a publication: report that it is published"))
        }
        Ending::Copied(segments) => {
            copied(desk, job, task, segments)?;
            Ok(Verdict::Copied)
        }
        Ending::Published if !derive::publishes(task) => {
            Err(invalid("result", "the attempt is a copy: report the segments it copied"))
        }
        Ending::Published => {
            published(desk, task)?;
            Ok(Verdict::Published)
        }
        Ending::CleanedUp => {
            let next_step = "the attempt is no clean-up: report the segments it copied, or that it is published";
            Err(invalid("result", next_step))
        }
        Ending::Stopped | Ending::Failed(FailureKind::GivenBack, ..) => {
            task.queued_at = Some(desk.now.at);
            Ok(Verdict::None)
        }
        Ending::Failed(FailureKind::Permanent, reason, _) => Ok(give_up(desk, job, task, reason, desk.now.at)),
        Ending::Failed(FailureKind::Refused, reason, worker) => {
            if task.refused_by.is_some_and(|first| first != *worker) {
                return Ok(give_up(desk, job, task, reason, desk.now.at));
            }
            task.refused_by = Some(*worker);
            let at = desk.now.at.plus(backoff_ms(task.id, task.attempt, task.failures.saturating_add(1)));
            Ok(retry(desk, job, task, reason, at))
        }
        Ending::Failed(FailureKind::Outage, reason, _) if is_young(task, desk.now.at) => {
            task.last_error = validate::reason(reason);
            task.queued_at = Some(desk.now.at.plus(next_look_ms(task)));
            Ok(Verdict::None)
        }
        Ending::Failed(FailureKind::Transient | FailureKind::Outage, reason, _) => {
            let at = desk.now.at.plus(backoff_ms(task.id, task.attempt, task.failures.saturating_add(1)));
            Ok(retry(desk, job, task, reason, at))
        }
        Ending::Lost { name, .. } => Ok(retry(desk, job, task, &lost(name), desk.now.at)),
    }
}

/// Counts a failed attempt: back into the queue, or given up with all attempts used up.
fn retry(desk: &Desk<'_>, job: &Job, task: &mut Task, reason: &str, at: Time) -> Verdict {
    task.failures = task.failures.saturating_add(1);
    if task.failures < job.spec.options.attempts_max {
        task.last_error = validate::reason(reason);
        task.queued_at = Some(at);
        return Verdict::None;
    }
    give_up(desk, job, task, reason, at)
}

/// No attempt can help any more as things are: the task fails, or waits with fresh attempts for the resume of its job, of
/// which the first begins at `at` or later.
fn give_up(desk: &Desk<'_>, job: &Job, task: &mut Task, reason: &str, at: Time) -> Verdict {
    let reason = validate::reason(reason);
    task.last_error.clone_from(&reason);
    match job.spec.options.on_failure {
        FailurePolicy::Fail | FailurePolicy::Keep => {
            task.outcome = TaskOutcome::Failed { ended: desk.now, reason: reason.clone() };
            if task.verifies { Verdict::Differs { task: task.id } } else { Verdict::Fails { cause: reason } }
        }
        FailurePolicy::Pause => {
            task.failures = 0;
            task.refused_by = None;
            task.queued_at = Some(at);
            Verdict::Pauses { by: task.id }
        }
    }
}

fn end_clean_up(
    desk: &Desk<'_>,
    job: &Job,
    task: &mut Task,
    old: &Task,
    ending: &Ending<'_>,
) -> Result<Verdict, Rejection> {
    let now = desk.now.at;
    let late = ended_too_early(old, task);
    match ending {
        Ending::Copied(_) | Ending::Published | Ending::Verified(_) => {
            return Err(invalid("result", "the attempt is a clean-up: report that it is cleaned up"));
        }
        Ending::CleanedUp if late => look_again(job, task, now),
        Ending::CleanedUp => task.clean_up = CleanUp::Done,
        Ending::Stopped | Ending::Failed(FailureKind::GivenBack, ..) => task.queued_at = Some(now.max(job.quiet_at)),
        Ending::Failed(FailureKind::Outage, reason, _) if is_young(task, now) => {
            task.last_error = validate::reason(reason);
            task.queued_at = Some(now.plus(next_look_ms(task)).max(job.quiet_at));
        }
        Ending::Failed(
            kind @ (FailureKind::Permanent | FailureKind::Refused | FailureKind::Transient | FailureKind::Outage),
            reason,
            worker,
        ) => {
            if *kind == FailureKind::Refused {
                // Another worker may be allowed to delete.
                task.refused_by = Some(*worker);
            }
            let wait_ms = backoff_ms(task.id, task.attempt, task.failures.saturating_add(1));
            retry_clean_up(job, task, reason, now.plus(wait_ms), late);
        }
        Ending::Lost { name, .. } => retry_clean_up(job, task, &lost(name), now, late),
    }
    let over = task.clean_up != CleanUp::Due;
    Ok(if over && job.settle == Settle::Metadata { Verdict::Unpublished } else { Verdict::None })
}

/// Whether an object may still appear after what the clean-up that `old` has leased saw.
fn ended_too_early(old: &Task, task: &Task) -> bool {
    let begun = old.lease.map_or(Time(0), |lease| lease.since.at);
    begun < task.late_until && !ferry_planted::is(Bug::LateWritesIgnored)
}

/// What began before the last late write may come frees space early, and no more than that: the clean-up that counts comes
/// after it, with all its attempts.
fn look_again(job: &Job, task: &mut Task, now: Time) {
    task.failures = 0;
    // The moment may have passed while the clean-up ran, and a leader that plans on looks no further back (`plan::Heads`).
    task.queued_at = Some(task.late_until.max(job.quiet_at).max(now));
}

fn retry_clean_up(job: &Job, task: &mut Task, reason: &str, at: Time, late: bool) {
    task.failures = task.failures.saturating_add(1);
    task.last_error = validate::reason(reason);
    if task.failures < job.spec.options.attempts_max {
        task.queued_at = Some(at.max(job.quiet_at));
    } else if late && task.late_ends < limits::LATE_ENDS_MAX {
        look_again(job, task, at);
    } else {
        task.clean_up = CleanUp::LeftOver;
    }
}

/// An outage that has not lasted for long costs no attempt: nothing is wrong with the task.
fn is_young(task: &Task, now: Time) -> bool {
    history::outage_since(task).is_none_or(|since| now < since.plus(limits::OUTAGE_MAX_MS))
}

/// Tasks of a store that comes back do not come back together.
fn next_look_ms(task: &Task) -> u64 {
    let half = limits::OUTAGE_LOOK_MS / 2;
    half + mixed(task.id.0.cast_unsigned() ^ (u64::from(task.attempt) << 48)) % (half + 1)
}

fn lost(name: &str) -> String {
    format!("the attempt was lost with worker {name}")
}

/// Doubles with each failure up to a longest wait; the jitter is drawn from the attempt's own name, so that every
/// replica draws the same and neighbouring tasks do not come back together.
pub(super) fn backoff_ms(task: TaskId, attempt: u32, failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = (limits::BACKOFF_FIRST_MS << doublings).min(limits::BACKOFF_MAX_MS);
    let half = whole / 2;
    half + mixed(task.0.cast_unsigned() ^ (u64::from(attempt) << 48)) % (whole - half + 1)
}

/// Spreads the bits of a number (the finalizer of splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
