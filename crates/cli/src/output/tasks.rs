//! Tasks and their attempts as tables.

use super::jobs::or_dash;
use super::table::{fields, grid};
use crate::units::{show_bytes, show_duration, show_time};
use comfy_table::Table;
use ferry_proto::v1::{AttemptEnd, EndedAttempt, Task, TaskState, TaskWork};
use std::time::Duration;

/// The most segments of a task a row names.
const NAMED_MAX: usize = 3;

fn task_state(task: &Task) -> &'static str {
    match task.state() {
        TaskState::Unspecified => "-",
        TaskState::Pending => "Pending",
        TaskState::InProgress => "InProgress",
        TaskState::Completed => "Completed",
        TaskState::Failed => "Failed",
    }
}

fn task_work(work: TaskWork) -> &'static str {
    match work {
        TaskWork::Unspecified => "-",
        TaskWork::Copy => "copy",
        TaskWork::Publish => "publication",
        TaskWork::CleanUp => "clean-up",
        TaskWork::Verify => "verification",
    }
}

/// Tasks below each other.
pub(crate) fn tasks(tasks: &[Task]) -> Table {
    let header = ["TASK", "WORK", "STATE", "ATTEMPT", "FAILURES", "WORKER", "SEGMENTS", "BYTES", "REASON"];
    let row = |task: &Task| {
        vec![
            task.task_id.to_string(),
            task_work(task.work()).to_owned(),
            task_state(task).to_owned(),
            task.attempt.to_string(),
            task.failures.to_string(),
            worker_id(task),
            task.id_mappings.len().to_string(),
            format!("{}/{}", show_bytes(task.copied_bytes), show_bytes(task.total_bytes)),
            or_dash(&task.reason),
        ]
    };
    grid(&header, tasks.iter().map(row).collect())
}

/// One task with all there is to say.
pub(crate) fn task(task: &Task) -> Table {
    let mapped = |task: &Task| {
        let mappings = task.id_mappings.iter();
        let mut named: Vec<String> = mappings
            .take(NAMED_MAX)
            .map(|mapping| format!("{} -> {}", mapping.source_segment_id, mapping.target_segment_id))
            .collect();
        if task.id_mappings.len() > NAMED_MAX {
            named.push(format!("{} more", task.id_mappings.len() - NAMED_MAX));
        }
        named.join(", ")
    };
    fields(vec![
        ("task", task.task_id.to_string()),
        ("job", task.job_id.to_string()),
        ("work", task_work(task.work()).to_owned()),
        ("state", task_state(task).to_owned()),
        ("reason", or_dash(&task.reason)),
        ("attempt", task.attempt.to_string()),
        ("failures", task.failures.to_string()),
        ("worker", worker_id(task)),
        ("segments", mapped(task)),
        ("bytes", format!("{} of {} copied", show_bytes(task.copied_bytes), show_bytes(task.total_bytes))),
        ("created", show_time(task.created_at_ms)),
        ("started", show_time(task.started_at_ms)),
        ("ended", show_time(task.completed_at_ms)),
        ("attempts", task.attempts.iter().map(ended_attempt).collect::<Vec<_>>().join("\n")),
    ])
}

fn worker_id(task: &Task) -> String {
    if task.worker_id == 0 { "-".to_owned() } else { task.worker_id.to_string() }
}

/// An attempt that has ended, on one line.
fn ended_attempt(attempt: &EndedAttempt) -> String {
    let what = match attempt.work() {
        TaskWork::Unspecified | TaskWork::Copy => String::new(),
        work @ (TaskWork::Publish | TaskWork::CleanUp | TaskWork::Verify) => format!(" ({})", task_work(work)),
    };
    let lasted = Duration::from_millis(attempt.ended_at_ms.saturating_sub(attempt.started_at_ms));
    let error = if attempt.error.is_empty() { String::new() } else { format!(": {}", attempt.error) };
    format!(
        "{}{what} by {} from {}, {}: {}{error}",
        attempt.attempt,
        if attempt.worker_name.is_empty() { attempt.worker_id.to_string() } else { attempt.worker_name.clone() },
        show_time(attempt.started_at_ms),
        show_duration(lasted),
        attempt_end(attempt.end()),
    )
}

fn attempt_end(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Unspecified => "-",
        AttemptEnd::Copied => "copied",
        AttemptEnd::Published => "published",
        AttemptEnd::CleanedUp => "cleaned up",
        AttemptEnd::Verified => "verified",
        AttemptEnd::Permanent => "failed for good",
        AttemptEnd::Refused => "refused",
        AttemptEnd::Transient => "failed",
        AttemptEnd::GivenBack => "given back",
        AttemptEnd::Outage => "store away",
        AttemptEnd::Stopped => "stopped",
        AttemptEnd::Lost => "lost",
    }
}

#[cfg(test)]
mod tests {
    use super::{task, tasks};
    use comfy_table::Table;
    use expect_test::expect;
    use ferry_proto::v1::{AttemptEnd, EndedAttempt, IdMapping, Task, TaskState, TaskWork};

    fn text(mut table: Table) -> String {
        table.force_no_tty();
        table.trim_fmt() + "\n"
    }

    #[test]
    fn tasks_are_shown_with_who_runs_them() {
        let task = Task {
            task_id: 9,
            work: TaskWork::Copy.into(),
            state: TaskState::InProgress.into(),
            attempt: 2,
            failures: 1,
            worker_id: 4,
            reason: "connection reset".to_owned(),
            id_mappings: vec![IdMapping::default(); 10],
            ..Task::default()
        };
        expect![[r#"
             TASK  WORK  STATE       ATTEMPT  FAILURES  WORKER  SEGMENTS  BYTES    REASON
                9  copy  InProgress        2         1       4        10  0 B/0 B  connection reset
        "#]]
        .assert_eq(&text(tasks(&[task])));
    }

    #[test]
    fn a_task_is_shown_with_how_its_attempts_ended() {
        let ended = EndedAttempt {
            attempt: 1,
            worker_id: 4,
            worker_name: "left".to_owned(),
            end: AttemptEnd::Transient.into(),
            error: "connection reset".to_owned(),
            started_at_ms: 1_700_000_000_000,
            ended_at_ms: 1_700_000_001_500,
            work: TaskWork::Copy.into(),
        };
        let cleaned = EndedAttempt {
            attempt: 2,
            worker_name: String::new(),
            end: AttemptEnd::CleanedUp.into(),
            error: String::new(),
            work: TaskWork::CleanUp.into(),
            ..ended
        };
        let shown = text(task(&Task { task_id: 9, attempts: vec![ended, cleaned], ..Task::default() }));
        expect![[r#"
            task      9
            job       0
            work      -
            state     -
            reason    -
            attempt   0
            failures  0
            worker    -
            segments
            bytes     0 B of 0 B copied
            created   -
            started   -
            ended     -
            attempts  1 by left from 2023-11-14T22:13:20Z, 1500 ms: failed: connection reset
                      2 (clean-up) by 4 from 2023-11-14T22:13:20Z, 1500 ms: cleaned up
        "#]]
        .assert_eq(&shown);
    }
}
