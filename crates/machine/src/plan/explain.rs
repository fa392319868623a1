//! Explains one job: what it waits for now, from the same rows that the plan reads.

use super::dispatch::Workers;
use super::heads::Heads;
use super::{Connected, Explanation, PausedBy, WaitingOn};
use crate::derive;
use crate::id::{JobId, TaskId};
use crate::key::Key;
use crate::limits;
use crate::read;
use crate::row::{AttemptEnd, Job, JobState, Settle};
use crate::tables::Read;
use crate::time::Time;
use crate::view;
use std::ops::Bound;

/// What a job waits for; `None` for one that users do not see.
pub fn explain(read: &dyn Read, id: JobId, now: Time, connected: &[Connected]) -> Option<Explanation> {
    let job = view::job(read, id)?;
    let waiting = match job.state {
        JobState::Draft { .. } | JobState::Collecting => return None,
        JobState::Pending => {
            WaitingOn::CreatingTasks { created: job.counts.tasks_created, planned: derive::tasks_planned(&job.spec) }
        }
        JobState::Executing => explain_copy(read, &job, now, connected),
        JobState::Completed { .. } | JobState::Failed { .. } | JobState::Canceled { .. } => {
            explain_end(read, &job, now, connected)
        }
    };
    let task = waiting.task().and_then(|task| read::task(read, task));
    Some(Explanation {
        now,
        running: job.counts.tasks_leased,
        holds_targets: !derive::verifies(&job.spec) && !derive::gave_up_targets(&job, now),
        error: task.map(|task| task.last_error).unwrap_or_default(),
        bandwidth_bytes_per_second: job.spec.options.bandwidth_bytes_per_second,
        requests_per_second: job.spec.options.requests_per_second,
        failed: matches!(waiting, WaitingOn::Attempts { .. }).then(|| failed(read, &job, connected)).flatten(),
        waiting,
    })
}

/// Of the tasks of a job that run or wait, the one whose last attempt failed most recently.
fn failed(read: &dyn Read, job: &Job, connected: &[Connected]) -> Option<(TaskId, String)> {
    let leased = connected.iter().flat_map(|it| view::assigned_tasks(read, it.worker));
    let queued = read::queue(read, job.id, Time(0), limits::TASKS_EXPLAINED_MAX);
    let queued = queued.into_iter().filter_map(|(_, task)| read::task(read, task));
    let open = leased.filter(|task| task.job == job.id).take(limits::TASKS_EXPLAINED_MAX).chain(queued);
    let ended = open.filter(|task| !task.last_error.is_empty()).filter_map(|task| {
        let last = task.attempts.last()?;
        Some((last.ended.at, task.id, task.last_error))
    });
    ended.max_by_key(|(at, task, _)| (*at, *task)).map(|(_, task, error)| (task, error))
}

fn explain_copy(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    if job.counts.tasks_queued == 0 {
        return WaitingOn::Attempts { running };
    }
    if job.paused {
        return WaitingOn::Paused { by: paused_by(read, job) };
    }
    explain_queue(read, job, now, connected)
}

/// What paused a job: its user, or a task, whose last attempt tells why.
fn paused_by(read: &dyn Read, job: &Job) -> PausedBy {
    let Some(id) = job.paused_by else { return PausedBy::User };
    let last = read::task(read, id).and_then(|task| task.attempts.last().map(|attempt| attempt.end));
    match last {
        Some(AttemptEnd::Permanent | AttemptEnd::Refused) => PausedBy::Failure(id),
        Some(
            AttemptEnd::Transient
            | AttemptEnd::Lost
            | AttemptEnd::Copied
            | AttemptEnd::Published
            | AttemptEnd::CleanedUp
            | AttemptEnd::Verified
            | AttemptEnd::GivenBack
            | AttemptEnd::Outage
            | AttemptEnd::Stopped,
        )
        | None => PausedBy::ExhaustedAttempts(id),
    }
}

/// Why no task of the job's queue is leased, be it a copy or a clean-up.
fn explain_queue(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    let first = read::queue(read, job.id, Time(0), 1).first().copied();
    if let Some((until, task)) = first
        && until > now
    {
        return if running > 0 { WaitingOn::Attempts { running } } else { WaitingOn::Backoff { until, task } };
    }
    if derive::attempts_free(job) == Some(0) {
        return WaitingOn::AttemptsAtOnce { running, limit: job.spec.options.attempts_at_once_max };
    }
    let behind = goes_before(read, job, now);
    let mut workers = Workers::new(read, connected);
    if !workers.any_free() {
        return workers.none_free(behind);
    }
    let refused = first.and_then(|(_, task)| read::task(read, task)).filter(|task| task.refused_by.is_some());
    match refused {
        Some(task) if workers.only_free(task.refused_by) => WaitingOn::AnotherWorker { task: task.id },
        Some(_) | None => WaitingOn::Turn { behind },
    }
}

/// The first job in the dispatch order that goes before this one and has a task that can begin.
fn goes_before(read: &dyn Read, job: &Job, now: Time) -> Option<JobId> {
    let from = Bound::Included(Key::Dispatch(0, JobId(i64::MIN)));
    let to = Key::Dispatch(job.pass, job.id);
    let mut before = read::keys(read, from, &to, limits::JOBS_EXPLAINED_MAX).into_iter().filter_map(|key| {
        let Key::Dispatch(_, id) = key else { return None };
        Some(id)
    });
    let (cluster, mut heads) = (read::cluster(read)?, Heads::default());
    before.find(|id| heads.can_begin(read, &cluster, *id, now))
}

fn explain_end(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    let remaining = match job.settle {
        Settle::Kept | Settle::Segments { .. } | Settle::Tasks { .. } if running > 0 => {
            return WaitingOn::Stopping { running };
        }
        Settle::Segments { .. } | Settle::Tasks { .. } => return WaitingOn::Settling,
        Settle::Kept => return WaitingOn::Kept { until: derive::due_of(job).unwrap_or(now) },
        // Every copy is complete, and its files are deleted once the metadata file is.
        Settle::Metadata => derive::tasks_planned(&job.spec),
        Settle::Done => job.clean_up_remaining,
    };
    if remaining > 0 {
        let on = Box::new(explain_clean_up(read, job, now, connected));
        return WaitingOn::CleanUp { remaining, on };
    }
    if job.quiet_at > now && derive::never_completes(job) {
        return WaitingOn::Writers { until: job.quiet_at };
    }
    WaitingOn::Retention { until: derive::due_of(job) }
}

fn explain_clean_up(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    if running > 0 {
        return WaitingOn::Attempts { running };
    }
    let first = read::queue(read, job.id, Time(0), 1).first().copied();
    if job.quiet_at > now && first.is_some_and(|(at, _)| at <= job.quiet_at) {
        return WaitingOn::Writers { until: job.quiet_at };
    }
    let next = first.filter(|(at, _)| *at > now).and_then(|(at, id)| Some((at, read::task(read, id)?)));
    if let Some((until, task)) = next.filter(|(at, task)| *at == task.late_until) {
        return WaitingOn::LateWrites { until, task: task.id, attempts: task.late_ends };
    }
    explain_queue(read, job, now, connected)
}
