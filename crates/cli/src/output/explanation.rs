//! What a job waits for, as a table.

use super::jobs::job_state;
use super::table::fields;
use crate::units::{show_duration, show_time};
use comfy_table::Table;
use ferry_proto::v1::{ExplainJobResponse, PausedBy, WaitingOn};
use std::time::Duration;

/// What a job waits for, with what there is to say about that.
pub(crate) fn explanation(response: &ExplainJobResponse) -> Table {
    let job = response.job.clone().unwrap_or_default();
    let mut rows = vec![
        ("job", job.job_id.to_string()),
        ("state", job_state(&job).to_owned()),
        ("waiting on", waiting_on(response.waiting_on()).to_owned()),
    ];
    if response.clean_up_waiting_on() != WaitingOn::Unspecified {
        rows.push(("which waits on", waiting_on(response.clean_up_waiting_on()).to_owned()));
    }
    if response.paused_by() != PausedBy::Unspecified {
        rows.push(("paused by", paused_by(response.paused_by()).to_owned()));
    }
    let numbers = [
        ("behind job", response.behind_job_id.unsigned_abs()),
        ("task", response.task_id.unsigned_abs()),
        ("tasks left", response.remaining_tasks),
        ("attempts running", response.running_attempts),
        ("workers draining", response.draining_workers),
    ];
    rows.extend(numbers.into_iter().filter(|(_, number)| *number > 0).map(|(name, number)| (name, number.to_string())));
    if response.until_ms > 0 {
        let remaining = show_duration(Duration::from_millis(response.remaining_ms));
        rows.push(("until", format!("{}, in {remaining}", show_time(response.until_ms))));
    }
    rows.push(("holds its targets", if response.holds_targets { "yes" } else { "no" }.to_owned()));
    rows.push(("explanation", response.explanation.clone()));
    fields(rows)
}

fn waiting_on(waiting_on: WaitingOn) -> &'static str {
    match waiting_on {
        WaitingOn::Unspecified => "nothing",
        WaitingOn::Leader => "the leader",
        WaitingOn::Attempts => "running attempts",
        WaitingOn::NoWorker => "a worker",
        WaitingOn::NoFreeSlot => "a free slot",
        WaitingOn::Paused => "its resume",
        WaitingOn::Backoff => "the next try",
        WaitingOn::CleanUp => "its clean-up",
        WaitingOn::Retention => "the end of its retention",
        WaitingOn::AttemptsAtOnce => "its own limit",
        WaitingOn::AnotherWorker => "another worker",
        WaitingOn::Turn => "its turn",
        WaitingOn::Writers => "what may still be written",
        WaitingOn::LateWrites => "what its store may still carry out",
        WaitingOn::Kept => "its user, or the end of its retention",
    }
}

fn paused_by(paused_by: PausedBy) -> &'static str {
    match paused_by {
        PausedBy::Unspecified => "-",
        PausedBy::User => "its user",
        PausedBy::ExhaustedAttempts => "a task that used up its attempts",
        PausedBy::Failure => "a task that failed for good",
    }
}

#[cfg(test)]
mod tests {
    use super::explanation;
    use expect_test::expect;
    use ferry_proto::v1::{ExplainJobResponse, Job, JobState, WaitingOn};

    #[test]
    fn what_is_known_of_a_wait_is_shown_and_nothing_else() {
        let response = ExplainJobResponse {
            job: Some(Job { job_id: 7, state: JobState::Canceled.into(), ..Job::default() }),
            waiting_on: WaitingOn::CleanUp.into(),
            clean_up_waiting_on: WaitingOn::Writers.into(),
            remaining_tasks: 2,
            until_ms: 1_700_000_000_000,
            remaining_ms: 1_500,
            holds_targets: true,
            explanation: "it has ended".to_owned(),
            ..ExplainJobResponse::default()
        };
        let mut table = explanation(&response);
        table.force_no_tty();
        expect![[r#"
            job                7
            state              Canceled
            waiting on         its clean-up
            which waits on     what may still be written
            tasks left         2
            until              2023-11-14T22:13:20Z, in 1500 ms
            holds its targets  yes
            explanation        it has ended
        "#]]
        .assert_eq(&(table.trim_fmt() + "\n"));
    }
}
