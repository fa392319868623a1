//! Reports of attempts: they count only with the lease, as a whole, and once.

use super::attempt::{self, Ending};
use super::keep::Desk;
use super::tasks;
use super::validate::invalid;
use crate::command::{CopiedSegment, LeaseRef, TaskResult};
use crate::derive;
use crate::id::TaskId;
use crate::outcome::{Outcome, Rejection};
use crate::row::{AttemptEnd, Copied, Job, Task, TaskOutcome, TaskSegment};

/// Takes the report of an attempt that ended; a repeat of the report that was taken answers as it did then.
pub(super) fn report(
    desk: &mut Desk<'_>,
    lease: LeaseRef,
    result: &TaskResult,
    writes_for_ms: u64,
) -> Result<Outcome, Rejection> {
    let task = desk.task(lease.task)?;
    if repeats(&task, lease, result) {
        return Ok(Outcome::Reported { job_ended: false });
    }
    tasks::check_held(&task, lease)?;
    let ending = match result {
        TaskResult::Copied { segments } => Ending::Copied(segments),
        TaskResult::Published => Ending::Published,
        TaskResult::CleanedUp => Ending::CleanedUp,
        TaskResult::Verified { segments } => Ending::Verified(segments),
        TaskResult::Failed { kind, reason } => Ending::Failed(*kind, reason, lease.worker),
    };
    attempt::end(desk, &task, &ending, writes_for_ms)
}

/// Takes the lease of an attempt that nothing runs for any more.
pub(super) fn release(desk: &mut Desk<'_>, lease: LeaseRef, writes_for_ms: u64) -> Result<Outcome, Rejection> {
    let (task, _) = tasks::held(desk, lease)?;
    attempt::end(desk, &task, &Ending::Stopped, writes_for_ms)
}

/// Whether this very attempt ended with this result before: a worker repeats its report until it is acknowledged.
fn repeats(task: &Task, lease: LeaseRef, result: &TaskResult) -> bool {
    let ended = task.lease.is_none() && task.attempt == lease.attempt;
    let completed = matches!(task.outcome, TaskOutcome::Completed { .. });
    let taken = match result {
        TaskResult::Copied { .. } => completed && !derive::publishes(task) && !task.verifies,
        TaskResult::Verified { .. } => completed && task.verifies,
        TaskResult::Published => completed && derive::publishes(task),
        // One that began before the last late write may come leaves its task to another.
        TaskResult::CleanedUp => task.attempts.last().is_some_and(|last| last.end == AttemptEnd::CleanedUp),
        TaskResult::Failed { .. } => false,
    };
    ended && taken
}

/// Completes a task with what its attempt copied, or verified: what is told of its segments follows from here until settling writes it
/// down.
pub(super) fn copied(desk: &Desk<'_>, job: &Job, task: &mut Task, segments: &[CopiedSegment]) -> Result<(), Rejection> {
    if !task.claimed && !task.verifies {
        return Err(invalid("result", "is of targets that were never claimed: claim them before they are written"));
    }
    task.segments = exactly_the_targets(task.id, std::mem::take(&mut task.segments), segments)?;
    let (mut rows, mut bytes) = (Some(job.counts.rows), Some(0_u64));
    for segment in segments {
        let segment_rows = u64::try_from(segment.rows).map_err(|_| {
            invalid("result.rows", format!("of segment {} are negative: report what it has", segment.target))
        })?;
        rows = rows.and_then(|rows| rows.checked_add(segment_rows));
        bytes = bytes.and_then(|bytes| bytes.checked_add(segment.bytes));
    }
    let (Some(_), Some(bytes)) = (rows, bytes) else {
        return Err(invalid("result", "has more rows or bytes than a job can count: report what the segments have"));
    };
    task.bytes_copied = task.bytes_copied.max(bytes);
    task.bytes_planned = task.bytes_copied;
    task.outcome = TaskOutcome::Completed { ended: desk.now };
    Ok(())
}

/// Completes the publication.
pub(super) fn published(desk: &Desk<'_>, task: &mut Task) -> Result<(), Rejection> {
    if !task.claimed {
        return Err(invalid("result", "is of a metadata file that was never claimed: claim it before it is written"));
    }
    task.outcome = TaskOutcome::Completed { ended: desk.now };
    Ok(())
}

/// The segments of a task with their results, refused as a whole unless these name each target once and nothing else.
fn exactly_the_targets(
    task: TaskId,
    mut segments: Vec<TaskSegment>,
    results: &[CopiedSegment],
) -> Result<Vec<TaskSegment>, Rejection> {
    let wrong = |reason: String| Rejection::WrongTargets { task, reason };
    for CopiedSegment { target, partition_id, rows, bytes } in results {
        let place = segments.binary_search_by_key(target, |segment| segment.target).ok();
        let Some(segment) = place.and_then(|place| segments.get_mut(place)) else {
            return Err(wrong(format!("{target} is not its target")));
        };
        let partition_asked = segment.mapping.partition_id;
        if partition_asked != 0 && partition_asked != *partition_id {
            return Err(wrong(format!("{target} was to go to partition {partition_asked}")));
        }
        let copied = Copied { partition_id: *partition_id, rows: *rows, bytes: *bytes };
        if segment.copied.replace(copied).is_some() {
            return Err(wrong(format!("{target} is listed twice")));
        }
    }
    match segments.iter().find(|segment| segment.copied.is_none()) {
        Some(missing) => Err(wrong(format!("{} is missing", missing.target))),
        None => Ok(segments),
    }
}
