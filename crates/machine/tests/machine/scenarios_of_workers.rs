//! Scenarios of workers that must come out right: blips, restarts, overlaps, bad credentials, priorities.

use crate::story::{Story, WRITES_FOR_MS};
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::JobSpec;
use ferry_machine::view::{self, State};

fn one_segment_per_task(spec: &mut JobSpec) {
    spec.options.segments_per_task_max = 1;
}

#[test]
fn s11_a_blip_loses_no_attempt() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.connected.remove(&worker);
    assert!(story.lead().is_empty());
    assert_eq!(story.register("w", 1, 1), worker, "the same incarnation is back");
    let kept: Vec<_> = view::assigned_tasks(&story.rows, worker).iter().map(|task| task.id).collect();
    assert_eq!(kept, [lease.task]);
    story.copy(lease);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn s12_a_new_incarnation_is_noticed_and_its_tasks_are_planned_again() {
    let mut story = Story::new();
    let worker = story.worker("w", 2);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let before = story.lead();
    story.claim(before[0]);
    assert_eq!(story.register("w", 2, 2), worker);
    assert!(view::assigned_tasks(&story.rows, worker).is_empty(), "it starts with nothing");
    let report = story.copied(before[0]);
    assert!(matches!(story.refused(report), Rejection::LeaseNotHeld { .. }));
    let again = story.lead();
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|lease| lease.incarnation == 2 && lease.attempt == 2));
    assert_eq!(story.job(job).quiet_at.0, WRITES_FOR_MS, "the former one may write for a while");
}

#[test]
fn s13_a_worker_can_report_nothing_before_its_lease_is_committed() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    story.submit("r", 1);
    story.lead_once();
    let planned = story.plan().assignments;
    let lease = *planned.first().expect("the task is to be leased");
    assert_eq!(lease.worker, worker);
    let report = story.copied(lease);
    assert!(matches!(story.refused(report.clone()), Rejection::LeaseNotHeld { .. }));
    story.ok(Command::AssignTask(lease));
    story.claim(lease);
    assert_eq!(story.ok(report), Outcome::Reported { job_ended: false });
}

#[test]
fn s14_of_two_attempts_one_holds_the_lease() {
    let mut story = Story::new();
    let first = story.worker("first", 1);
    let job = story.submit("r", 1);
    let old = story.lead()[0];
    story.claim(old);
    story.lose(first);
    let second = story.worker("second", 1);
    let new = story.lead()[0];
    assert_eq!((new.worker, new.attempt), (second, 2));
    let late = story.copied(old);
    assert!(matches!(story.refused(late), Rejection::LeaseNotHeld { attempt: 1, .. }));
    let stolen = LeaseRef { worker: first, ..new };
    assert!(matches!(
        story.refused(Command::ReleaseTask { lease: stolen, writes_for_ms: 0 }),
        Rejection::LeaseNotHeld { .. }
    ));
    assert!(matches!(story.refused(Command::AssignTask(LeaseRef { attempt: 3, ..new })), Rejection::Stale(_)));
    story.copy(new);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn s15_a_clean_up_waits_until_no_attempt_can_write() {
    let mut story = Story::new();
    let lost = story.worker("lost", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.claim(lease);
    story.lose(lost);
    story.ok(Command::CancelJob { job });
    story.worker("another", 1);
    story.wait(WRITES_FOR_MS - 1);
    assert!(story.lead().is_empty(), "the lost attempt may write until then");
    story.wait(1);
    let clean_up = story.lead();
    assert_eq!(clean_up.len(), 1);
    story.clean(clean_up[0]);
}

#[test]
fn s15_what_was_never_claimed_is_never_cleaned_up() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Permanent, "target object exists");
    assert!(story.lead().is_empty(), "nothing that was there before is deleted");
    assert_eq!(story.state(job), Some(State::Failed));
}

#[test]
fn s17_a_worker_that_never_stops_blocks_collection_only_until_it_is_lost() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit("r", 1);
    story.lead();
    story.ok(Command::CancelJob { job });
    story.wait(1_000 * 24 * 3_600_000);
    story.lead();
    assert_eq!(story.state(job), Some(State::Canceled));
    story.lose(worker);
    story.lead();
    story.wait(WRITES_FOR_MS);
    story.lead();
    assert_eq!(story.state(job), None);
}

