//! Jobs on the wire.

use super::options::options_to_wire;
use super::signed;
use crate::status::invalid;
use ferry_machine::id::{EventId, JobId};
use ferry_machine::row::{Event, Job, TaskCounts, Transition};
use ferry_machine::time::{Stamp, Time};
use ferry_machine::view::{self, CleanUpState, State};
use ferry_proto::v1;
use std::collections::HashMap;
use tonic::Status;

/// The id of a job that a request names.
pub(crate) fn job_id(id: i64) -> Result<JobId, Status> {
    if id > 0 { Ok(JobId(id)) } else { Err(invalid("job_id", format!("is {id}: name a job by its positive id"))) }
}

/// A job as users see it at a moment of cluster time; `None` for a hidden one.
pub(crate) fn job(job: &Job, now: Time) -> Option<v1::Job> {
    let status = view::status(job)?;
    let (spec, counts) = (&job.spec, &job.counts);
    let until = status.ended.map_or(now, |ended| ended.at);
    let labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    Some(v1::Job {
        job_id: job.id.0,
        request_id: job.request_id.clone(),
        name: spec.name.clone(),
        state: state(status.state).into(),
        reason: status.reason,
        collection_id: spec.collection_id,
        total_segments: signed(spec.segments),
        copied_segments: signed(counts.segments_copied),
        total_rows: signed(counts.rows),
        total_bytes: counts.bytes_planned,
        copied_bytes: counts.bytes_copied,
        tasks: Some(task_counts(status.tasks)),
        paused: job.paused,
        priority: spec.options.priority.into(),
        submitted_at_ms: job.submitted.wall_ms,
        started_at_ms: wall_ms(job.started),
        completed_at_ms: wall_ms(status.ended),
        cleanup: clean_up(status.clean_up).into(),
        source_uri: spec.source_uri.clone(),
        target_uri: spec.target_uri.clone(),
        labels: labels.clone(),
        options: Some(v1::JobOptions { labels, ..options_to_wire(&spec.options) }),
        progress_percent: status.progress_percent.into(),
        duration_ms: until.since(job.submitted.at),
        snapshot_uri: if status.state == State::Completed { snapshot_uri(job) } else { String::new() },
    })
}

/// Where the copy's own snapshot has its metadata file; empty where there was nothing to copy.
fn snapshot_uri(job: &Job) -> String {
    if job.snapshot_id == 0 {
        return String::new();
    }
    let key = ferry_snapshot::snapshot_metadata_key(job.spec.collection_id, job.snapshot_id);
    format!("{}/{key}", job.spec.target_uri.trim_end_matches('/'))
}

/// A stored wall clock; 0: not yet.
pub(super) fn wall_ms(stamp: Option<Stamp>) -> u64 {
    stamp.map_or(0, |stamp| stamp.wall_ms)
}

fn state(state: State) -> v1::JobState {
    match state {
        State::Pending => v1::JobState::Pending,
        State::Executing => v1::JobState::Executing,
        State::Completed => v1::JobState::Completed,
        State::Failed => v1::JobState::Failed,
        State::Canceled => v1::JobState::Canceled,
    }
}

fn task_counts(tasks: TaskCounts) -> v1::TaskCounts {
    v1::TaskCounts {
        pending: signed(tasks.pending),
        in_progress: signed(tasks.in_progress),
        completed: signed(tasks.completed),
        failed: signed(tasks.failed),
    }
}

fn clean_up(state: CleanUpState) -> v1::CleanupState {
    match state {
        CleanUpState::None => v1::CleanupState::NotNeeded,
        CleanUpState::Pending => v1::CleanupState::Pending,
        CleanUpState::Running => v1::CleanupState::Running,
        CleanUpState::Done => v1::CleanupState::Done,
        CleanUpState::LeftOver => v1::CleanupState::LeftOver,
        CleanUpState::Kept => v1::CleanupState::Kept,
    }
}

/// An event.
pub(crate) fn job_event(id: EventId, event: &Event) -> v1::JobEvent {
    v1::JobEvent {
        revision: id.revision,
        ordinal: id.ordinal,
        job_id: event.job.0,
        transition: transition(event.transition).into(),
        state: state(event.state).into(),
        collection_id: event.collection_id,
        name: event.name.clone(),
        reason: event.reason.clone(),
        happened_at_ms: event.at.wall_ms,
    }
}

fn transition(transition: Transition) -> v1::JobTransition {
    match transition {
        Transition::Submitted => v1::JobTransition::Submitted,
        Transition::Executing => v1::JobTransition::Executing,
        Transition::Completed => v1::JobTransition::Completed,
        Transition::Failed => v1::JobTransition::Failed,
        Transition::Canceled => v1::JobTransition::Canceled,
        Transition::Paused => v1::JobTransition::Paused,
        Transition::Resumed => v1::JobTransition::Resumed,
        Transition::CleanedUp => v1::JobTransition::CleanedUp,
        Transition::LeftOver => v1::JobTransition::LeftOver,
        Transition::Collected => v1::JobTransition::Collected,
    }
}
