//! Retries, exhausted attempts, and the clean-up of what a job that did not complete has written.

use crate::story::{Story, WRITES_FOR_MS};
use ferry_machine::command::{Command, FailureKind, LeaseRef, TaskResult};
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{FailurePolicy, JobSpec};
use ferry_machine::view::{CleanUpState, State};

fn two_attempts(spec: &mut JobSpec) {
    spec.options.attempts_max = 2;
}

fn patient(spec: &mut JobSpec) {
    spec.options.attempts_max = 2;
    spec.options.on_failure = FailurePolicy::Pause;
}

/// Waits for the back-off of a task and leases it again.
fn again(story: &mut Story) -> LeaseRef {
    assert!(story.lead().is_empty(), "a failed task waits");
    story.wait(limits::BACKOFF_MAX_MS);
    story.lead()[0]
}

#[test]
fn a_transient_failure_is_retried_with_a_back_off_that_grows() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 1);
    let mut lease = story.lead()[0];
    let mut waits = Vec::new();
    for _ in 0..6 {
        story.fail(lease, FailureKind::Transient, "throttled");
        let queued_at = story.task(lease.task).queued_at.expect("it is in the queue");
        waits.push(queued_at.0 - story.now_ms);
        assert!(story.plan().next_due.is_some_and(|due| due <= queued_at));
        lease = again(&mut story);
    }
    assert!(waits[0] >= limits::BACKOFF_FIRST_MS / 2 && waits[5] > waits[0] * 4, "{waits:?}");
    assert_eq!(story.task(lease.task).last_error, "throttled");
    story.copy(lease);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn neighbouring_tasks_do_not_come_back_together() {
    let mut story = Story::new();
    story.worker("w", 20);
    story.submit_with("r", 20, |spec| spec.options.segments_per_task_max = 1);
    let mut moments = std::collections::BTreeSet::new();
    for lease in story.lead() {
        story.fail(lease, FailureKind::Transient, "connection reset");
        moments.insert(story.task(lease.task).queued_at);
    }
    assert!(moments.len() > 10, "the jitter spreads them: {moments:?}");
}

#[test]
fn a_task_that_used_up_its_attempts_fails_its_job() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit_with("r", 1, two_attempts);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    again(&mut story);
    story.lose(worker);
    let reason = story.status(job).reason;
    assert_eq!(reason, "1/2 tasks failed: the attempt was lost with worker w", "lost attempts count too");
}

#[test]
fn a_task_that_used_up_its_attempts_pauses_its_job_where_it_shall() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, patient);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    let lease = again(&mut story);
    story.fail(lease, FailureKind::Transient, "throttled again");
    assert!(story.job(job).paused);
    story.wait(limits::BACKOFF_MAX_MS);
    assert!(story.lead().is_empty());
    assert_eq!(
        story.explain(job),
        format!(
            "task {} used up its attempts, which paused it: mend the cause, then resume it; last error: throttled again",
            lease.task
        )
    );
    story.ok(Command::PauseJob { job, paused: true });
    assert!(story.explain(job).contains("used up its attempts"), "a pause by its user does not hide the cause");
    story.ok(Command::PauseJob { job, paused: false });
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "a new beginning");
    assert!(!story.job(job).paused, "its failures count from the beginning");
}

#[test]
fn a_permanent_fault_pauses_its_job_where_it_shall_until_what_is_missing_is_put_back() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| {
        patient(spec);
        spec.options.segments_per_task_max = 1;
    });
    let leases = story.lead();
    story.fail(leases[0], FailureKind::Permanent, "source object file:///a/1 is missing; restore it");
    assert_eq!(story.state(job), Some(State::Executing));
    assert_eq!(
        story.explain(job),
        format!(
            "task {} failed, which paused it, and no attempt can help as things are: mend the cause, then resume it; \
             1 attempt under way and will count; error: source object file:///a/1 is missing; restore it",
            leases[0].task
        )
    );
    story.fail(leases[1], FailureKind::Permanent, "source object file:///a/2 is missing; restore it");
    assert!(story.explain(job).contains("file:///a/2"), "the last fault is told: {}", story.explain(job));
    assert_eq!(story.status(job).tasks.failed, 0);
    story.ok(Command::PauseJob { job, paused: false });
    let leases = story.lead();
    assert_eq!(leases.len(), 2, "both have fresh attempts at once");
    story.fail(leases[0], FailureKind::Transient, "throttled");
    assert!(!story.job(job).paused, "its failures count from the beginning");
    story.copy(leases[1]);
    let lease = again(&mut story);
    story.copy(lease);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn a_task_that_two_workers_were_refused_access_for_is_open_to_both_again_after_its_resume() {
    let mut story = Story::new();
    let workers = [story.worker("first", 1), story.worker("second", 1)];
    let job = story.submit_with("r", 1, patient);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Refused, "access denied");
    let lease = again(&mut story);
    story.fail(lease, FailureKind::Refused, "access denied");
    assert!(story.job(job).paused);
    assert!(story.explain(job).contains("failed, which paused it"), "{}", story.explain(job));
    story.ok(Command::PauseJob { job, paused: false });
    assert_eq!(story.task(lease.task).refused_by, None);
    let lease = story.lead()[0];
    assert!(workers.contains(&lease.worker));
    story.fail(lease, FailureKind::Refused, "access denied");
    assert!(!story.job(job).paused, "the other worker has not been asked again yet");
}

