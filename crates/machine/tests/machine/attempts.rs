//! A task remembers how its attempts ended, the latest ones, whatever became of it.

use crate::story::{Story, WRITES_FOR_MS};
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::id::TaskId;
use ferry_machine::limits;
use ferry_machine::row::{AttemptEnd, Work};
use ferry_machine::view::State;

/// Number, what it was to do, milliseconds from its start to its end, how it ended, and why.
type Told = (u32, Work, u64, AttemptEnd, String);

fn told(story: &Story, task: TaskId) -> Vec<Told> {
    let attempts = story.task(task).attempts.into_iter();
    attempts
        .map(|attempt| {
            let lasted_ms = attempt.ended.at.since(attempt.started.at);
            (attempt.number, attempt.work, lasted_ms, attempt.end, attempt.error)
        })
        .collect()
}

#[test]
fn a_task_says_of_each_attempt_who_had_it_how_long_and_how_it_ended() {
    let mut story = Story::new();
    let lost = story.worker("lost", 1);
    let job = story.submit("r", 1);
    let first = story.lead()[0];
    story.wait(1_000);
    story.fail(first, FailureKind::Transient, "connection reset");
    story.wait(60_000);
    story.lead();
    story.wait(2_000);
    story.lose(lost);
    let left = story.worker("left", 1);
    let third = story.lead()[0];
    story.fail(third, FailureKind::GivenBack, "the worker is ending");
    let fourth = story.lead()[0];
    story.ok(Command::ReleaseTask { lease: fourth, writes_for_ms: 0 });
    let fifth = story.lead()[0];
    story.wait(3_000);
    story.copy(fifth);
    let publication = story.publication(job);
    story.copy(publication);
    assert_eq!(story.state(job), Some(State::Completed));
    assert_eq!(told(&story, publication.task), [(1, Work::Publish, 0, AttemptEnd::Published, String::new())]);
    let ends = [
        (1, Work::Copy, 1_000, AttemptEnd::Transient, "connection reset".to_owned()),
        (2, Work::Copy, 2_000, AttemptEnd::Lost, "worker lost was lost or started anew".to_owned()),
        (3, Work::Copy, 0, AttemptEnd::GivenBack, "the worker is ending".to_owned()),
        (4, Work::Copy, 0, AttemptEnd::Stopped, String::new()),
        (5, Work::Copy, 3_000, AttemptEnd::Copied, String::new()),
    ];
    assert_eq!(told(&story, first.task), ends);
    let workers: Vec<_> = story.task(first.task).attempts.iter().map(|attempt| attempt.worker).collect();
    assert_eq!(workers, [lost, lost, left, left, left]);
}

#[test]
fn attempts_of_a_canceled_job_and_its_clean_ups_are_remembered_too() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 1);
    let copy = story.lead()[0];
    story.claim(copy);
    story.ok(Command::CancelJob { job });
    let late = story.copied(copy);
    story.ok(late);
    story.wait(WRITES_FOR_MS);
    let clean_up = story.lead()[0];
    story.fail(clean_up, FailureKind::Refused, "access denied");
    story.wait(60_000);
    let clean_up = story.lead()[0];
    story.clean(clean_up);
    let ends = [
        (1, Work::Copy, 0, AttemptEnd::Stopped, "its job had ended".to_owned()),
        (2, Work::CleanUp, 0, AttemptEnd::Refused, "access denied".to_owned()),
        (3, Work::CleanUp, 0, AttemptEnd::CleanedUp, String::new()),
    ];
    assert_eq!(told(&story, copy.task), ends);
}

#[test]
fn a_task_forgets_its_oldest_attempts_and_cuts_long_errors() {
    let mut story = Story::new();
    story.worker("w", 1);
    story.submit_with("r", 1, |spec| spec.options.attempts_max = 100);
    let kept = u32::try_from(limits::ATTEMPTS_KEPT_PER_TASK).expect("small");
    let error = "é".repeat(limits::ATTEMPT_ERROR_BYTES_MAX);
    let mut task = TaskId(0);
    for _ in 0..kept + 3 {
        story.wait(limits::BACKOFF_MAX_MS);
        let lease = story.lead()[0];
        task = lease.task;
        story.fail(lease, FailureKind::Transient, &error);
    }
    let numbers: Vec<_> = told(&story, task).iter().map(|attempt| attempt.0).collect();
    assert_eq!(numbers, (4..=kept + 3).collect::<Vec<_>>());
    assert!(told(&story, task).iter().all(|attempt| attempt.4.len() == limits::ATTEMPT_ERROR_BYTES_MAX));
}

/// The task's attempts meet an outage for so long, a look after the other.
fn away(story: &mut Story, for_ms: u64) -> TaskId {
    let until = story.now_ms + for_ms;
    let mut task = TaskId(0);
    while story.now_ms < until {
        let lease = story.lead()[0];
        task = lease.task;
        story.fail(lease, FailureKind::Outage, &format!("the store is away at {}", story.now_ms));
        story.wait(limits::OUTAGE_LOOK_MS);
    }
    task
}

#[test]
fn a_store_that_is_away_for_an_hour_costs_no_attempt_and_its_first_and_last_look_are_remembered() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| {
        spec.options.attempts_max = 2;
        spec.options.timeout_ms = None;
    });
    let began = story.now_ms;
    let task = away(&mut story, limits::OUTAGE_MAX_MS - limits::OUTAGE_LOOK_MS);
    let row = story.task(task);
    assert_eq!((row.failures, story.state(job)), (0, Some(State::Executing)));
    assert!(row.attempt > 100, "it was looked at all the time: {}", row.attempt);
    let ends: Vec<_> = row.attempts.iter().map(|attempt| (attempt.end, attempt.number)).collect();
    assert_eq!(ends, [(AttemptEnd::Outage, 1), (AttemptEnd::Outage, row.attempt)]);
    assert_eq!(row.attempts[0].error, format!("the store is away at {began}"));
    // Whatever else it meets ends the outage: the next one has its own hour.
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "it answers, and breaks off");
    story.wait(limits::BACKOFF_MAX_MS);
    away(&mut story, limits::OUTAGE_MAX_MS / 2);
    assert_eq!(story.task(task).failures, 1);
    let lease = story.lead()[0];
    story.copy(lease);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn a_store_that_stays_away_uses_the_attempts_up_in_the_end() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| {
        spec.options.attempts_max = 1;
        spec.options.timeout_ms = None;
    });
    away(&mut story, limits::OUTAGE_MAX_MS + limits::OUTAGE_LOOK_MS);
    assert_eq!(story.state(job), Some(State::Failed));
}

#[test]
fn a_clean_up_waits_for_a_store_that_is_away_too() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| spec.options.attempts_max = 1);
    let copy = story.lead()[0];
    story.claim(copy);
    story.ok(Command::CancelJob { job });
    let late = story.copied(copy);
    story.ok(late);
    story.wait(WRITES_FOR_MS);
    let task = away(&mut story, limits::OUTAGE_MAX_MS / 2);
    assert_eq!(story.task(task).failures, 0);
    let clean_up = story.lead()[0];
    story.clean(clean_up);
    assert_eq!(story.task(task).attempts.last().map(|attempt| attempt.end), Some(AttemptEnd::CleanedUp));
}
