//! What a job waits for, on the wire.

use ferry_machine::plan::{Explanation, PausedBy, WaitingOn};
use ferry_proto::v1;

/// An explanation at a moment of the leader's wall clock.
pub(crate) fn explanation(job: v1::Job, explanation: &Explanation, wall_ms: u64) -> v1::ExplainJobResponse {
    let waiting = &explanation.waiting;
    let failed = explanation.failed.as_ref();
    let remaining_ms = waiting.until().map(|until| until.since(explanation.now));
    v1::ExplainJobResponse {
        job: Some(job),
        waiting_on: waiting_on(waiting).into(),
        explanation: explanation.sentence(),
        behind_job_id: waiting.behind().map_or(0, |job| job.0),
        until_ms: remaining_ms.map_or(0, |remaining_ms| wall_ms.saturating_add(remaining_ms)),
        remaining_ms: remaining_ms.unwrap_or(0),
        running_attempts: explanation.running,
        remaining_tasks: remaining_tasks(waiting),
        clean_up_waiting_on: clean_up_waiting_on(waiting).into(),
        paused_by: paused_by(waiting).into(),
        task_id: waiting.task().or(failed.map(|(task, _)| *task)).map_or(0, |task| task.0),
        error: failed.map_or(&explanation.error, |(_, error)| error).clone(),
        draining_workers: draining_workers(waiting),
        holds_targets: explanation.holds_targets,
    }
}

fn waiting_on(waiting: &WaitingOn) -> v1::WaitingOn {
    match waiting {
        WaitingOn::CreatingTasks { .. } | WaitingOn::Settling | WaitingOn::Turn { behind: None } => {
            v1::WaitingOn::Leader
        }
        WaitingOn::Paused { .. } => v1::WaitingOn::Paused,
        WaitingOn::NoWorker { .. } => v1::WaitingOn::NoWorker,
        WaitingOn::NoFreeSlot { .. } => v1::WaitingOn::NoFreeSlot,
        WaitingOn::AttemptsAtOnce { .. } => v1::WaitingOn::AttemptsAtOnce,
        WaitingOn::AnotherWorker { .. } => v1::WaitingOn::AnotherWorker,
        WaitingOn::Turn { behind: Some(_) } => v1::WaitingOn::Turn,
        WaitingOn::Backoff { .. } => v1::WaitingOn::Backoff,
        WaitingOn::Attempts { .. } | WaitingOn::Stopping { .. } => v1::WaitingOn::Attempts,
        WaitingOn::CleanUp { .. } => v1::WaitingOn::CleanUp,
        WaitingOn::Writers { .. } => v1::WaitingOn::Writers,
        WaitingOn::LateWrites { .. } => v1::WaitingOn::LateWrites,
        WaitingOn::Kept { .. } => v1::WaitingOn::Kept,
        WaitingOn::Retention { .. } => v1::WaitingOn::Retention,
    }
}

fn clean_up_waiting_on(waiting: &WaitingOn) -> v1::WaitingOn {
    if let WaitingOn::CleanUp { on, .. } = waiting { waiting_on(on) } else { v1::WaitingOn::Unspecified }
}

fn remaining_tasks(waiting: &WaitingOn) -> u64 {
    match waiting {
        WaitingOn::CleanUp { remaining, .. } => *remaining,
        WaitingOn::CreatingTasks { created, planned } => planned.saturating_sub(*created),
        WaitingOn::Paused { .. }
        | WaitingOn::NoWorker { .. }
        | WaitingOn::NoFreeSlot { .. }
        | WaitingOn::AttemptsAtOnce { .. }
        | WaitingOn::AnotherWorker { .. }
        | WaitingOn::Backoff { .. }
        | WaitingOn::Turn { .. }
        | WaitingOn::Attempts { .. }
        | WaitingOn::Stopping { .. }
        | WaitingOn::Settling
        | WaitingOn::Writers { .. }
        | WaitingOn::LateWrites { .. }
        | WaitingOn::Kept { .. }
        | WaitingOn::Retention { .. } => 0,
    }
}

fn paused_by(waiting: &WaitingOn) -> v1::PausedBy {
    match waiting {
        WaitingOn::Paused { by: PausedBy::User } => v1::PausedBy::User,
        WaitingOn::Paused { by: PausedBy::ExhaustedAttempts(_) } => v1::PausedBy::ExhaustedAttempts,
        WaitingOn::Paused { by: PausedBy::Failure(_) } => v1::PausedBy::Failure,
        WaitingOn::CreatingTasks { .. }
        | WaitingOn::NoWorker { .. }
        | WaitingOn::NoFreeSlot { .. }
        | WaitingOn::AttemptsAtOnce { .. }
        | WaitingOn::AnotherWorker { .. }
        | WaitingOn::Backoff { .. }
        | WaitingOn::Turn { .. }
        | WaitingOn::Attempts { .. }
        | WaitingOn::Stopping { .. }
        | WaitingOn::Settling
        | WaitingOn::CleanUp { .. }
        | WaitingOn::Writers { .. }
        | WaitingOn::LateWrites { .. }
        | WaitingOn::Kept { .. }
        | WaitingOn::Retention { .. } => v1::PausedBy::Unspecified,
    }
}

fn draining_workers(waiting: &WaitingOn) -> u64 {
    if let WaitingOn::NoWorker { draining } = waiting.innermost() { *draining } else { 0 }
}
