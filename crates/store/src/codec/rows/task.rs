//! A task. Key: table 3 | task. Value: `TaskRow`. Lifecycle: made in pages when its job begins, changed by each
//! attempt and by settling, removed when its job is collected.

use super::super::shapes::{manifest_from_wire, manifest_to_wire, required, stamp_from_wire, stamp_to_wire};
use super::super::{CodecError, seal, unseal};
use super::attempt;
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::row::{CleanUp, Copied, Mapping, Task, TaskOutcome, TaskSegment};
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;
use ferry_proto::internal::v1::task_outcome::Outcome;

const WHAT: &str = "task's row";

pub(super) fn encode(task: Task) -> Vec<u8> {
    let clean_up = match task.clean_up {
        CleanUp::NotNeeded => wire::CleanUp::NotNeeded,
        CleanUp::Due => wire::CleanUp::Due,
        CleanUp::Done => wire::CleanUp::Done,
        CleanUp::LeftOver => wire::CleanUp::LeftOver,
    };
    seal(&wire::TaskRow {
        id: task.id.0,
        job: task.job.0,
        segments: task.segments.into_iter().map(segment_to_wire).collect(),
        verifies: task.verifies,
        outcome: Some(outcome_to_wire(task.outcome)),
        lease: task.lease.map(attempt::lease_to_wire),
        attempt: task.attempt,
        failures: task.failures,
        claimed: task.claimed,
        manifests: task.manifests.into_iter().map(manifest_to_wire).collect(),
        queued_at_ms: task.queued_at.map(|at| at.0),
        refused_by: task.refused_by.map(|worker| worker.0),
        last_error: task.last_error,
        bytes_planned: task.bytes_planned,
        bytes_copied: task.bytes_copied,
        created: Some(stamp_to_wire(task.created)),
        started: task.started.map(stamp_to_wire),
        clean_up: clean_up.into(),
        late_until_ms: task.late_until.0,
        late_ends: task.late_ends,
        attempts: task.attempts.into_iter().map(attempt::ended_to_wire).collect(),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Task, CodecError> {
    let row: wire::TaskRow = unseal(WHAT, bytes)?;
    Ok(Task {
        id: TaskId(row.id),
        job: JobId(row.job),
        segments: row.segments.into_iter().map(segment_from_wire).collect(),
        verifies: row.verifies,
        outcome: outcome_from_wire(required(row.outcome, WHAT, "outcome")?)?,
        lease: row.lease.map(attempt::lease_from_wire).transpose()?,
        attempt: row.attempt,
        failures: row.failures,
        claimed: row.claimed,
        manifests: row.manifests.into_iter().map(manifest_from_wire).collect(),
        queued_at: row.queued_at_ms.map(Time),
        refused_by: row.refused_by.map(WorkerId),
        last_error: row.last_error,
        bytes_planned: row.bytes_planned,
        bytes_copied: row.bytes_copied,
        created: stamp_from_wire(required(row.created, WHAT, "time of its creation")?),
        started: row.started.map(stamp_from_wire),
        clean_up: match wire::CleanUp::try_from(row.clean_up) {
            Ok(wire::CleanUp::NotNeeded) => CleanUp::NotNeeded,
            Ok(wire::CleanUp::Due) => CleanUp::Due,
            Ok(wire::CleanUp::Done) => CleanUp::Done,
            Ok(wire::CleanUp::LeftOver) => CleanUp::LeftOver,
            Ok(wire::CleanUp::Unspecified) | Err(_) => {
                return Err(CodecError::Field { what: WHAT, field: "state of its clean-up" });
            }
        },
        late_until: Time(row.late_until_ms),
        late_ends: row.late_ends,
        attempts: row.attempts.into_iter().map(attempt::ended_from_wire).collect::<Result<_, _>>()?,
    })
}

fn segment_to_wire(segment: TaskSegment) -> wire::TaskSegment {
    let copied = segment.copied.map(|copied| wire::Copied {
        partition_id: copied.partition_id,
        rows: copied.rows,
        bytes: copied.bytes,
    });
    let Mapping { source, partition_id } = segment.mapping;
    wire::TaskSegment { target: segment.target.0, source: source.0, partition_id, copied }
}

fn segment_from_wire(segment: wire::TaskSegment) -> TaskSegment {
    let copied = segment.copied.map(|copied| Copied {
        partition_id: copied.partition_id,
        rows: copied.rows,
        bytes: copied.bytes,
    });
    let mapping = Mapping { source: SegmentId(segment.source), partition_id: segment.partition_id };
    TaskSegment { target: SegmentId(segment.target), mapping, copied }
}

fn outcome_to_wire(outcome: TaskOutcome) -> wire::TaskOutcome {
    let outcome = match outcome {
        TaskOutcome::Open => Outcome::Open(wire::Nothing {}),
        TaskOutcome::Completed { ended } => Outcome::Completed(wire::EndedState { ended: Some(stamp_to_wire(ended)) }),
        TaskOutcome::Failed { ended, reason } => {
            Outcome::Failed(wire::FailedState { ended: Some(stamp_to_wire(ended)), reason })
        }
    };
    wire::TaskOutcome { outcome: Some(outcome) }
}

fn outcome_from_wire(outcome: wire::TaskOutcome) -> Result<TaskOutcome, CodecError> {
    let ended = |stamp| Ok::<_, CodecError>(stamp_from_wire(required(stamp, WHAT, "time of its end")?));
    Ok(match required(outcome.outcome, WHAT, "outcome")? {
        Outcome::Open(wire::Nothing {}) => TaskOutcome::Open,
        Outcome::Completed(end) => TaskOutcome::Completed { ended: ended(end.ended)? },
        Outcome::Failed(end) => TaskOutcome::Failed { ended: ended(end.ended)?, reason: end.reason },
    })
}