#[test]
fn a_permanent_fault_fails_its_job_where_it_is_not_to_pause() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, two_attempts);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Permanent, "source object file:///a/1 is missing");
    assert_eq!(story.status(job).reason, "1/2 tasks failed: source object file:///a/1 is missing");
}

#[test]
fn attempts_that_are_given_back_or_stopped_do_not_count() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, two_attempts);
    for _ in 0..5 {
        let lease = story.lead()[0];
        story.fail(lease, FailureKind::GivenBack, "the worker drains");
        let lease = story.lead()[0];
        assert_eq!(story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 }), Outcome::Released(lease.task));
    }
    let lease = story.lead()[0];
    assert_eq!((lease.attempt, story.task(lease.task).failures), (11, 0));
    story.copy(lease);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn a_paused_job_gets_no_attempts_and_those_that_run_count() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 2, |spec| spec.options.segments_per_task_max = 1);
    let first = story.lead()[0];
    story.ok(Command::PauseJob { job, paused: true });
    story.copy(first);
    assert!(story.lead().is_empty());
    story.ok(Command::PauseJob { job, paused: true });
    story.ok(Command::PauseJob { job, paused: false });
    let last = story.lead()[0];
    story.ok(Command::PauseJob { job, paused: true });
    story.copy(last);
    assert!(story.lead().is_empty(), "everything is copied, and nothing is published");
    story.ok(Command::PauseJob { job, paused: false });
    let publication = story.publication(job);
    story.ok(Command::PauseJob { job, paused: true });
    story.copy(publication);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn a_job_that_is_submitted_paused_waits_for_its_user() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| spec.options.start_paused = true);
    assert!(story.lead().is_empty());
    assert_eq!(story.state(job), Some(State::Executing), "its tasks are created all the same");
    story.ok(Command::PauseJob { job, paused: false });
    assert_eq!(story.run(job), State::Completed);
}

#[test]
fn a_repeated_report_is_answered_as_before() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.copy(lease);
    let report = story.copied(lease);
    let rows = story.job(job).counts.rows;
    assert_eq!(story.ok(report), Outcome::Reported { job_ended: false });
    assert_eq!(story.job(job).counts.rows, rows, "it counts once");
}

/// A canceled job with one task to clean up, and the lease of that clean-up.
fn canceled(story: &mut Story, request: &str) -> (ferry_machine::id::JobId, LeaseRef) {
    let job = story.submit_with(request, 1, two_attempts);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    (job, story.lead()[0])
}

#[test]
fn a_clean_up_is_repeated_and_given_up_after_too_many_attempts() {
    let mut story = Story::new();
    story.worker("w", 1);
    let (job, lease) = canceled(&mut story, "r");
    story.fail(lease, FailureKind::Permanent, "delete is denied");
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending);
    let lease = again(&mut story);
    story.fail(lease, FailureKind::Transient, "delete is denied");
    assert_eq!(story.status(job).clean_up, CleanUpState::LeftOver);
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    assert_eq!(story.state(job), None, "what is left over blocks nothing");
}

#[test]
fn a_lost_clean_up_is_repeated_once_it_can_delete_no_more() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let (job, _) = canceled(&mut story, "r");
    story.lose(worker);
    story.worker("another", 1);
    story.wait(WRITES_FOR_MS - 1);
    assert!(story.lead().is_empty(), "or it could delete what a new holder of the target writes");
    story.wait(1);
    let lease = story.lead()[0];
    assert_eq!(story.clean(lease), Outcome::Reported { job_ended: false });
    assert_eq!(story.clean(lease), Outcome::Reported { job_ended: false }, "repeated");
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn reports_of_the_wrong_kind_are_refused() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("copy", 1);
    let copy = story.lead()[0];
    let invalid = |story: &mut Story, lease, result| {
        let rejection = story.refused(Command::ReportTask { lease, result, writes_for_ms: 0 });
        assert!(matches!(rejection, Rejection::Invalid { .. }), "{rejection}");
    };
    story.claim(copy);
    invalid(&mut story, copy, TaskResult::CleanedUp);
    invalid(&mut story, copy, TaskResult::Published);
    story.copy(copy);
    let publication = story.publication(job);
    invalid(&mut story, publication, TaskResult::Published);
    story.claim(publication);
    invalid(&mut story, publication, TaskResult::CleanedUp);
    invalid(&mut story, publication, TaskResult::Copied { segments: Vec::new() });
    story.copy(publication);
    let (_, clean_up) = canceled(&mut story, "canceled");
    let report = story.copied(clean_up);
    assert!(matches!(story.refused(report), Rejection::Invalid { .. }));
    invalid(&mut story, clean_up, TaskResult::Published);
    assert_eq!(story.ok(Command::ReportProgress { lease: clean_up, bytes_copied: 1 }), Outcome::Done);
}
