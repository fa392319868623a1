//! A job. Key: table 2 | job. Value: `JobRow`. Lifecycle: made by the first page of its submit, changed by every step
//! of its life, removed by the last page of its collection.

use super::super::shapes::{
    required, settle_from_wire, settle_to_wire, spec_from_wire, spec_to_wire, stamp_from_wire, stamp_to_wire,
};
use super::super::{CodecError, seal, unseal};
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::row::{Job, JobState, JobTotals};
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;
use ferry_proto::internal::v1::job_state::State;

const WHAT: &str = "job's row";

pub(super) fn encode(job: Job) -> Vec<u8> {
    seal(&wire::JobRow {
        id: job.id.0,
        request_id: job.request_id,
        spec: Some(spec_to_wire(job.spec)),
        state: Some(state_to_wire(job.state)),
        paused: job.paused,
        paused_by_task: job.paused_by.map(|task| task.0),
        failed_task: job.failed_by.map(|task| task.0),
        submitted: Some(stamp_to_wire(job.submitted)),
        started: job.started.map(stamp_to_wire),
        first_task: job.first_task.0,
        first_build_id: job.first_build_id,
        snapshot_id: job.snapshot_id,
        mappings: job.mappings,
        counts: Some(totals_to_wire(job.counts)),
        task_cursor: job.task_cursor.0,
        settle: Some(settle_to_wire(job.settle)),
        clean_up_remaining: job.clean_up_remaining,
        clean_up_left_over: job.clean_up_left_over,
        quiet_at_ms: job.quiet_at.0,
        pass: job.pass,
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Job, CodecError> {
    let row: wire::JobRow = unseal(WHAT, bytes)?;
    Ok(Job {
        id: JobId(row.id),
        request_id: row.request_id,
        spec: spec_from_wire(required(row.spec, WHAT, "spec")?)?,
        state: state_from_wire(required(row.state, WHAT, "state")?)?,
        paused: row.paused,
        paused_by: row.paused_by_task.map(TaskId),
        failed_by: row.failed_task.map(TaskId),
        submitted: stamp_from_wire(required(row.submitted, WHAT, "submit time")?),
        started: row.started.map(stamp_from_wire),
        first_task: TaskId(row.first_task),
        first_build_id: row.first_build_id,
        snapshot_id: row.snapshot_id,
        mappings: row.mappings,
        counts: totals_from_wire(required(row.counts, WHAT, "set of counters")?),
        task_cursor: SegmentId(row.task_cursor),
        settle: settle_from_wire(required(row.settle, WHAT, "progress of settling")?)?,
        clean_up_remaining: row.clean_up_remaining,
        clean_up_left_over: row.clean_up_left_over,
        quiet_at: Time(row.quiet_at_ms),
        pass: row.pass,
    })
}

fn state_to_wire(state: JobState) -> wire::JobState {
    let ended_state = |ended| wire::EndedState { ended: Some(stamp_to_wire(ended)) };
    let state = match state {
        JobState::Draft { expires_at } => State::Draft(wire::DraftState { expires_at_ms: expires_at.0 }),
        JobState::Pending => State::Pending(wire::Nothing {}),
        JobState::Executing => State::Executing(wire::Nothing {}),
        JobState::Completed { ended } => State::Completed(ended_state(ended)),
        JobState::Failed { ended, reason } => {
            State::Failed(wire::FailedState { ended: Some(stamp_to_wire(ended)), reason })
        }
        JobState::Canceled { ended } => State::Canceled(ended_state(ended)),
        JobState::Collecting => State::Collecting(wire::Nothing {}),
    };
    wire::JobState { state: Some(state) }
}

fn state_from_wire(state: wire::JobState) -> Result<JobState, CodecError> {
    let ended = |stamp| Ok::<_, CodecError>(stamp_from_wire(required(stamp, WHAT, "time of its end")?));
    Ok(match required(state.state, WHAT, "state")? {
        State::Draft(draft) => JobState::Draft { expires_at: Time(draft.expires_at_ms) },
        State::Pending(wire::Nothing {}) => JobState::Pending,
        State::Executing(wire::Nothing {}) => JobState::Executing,
        State::Completed(end) => JobState::Completed { ended: ended(end.ended)? },
        State::Failed(end) => JobState::Failed { ended: ended(end.ended)?, reason: end.reason },
        State::Canceled(end) => JobState::Canceled { ended: ended(end.ended)? },
        State::Collecting(wire::Nothing {}) => JobState::Collecting,
    })
}

fn totals_to_wire(totals: JobTotals) -> wire::JobTotals {
    wire::JobTotals {
        tasks_created: totals.tasks_created,
        tasks_queued: totals.tasks_queued,
        tasks_leased: totals.tasks_leased,
        tasks_completed: totals.tasks_completed,
        tasks_failed: totals.tasks_failed,
        segments_copied: totals.segments_copied,
        bytes_planned: totals.bytes_planned,
        bytes_copied: totals.bytes_copied,
        rows: totals.rows,
    }
}

fn totals_from_wire(totals: wire::JobTotals) -> JobTotals {
    JobTotals {
        tasks_created: totals.tasks_created,
        tasks_queued: totals.tasks_queued,
        tasks_leased: totals.tasks_leased,
        tasks_completed: totals.tasks_completed,
        tasks_failed: totals.tasks_failed,
        segments_copied: totals.segments_copied,
        bytes_planned: totals.bytes_planned,
        bytes_copied: totals.bytes_copied,
        rows: totals.rows,
    }
}