#[test]
fn s26_higher_priority_goes_first_and_none_starves() {
    let mut story = Story::new();
    let with_priority = |priority| {
        move |spec: &mut JobSpec| {
            one_segment_per_task(spec);
            spec.options.priority = priority;
        }
    };
    let low = story.submit_with("low", 40, with_priority(9));
    let high = story.submit_with("high", 40, with_priority(29));
    story.worker("w", 1);
    let mut order = Vec::new();
    for _ in 0..40 {
        for lease in story.lead() {
            order.push(story.task(lease.task).job);
            story.copy(lease);
        }
    }
    let of_high = order.iter().filter(|job| **job == high).count();
    assert!((28..=32).contains(&of_high), "three of four go to the higher priority: {of_high} of 40");
    assert!(order[..8].contains(&low), "the lower one is served from the beginning");
}

#[test]
fn s26_a_job_says_why_it_waits() {
    let mut story = Story::new();
    let job = story.submit("r", 1);
    story.lead();
    assert!(story.explain(job).starts_with("no worker is connected"));
    assert_eq!(story.plan().waiting.len(), 1);
}

#[test]
fn s27_progress_stays_through_lost_attempts() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let first = story.lead()[0];
    story.copy(first);
    let second = story.lead()[0];
    story.claim(second);
    story.ok(Command::ReportProgress { lease: second, bytes_copied: 4_000 });
    story.ok(Command::ReportProgress { lease: second, bytes_copied: 3_000 });
    assert_eq!(story.job(job).counts.bytes_copied, 8_096, "an older report takes nothing back");
    story.lose(worker);
    assert_eq!(story.job(job).counts.bytes_copied, 8_096);
    assert_eq!(story.status(job).progress_percent, 50);
}

#[test]
fn s42_only_a_second_refusal_is_permanent() {
    let mut story = Story::new();
    story.worker("bad", 1);
    let job = story.submit("r", 1);
    let first = story.lead()[0];
    story.fail(first, FailureKind::Refused, "access denied to bucket b");
    assert_eq!(story.state(job), Some(State::Executing));
    story.worker("other", 1);
    story.wait(60_000);
    let second = story.lead()[0];
    assert_ne!(second.worker, first.worker, "it goes to another worker");
    story.fail(second, FailureKind::Refused, "access denied to bucket b");
    let status = story.status(job);
    assert_eq!((status.state, status.reason.as_str()), (State::Failed, "1/2 tasks failed: access denied to bucket b"));
}

#[test]
fn s42_a_task_that_one_worker_was_refused_waits_for_a_busy_other_one() {
    let mut story = Story::new();
    let bad = story.worker("bad", 1);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let refused = story.lead()[0];
    story.fail(refused, FailureKind::Refused, "access denied");
    let good = story.worker("good", 1);
    story.ok(Command::DrainWorker { worker: bad, draining: true });
    let busy = story.lead();
    assert_eq!((busy.len(), busy[0].worker), (1, good));
    story.ok(Command::DrainWorker { worker: bad, draining: false });
    story.wait(60_000);
    assert!(story.lead().is_empty(), "the worker that was refused is free, and does not get it again");
    assert!(story.explain(job).contains("refused access"));
    story.copy(busy[0]);
    let again = story.lead();
    assert_eq!((again[0].task, again[0].worker), (refused.task, good));
}

#[test]
fn s42_a_task_does_not_wait_for_a_busy_worker_that_drains() {
    let mut story = Story::new();
    story.worker("bad", 1);
    let drained = story.worker("drained", 1);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let begun = story.lead();
    let (busy, refused) = if begun[0].worker == drained { (begun[0], begun[1]) } else { (begun[1], begun[0]) };
    story.ok(Command::DrainWorker { worker: drained, draining: true });
    story.fail(refused, FailureKind::Refused, "access denied");
    story.wait(60_000);
    let again = story.lead();
    assert_eq!(again.len(), 1, "nobody else will ever take it: {}", story.explain(job));
    assert_eq!((again[0].task, again[0].worker), (refused.task, refused.worker));
    story.copy(again[0]);
    story.copy(busy);
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn s42_a_clean_up_that_one_worker_was_refused_goes_to_another() {
    let mut story = Story::new();
    story.worker("bad", 9);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    let first = story.lead()[0];
    let good = story.worker("good", 1);
    story.fail(first, FailureKind::Refused, "access denied to bucket b");
    story.wait(60_000);
    let second = story.lead()[0];
    assert_eq!(second.worker, good, "although the one that was refused has more free slots");
    story.clean(second);
    assert_eq!(story.status(job).clean_up, view::CleanUpState::Done);
}
