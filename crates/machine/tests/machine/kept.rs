//! A job that keeps what it copied when it fails: nothing is settled or deleted, and its targets stay its own, until its
//! retention is over or its user asks for the clean-up.

use crate::story::{Story, WRITES_FOR_MS, mapping, page, submit};
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::id::JobId;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::plan::WaitingOn;
use ferry_machine::row::{FailurePolicy, JobSpec, Settle, Work};
use ferry_machine::time::Time;
use ferry_machine::view::{self, CleanUpState, State};

/// How long a job of these stories stays readable.
const RETENTION_MS: u64 = 60_000;

fn keeping(spec: &mut JobSpec) {
    spec.options.on_failure = FailurePolicy::Keep;
    spec.options.segments_per_task_max = 1;
    spec.options.retention_ms = RETENTION_MS;
}

/// A job of two targets, of which one is copied when the other fails for good.
fn half_copied(story: &mut Story) -> JobId {
    let job = story.submit_mappings("r", &[mapping(1, 11), mapping(2, 12)], keeping);
    let leases = story.lead();
    story.copy(leases[0]);
    story.claim(leases[1]);
    story.fail(leases[1], FailureKind::Permanent, "source object file:///source/2 is missing");
    job
}

fn works(story: &Story, leases: &[LeaseRef]) -> Vec<Work> {
    leases.iter().map(|lease| view::work(&story.task(lease.task))).collect()
}

#[test]
fn a_job_that_failed_keeps_what_it_copied_until_its_user_asks_for_the_clean_up() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = half_copied(&mut story);
    assert_eq!((story.status(job).state, story.status(job).clean_up), (State::Failed, CleanUpState::Kept));
    assert_eq!(story.status(job).reason, "1/3 tasks failed: source object file:///source/2 is missing");
    assert!(story.lead().is_empty(), "nobody deletes anything");
    assert_eq!(story.segment_states(job), ["dropped"].into());
    assert_eq!(
        story.explain(job),
        "it failed, and what it copied is kept for 60.0 s with its targets taken: `ferry job clean-up` deletes it before"
    );
    let taken = page("other", 0, 1, &[mapping(3, 12)]);
    assert!(matches!(story.refused(submit(taken.clone())), Rejection::TargetHeld { job: holder, .. } if holder == job));

    assert_eq!(story.ok(Command::CleanUpJob { job }), Outcome::Job(job));
    assert_eq!(story.ok(Command::CleanUpJob { job }), Outcome::Job(job), "asked for twice");
    let deletes = story.lead();
    assert_eq!(works(&story, &deletes), [Work::CleanUp, Work::CleanUp]);
    for lease in deletes {
        story.clean(lease);
    }
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
    assert_eq!(story.ok(Command::CleanUpJob { job }), Outcome::Job(job), "and afterwards it is as asked");
    story.ok(submit(taken));
    assert_eq!(story.status(job).state, State::Failed, "it stays readable");
}

#[test]
fn what_nobody_asks_for_is_deleted_when_the_retention_is_over_and_the_job_is_collected_then() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = half_copied(&mut story);
    let until = Time(story.now_ms + RETENTION_MS);
    assert_eq!(story.explained(job).waiting, WaitingOn::Kept { until });
    assert_eq!(story.plan().next_due, Some(until), "the leader comes back for it");
    assert!(matches!(story.refused(Command::CollectJob { job }), Rejection::Stale(_)));
    story.wait(RETENTION_MS);
    assert!(matches!(story.refused(Command::CollectJob { job }), Rejection::Stale(_)), "not before its files are gone");
    let deletes = story.lead();
    assert_eq!(works(&story, &deletes), [Work::CleanUp, Work::CleanUp]);
    for lease in deletes {
        story.clean(lease);
    }
    story.lead();
    assert_eq!(story.state(job), None, "it is collected");
    story.ok(submit(page("other", 0, 2, &[mapping(1, 11), mapping(2, 12)])));
}

#[test]
fn a_job_keeps_what_it_copied_when_its_deadline_ends_it_too() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| {
        keeping(spec);
        spec.options.timeout_ms = Some(1_000);
    });
    let leases = story.lead();
    story.copy(leases[0]);
    story.claim(leases[1]);
    story.wait(1_000);
    story.lead();
    assert_eq!((story.status(job).reason.as_str(), story.status(job).clean_up), ("timeout", CleanUpState::Kept));
    assert_eq!(story.explained(job).waiting, WaitingOn::Stopping { running: 1 });
    story.ok(Command::CleanUpJob { job });
    assert!(story.lead().is_empty(), "an attempt still runs");
    story.ok(Command::ReleaseTask { lease: leases[1], writes_for_ms: 0 });
    assert_eq!(works(&story, &story.plan().assignments), [], "settling comes first");
    let deletes = story.lead();
    assert_eq!(works(&story, &deletes), [Work::CleanUp, Work::CleanUp]);
}

#[test]
fn a_worker_that_is_lost_with_an_attempt_of_a_kept_job_is_waited_for_by_its_clean_up() {
    let mut story = Story::new();
    let lost = story.worker("lost", 1);
    story.worker("other", 1);
    let job = story.submit_with("r", 2, keeping);
    let leases = story.lead();
    for lease in &leases {
        story.claim(*lease);
    }
    let of_lost = leases.iter().find(|lease| lease.worker == lost).expect("it has one").task;
    let other = leases.iter().find(|lease| lease.worker != lost).expect("so has the other");
    story.fail(*other, FailureKind::Permanent, "the object is gone");
    story.lose(lost);
    story.ok(Command::CleanUpJob { job });
    assert!(story.lead().is_empty(), "it may still write to {of_lost}");
    story.wait(WRITES_FOR_MS);
    let begun = story.lead();
    assert_eq!(works(&story, &begun), [Work::CleanUp], "one slot");
}

#[test]
fn a_job_that_is_canceled_or_lives_or_completed_keeps_nothing() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("canceled", 1, keeping);
    let lease = story.lead()[0];
    story.claim(lease);
    assert!(matches!(story.refused(Command::CleanUpJob { job }), Rejection::WrongState { state: "executing", .. }));
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    let begun = story.lead();
    assert_eq!(works(&story, &begun), [Work::CleanUp]);
    let job = story.submit_with("completed", 1, keeping);
    assert_eq!(story.run(job), State::Completed);
    assert!(matches!(story.refused(Command::CleanUpJob { job }), Rejection::WrongState { state: "completed", .. }));
    story.lead();
    assert_eq!(story.job(job).settle, Settle::Done);
}
