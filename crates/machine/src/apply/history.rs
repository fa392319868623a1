//! What a task remembers of its attempts: each one that ended, the latest last, and no more than a row may carry.

use super::attempt::Ending;
use super::validate;
use crate::command::FailureKind;
use crate::derive;
use crate::limits;
use crate::row::{AttemptEnd, EndedAttempt, Task};
use crate::time::{Stamp, Time};

/// Adds the attempt that `old` has leased to what `task` remembers. `over`: its job had ended, so its result counts for
/// nothing.
pub(super) fn remember(old: &Task, task: &mut Task, ending: &Ending<'_>, over: bool, now: Stamp) {
    let Some(lease) = old.lease else { return };
    let (end, error) = told(ending, over);
    if end == AttemptEnd::Outage && outages(task) > 1 {
        // An outage may take hundreds of looks: its first one says since when, its last one why.
        task.attempts.pop();
    }
    task.attempts.push(EndedAttempt {
        number: lease.attempt,
        worker: lease.worker,
        work: derive::work_of(old),
        started: lease.since,
        ended: now,
        end,
        error: validate::cut(&error, limits::ATTEMPT_ERROR_BYTES_MAX),
    });
    let forgotten = task.attempts.len().saturating_sub(limits::ATTEMPTS_KEPT_PER_TASK);
    task.attempts.drain(..forgotten);
}

/// How many of the last attempts that are remembered met an outage, one after the other.
fn outages(task: &Task) -> usize {
    task.attempts.iter().rev().take_while(|attempt| attempt.end == AttemptEnd::Outage).count()
}

/// Since when the task's attempts have met an outage, one after the other; `None` when the last one met none.
pub(super) fn outage_since(task: &Task) -> Option<Time> {
    let first = task.attempts.len() - outages(task);
    task.attempts.get(first).map(|attempt| attempt.ended.at)
}

fn told(ending: &Ending<'_>, over: bool) -> (AttemptEnd, String) {
    match ending {
        Ending::Copied(_) | Ending::Published | Ending::CleanedUp | Ending::Verified(_) | Ending::Stopped if over => {
            (AttemptEnd::Stopped, "its job had ended".to_owned())
        }
        Ending::Copied(_) => (AttemptEnd::Copied, String::new()),
        Ending::Published => (AttemptEnd::Published, String::new()),
        Ending::CleanedUp => (AttemptEnd::CleanedUp, String::new()),
        Ending::Verified(_) => (AttemptEnd::Verified, String::new()),
        Ending::Stopped => (AttemptEnd::Stopped, String::new()),
        Ending::Failed(FailureKind::Permanent, reason, _) => (AttemptEnd::Permanent, (*reason).to_owned()),
        Ending::Failed(FailureKind::Refused, reason, _) => (AttemptEnd::Refused, (*reason).to_owned()),
        Ending::Failed(FailureKind::Transient, reason, _) => (AttemptEnd::Transient, (*reason).to_owned()),
        Ending::Failed(FailureKind::Outage, reason, _) => (AttemptEnd::Outage, (*reason).to_owned()),
        Ending::Failed(FailureKind::GivenBack, reason, _) => (AttemptEnd::GivenBack, (*reason).to_owned()),
        Ending::Lost { name, .. } => (AttemptEnd::Lost, format!("worker {name} was lost or started anew")),
    }
}
