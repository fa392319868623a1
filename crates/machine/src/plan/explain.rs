//! Explains one job: what it waits for now, from the same rows that the plan reads.

use super::dispatch::Workers;
use super::{Connected, WaitingOn};
use crate::derive;
use crate::id::JobId;
use crate::key::Key;
use crate::read;
use crate::row::{Job, JobState, Settle};
use crate::tables::Read;
use crate::time::Time;
use crate::view;
use std::ops::Bound;

/// What a job waits for; `None` for one that users do not see.
pub fn explain(read: &dyn Read, id: JobId, now: Time, connected: &[Connected]) -> Option<WaitingOn> {
    let job = view::job(read, id)?;
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => None,
        JobState::Pending => Some(WaitingOn::CreatingTasks {
            created: job.counts.tasks_created,
            planned: derive::tasks_planned(&job.spec),
        }),
        JobState::Executing => Some(explain_copy(read, &job, now, connected)),
        JobState::Completed { .. } | JobState::Failed { .. } | JobState::Canceled { .. } => {
            Some(explain_end(read, &job, now, connected))
        }
    }
}

fn explain_copy(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    if job.counts.tasks_queued == 0 {
        return WaitingOn::Attempts { running };
    }
    if job.paused {
        return WaitingOn::Paused;
    }
    let first = read::queue(read, job.id, 1).first().copied();
    if let Some((until, _)) = first
        && until > now
    {
        return if running > 0 { WaitingOn::Attempts { running } } else { WaitingOn::Backoff { until } };
    }
    let mut workers = Workers::new(read, connected);
    if !workers.any_free() {
        return workers.none_free();
    }
    let refused = first.and_then(|(_, task)| read::task(read, task)).and_then(|task| task.refused_by);
    if refused.is_some() && workers.only_free(refused) {
        return WaitingOn::AnotherWorker;
    }
    if goes_first(read, job) { WaitingOn::Attempts { running } } else { WaitingOn::Turn }
}

fn goes_first(read: &dyn Read, job: &Job) -> bool {
    let from = Bound::Included(Key::Dispatch(0, JobId(i64::MIN)));
    let to = Key::Dispatch(job.pass, job.id);
    read::keys(read, from, &to, 1).is_empty()
}

fn explain_end(read: &dyn Read, job: &Job, now: Time, connected: &[Connected]) -> WaitingOn {
    let running = job.counts.tasks_leased;
    if job.settle != Settle::Done {
        return if running > 0 { WaitingOn::Stopping { running } } else { WaitingOn::Settling };
    }
    if job.clean_up_remaining > 0 {
        let mut workers = Workers::new(read, connected);
        if running == 0 && job.quiet_at <= now && !workers.any_free() {
            return workers.none_free();
        }
        return WaitingOn::CleanUp { remaining: job.clean_up_remaining, quiet_at: job.quiet_at };
    }
    WaitingOn::Retention { until: derive::due_of(job) }
}
