//! Reports of attempts: they count only with the lease, as a whole, and once.

use super::attempt::{self, Ending};
use super::keep::Desk;
use super::tasks;
use super::validate::invalid;
use crate::command::{CopiedSegment, LeaseRef, TaskResult};
use crate::id::SegmentId;
use crate::key::Key;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::{CleanUp, Job, Mapping, Row, Segment, SegmentState, Task, TaskOutcome};
use crate::tables::Tables;
use ferry_planted::Bug;
use std::collections::BTreeMap;

/// Takes the report of an attempt that ended; a repeat of the report that was taken answers as it did then.
pub(super) fn report(desk: &mut Desk<'_>, lease: LeaseRef, result: &TaskResult) -> Result<Outcome, Rejection> {
    let task = desk.task(lease.task)?;
    if repeats(&task, lease, result) {
        return Ok(Outcome::Reported { job_ended: false });
    }
    let (task, _) = tasks::held(desk, lease)?;
    let ending = match result {
        TaskResult::Copied { segments } => Ending::Copied(segments),
        TaskResult::CleanedUp => Ending::CleanedUp,
        TaskResult::Failed { kind, reason } => Ending::Failed(*kind, reason, lease.worker),
    };
    attempt::end(desk, &task, &ending)
}

/// Takes the lease of an attempt that nothing runs for any more.
pub(super) fn release(desk: &mut Desk<'_>, lease: LeaseRef) -> Result<Outcome, Rejection> {
    let (task, _) = tasks::held(desk, lease)?;
    attempt::end(desk, &task, &Ending::Stopped)
}

/// Whether this very attempt ended with this result before: a worker repeats its report until it is acknowledged.
fn repeats(task: &Task, lease: LeaseRef, result: &TaskResult) -> bool {
    let ended = task.lease.is_none() && task.attempt == lease.attempt;
    let taken = match result {
        TaskResult::Copied { .. } => matches!(task.outcome, TaskOutcome::Completed { .. }),
        TaskResult::CleanedUp => task.clean_up == CleanUp::Done,
        TaskResult::Failed { .. } => false,
    };
    ended && taken
}

/// Completes a task with what its attempt copied.
pub(super) fn copied(
    desk: &mut Desk<'_>,
    job: &mut Job,
    task: &mut Task,
    segments: &[CopiedSegment],
) -> Result<(), Rejection> {
    if !task.claimed {
        return Err(invalid("result", "is of targets that were never claimed: claim them before they are written"));
    }
    let results = exactly_the_targets(desk, task, segments)?;
    let (mut rows, mut bytes) = (Some(0_u64), Some(0_u64));
    for (target, (mapping, result)) in results {
        let result_rows = u64::try_from(result.rows)
            .map_err(|_| invalid("result.rows", format!("of segment {target} are negative: report what it has")))?;
        rows = rows.and_then(|rows| rows.checked_add(result_rows));
        bytes = bytes.and_then(|bytes| bytes.checked_add(result.bytes));
        write_segment(desk, job, target, mapping, result);
    }
    let (Some(rows), Some(bytes)) = (rows.and_then(|rows| job.counts.rows.checked_add(rows)), bytes) else {
        return Err(invalid("result", "has more rows or bytes than a job can count: report what the segments have"));
    };
    job.counts.rows = rows;
    task.bytes_copied = task.bytes_copied.max(bytes);
    task.bytes_planned = task.bytes_copied;
    task.outcome = TaskOutcome::Completed { ended: desk.now };
    Ok(())
}

/// A target is its job's until that has given it up, so what its row says follows from the mapping: it is not read first.
fn write_segment(desk: &mut Desk<'_>, job: &Job, target: SegmentId, mapping: Mapping, result: &CopiedSegment) {
    let early = ferry_planted::is(Bug::EarlyPublication);
    let segment = Segment {
        job: job.id,
        source: mapping.source,
        collection_id: job.spec.collection_id,
        partition_id: result.partition_id,
        state: if early { SegmentState::Flushed } else { SegmentState::Importing },
        rows: result.rows,
        bytes: result.bytes,
    };
    desk.rows.put(Key::Segment(target), Row::Segment(segment));
}

/// The results by target, refused as a whole unless they list each target of the task once and nothing else.
fn exactly_the_targets<'a>(
    desk: &Desk<'_>,
    task: &Task,
    segments: &'a [CopiedSegment],
) -> Result<BTreeMap<SegmentId, (Mapping, &'a CopiedSegment)>, Rejection> {
    let wrong = |reason: String| Rejection::WrongTargets { task: task.id, reason };
    let targets: BTreeMap<SegmentId, Mapping> = read::task_segments(&desk.rows, task).into_iter().collect();
    let mut results = BTreeMap::new();
    for segment in segments {
        let target = segment.target;
        let Some(mapping) = targets.get(&target) else { return Err(wrong(format!("{target} is not its target"))) };
        if mapping.partition_id != 0 && mapping.partition_id != segment.partition_id {
            return Err(wrong(format!("{target} was to go to partition {}", mapping.partition_id)));
        }
        if results.insert(target, (*mapping, segment)).is_some() {
            return Err(wrong(format!("{target} is listed twice")));
        }
    }
    match targets.keys().find(|target| !results.contains_key(target)) {
        Some(missing) => Err(wrong(format!("{missing} is missing"))),
        None => Ok(results),
    }
}
