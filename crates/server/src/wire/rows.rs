//! Tasks, segments and workers on the wire.

use super::job::wall_ms;
use ferry_machine::command::IdMapping;
use ferry_machine::row::{AttemptEnd, EndedAttempt, Job, Task, Work, Worker, WorkerState};
use ferry_machine::tables::Read;
use ferry_machine::view::{self, Segment, SegmentState, TaskState, task_status};
use ferry_proto::v1;

/// A source and its target.
pub(crate) fn id_mapping(mapping: IdMapping) -> v1::IdMapping {
    v1::IdMapping {
        source_segment_id: mapping.source.0,
        target_segment_id: mapping.target.0,
        partition_id: mapping.partition_id,
    }
}

/// A task as users see it, with its mappings and the names of its workers, which other rows have.
pub(crate) fn task(read: &dyn Read, job: &Job, task: &Task) -> v1::Task {
    let status = task_status(job, task);
    let state = match status.state {
        TaskState::Pending => v1::TaskState::Pending,
        TaskState::InProgress => v1::TaskState::InProgress,
        TaskState::Completed => v1::TaskState::Completed,
        TaskState::Failed => v1::TaskState::Failed,
    };
    v1::Task {
        task_id: task.id.0,
        job_id: task.job.0,
        state: state.into(),
        reason: status.reason,
        attempt: task.attempt,
        worker_id: status.worker.map_or(0, |worker| worker.0),
        id_mappings: view::task_mappings(task).map(id_mapping).collect(),
        copied_bytes: task.bytes_copied,
        total_bytes: task.bytes_planned,
        failures: task.failures,
        created_at_ms: task.created.wall_ms,
        started_at_ms: wall_ms(task.started),
        completed_at_ms: wall_ms(status.ended),
        attempts: task.attempts.iter().map(|attempt| ended_attempt(read, attempt)).collect(),
        work: work(view::work(task)).into(),
    }
}

/// What an attempt of a task does.
pub(crate) fn work(work: Work) -> v1::TaskWork {
    match work {
        Work::Copy => v1::TaskWork::Copy,
        Work::Publish => v1::TaskWork::Publish,
        Work::CleanUp => v1::TaskWork::CleanUp,
        Work::Verify => v1::TaskWork::Verify,
    }
}

fn ended_attempt(read: &dyn Read, attempt: &EndedAttempt) -> v1::EndedAttempt {
    let end = match attempt.end {
        AttemptEnd::Copied => v1::AttemptEnd::Copied,
        AttemptEnd::Published => v1::AttemptEnd::Published,
        AttemptEnd::CleanedUp => v1::AttemptEnd::CleanedUp,
        AttemptEnd::Verified => v1::AttemptEnd::Verified,
        AttemptEnd::Permanent => v1::AttemptEnd::Permanent,
        AttemptEnd::Refused => v1::AttemptEnd::Refused,
        AttemptEnd::Transient => v1::AttemptEnd::Transient,
        AttemptEnd::GivenBack => v1::AttemptEnd::GivenBack,
        AttemptEnd::Outage => v1::AttemptEnd::Outage,
        AttemptEnd::Stopped => v1::AttemptEnd::Stopped,
        AttemptEnd::Lost => v1::AttemptEnd::Lost,
    };
    v1::EndedAttempt {
        attempt: attempt.number,
        worker_id: attempt.worker.0,
        worker_name: view::worker(read, attempt.worker).map(|worker| worker.name).unwrap_or_default(),
        end: end.into(),
        error: attempt.error.clone(),
        started_at_ms: attempt.started.wall_ms,
        ended_at_ms: attempt.ended.wall_ms,
        work: work(attempt.work).into(),
    }
}

/// A target segment as users see it.
pub(crate) fn segment(segment: &Segment) -> v1::Segment {
    let state = match segment.state {
        SegmentState::Importing => v1::SegmentState::Importing,
        SegmentState::Flushed => v1::SegmentState::Flushed,
        SegmentState::Dropped => v1::SegmentState::Dropped,
    };
    v1::Segment {
        segment_id: segment.id.0,
        collection_id: segment.collection_id,
        partition_id: segment.partition_id,
        source_segment_id: segment.source.0,
        job_id: segment.job.0,
        state: state.into(),
        num_of_rows: segment.rows,
        size_bytes: segment.bytes,
    }
}

/// A worker.
pub(crate) fn worker(worker: &Worker) -> v1::Worker {
    let state = match worker.state {
        WorkerState::Active | WorkerState::Returning if !worker.draining => v1::WorkerState::Active,
        WorkerState::Active | WorkerState::Returning => v1::WorkerState::Draining,
        WorkerState::Lost => v1::WorkerState::Lost,
    };
    v1::Worker {
        worker_id: worker.id.0,
        name: worker.name.clone(),
        state: state.into(),
        slots: worker.slots,
        in_progress: worker.leased,
        labels: worker.labels.clone().into_iter().collect(),
        registered_at_ms: worker.registered.wall_ms,
    }
}
