//! A job has no more attempts under way than its own limit allows, whatever workers are free.

use crate::story::Story;
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::id::{JobId, TaskId};
use ferry_machine::outcome::Rejection;
use ferry_machine::plan::WaitingOn;
use ferry_machine::row::LiveOptions;

/// A job of so many segments, each a task of its own, of which so many are copied at once.
fn limited(story: &mut Story, segments: u64, attempts_at_once_max: u32) -> JobId {
    let job = story.submit_with("limited", segments, |spec| {
        spec.options.segments_per_task_max = 1;
        spec.options.attempts_at_once_max = attempts_at_once_max;
    });
    story.lead();
    job
}

fn set(story: &mut Story, job: JobId, attempts_at_once_max: u32) {
    let change = LiveOptions { attempts_at_once_max: Some(attempts_at_once_max), ..LiveOptions::default() };
    story.ok(Command::UpdateJob { job, change });
}

#[test]
fn free_slots_stay_free_while_as_many_attempts_run_as_may() {
    let mut story = Story::new();
    let job = limited(&mut story, 6, 2);
    story.worker("a", 4);
    story.worker("b", 4);
    let leases = story.lead();
    assert_eq!(leases.len(), 2);
    assert!(story.lead().is_empty());
    assert_eq!(story.explain(job), "2 of 2 attempts at once run, which is its own limit: wait, or raise the limit");
    story.copy(leases[0]);
    assert_eq!(story.lead().len(), 1, "each that ends makes room for one");
}

#[test]
fn a_plan_that_is_stale_gives_no_job_more_attempts_than_it_may_have() {
    let mut story = Story::new();
    limited(&mut story, 3, 1);
    let worker = story.worker("w", 4);
    let first = story.lead()[0];
    let next = LeaseRef { task: TaskId(first.task.0 + 1), worker, ..first };
    let rejection = story.refused(Command::AssignTask(next));
    assert!(matches!(rejection, Rejection::Stale(reason) if reason.contains("as many attempts")), "{rejection}");
}

#[test]
fn the_slots_that_a_limited_job_leaves_go_to_others() {
    let mut story = Story::new();
    limited(&mut story, 6, 1);
    let other = story.submit_with("other", 6, |spec| spec.options.segments_per_task_max = 1);
    story.lead();
    story.worker("w", 4);
    assert_eq!(story.lead().len(), 4);
    assert_eq!(story.job(other).counts.tasks_leased, 3);
}

#[test]
fn the_limit_of_a_job_that_runs_can_be_raised_lowered_and_lifted() {
    let mut story = Story::new();
    let job = limited(&mut story, 8, 1);
    story.worker("w", 8);
    let mut leases = story.lead();
    assert_eq!(leases.len(), 1);
    set(&mut story, job, 3);
    leases.extend(story.lead());
    assert_eq!(leases.len(), 3);
    set(&mut story, job, 1);
    assert!(story.explain(job).starts_with("3 of 1 attempts at once run"), "what runs goes on");
    story.copy(leases[0]);
    story.copy(leases[1]);
    assert!(story.lead().is_empty(), "one still runs");
    set(&mut story, job, 0);
    assert_eq!(story.lead().len(), 5, "nothing limits it any more");
}

#[test]
fn a_task_that_is_tried_again_counts_when_it_runs_and_not_while_it_waits() {
    let mut story = Story::new();
    let job = limited(&mut story, 2, 1);
    story.worker("w", 4);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    let other = story.lead()[0];
    assert_ne!(other.task, lease.task);
    story.wait(60_000);
    assert!(story.lead().is_empty());
    assert!(story.explain(job).starts_with("1 of 1 attempts at once run"));
    story.copy(other);
    assert_eq!(story.lead()[0].task, lease.task);
}

#[test]
fn clean_ups_keep_to_the_limit_too() {
    let mut story = Story::new();
    let job = limited(&mut story, 3, 1);
    story.worker("w", 4);
    for _ in 0..2 {
        let lease = story.lead()[0];
        story.copy(lease);
    }
    story.ok(Command::CancelJob { job });
    let mut cleaned = 0;
    while let [lease] = story.lead()[..] {
        assert_eq!(story.job(job).counts.tasks_leased, 1);
        story.clean(lease);
        cleaned += 1;
    }
    assert_eq!(cleaned, 2);
}

#[test]
fn a_plan_says_of_a_job_that_it_cannot_lease_more() {
    let mut story = Story::new();
    let job = limited(&mut story, 3, 1);
    story.worker("w", 4);
    story.lead();
    assert!(story.plan().waiting.is_empty(), "a job at its limit is not in the order of those that want a worker");
    let copied = story.job(job);
    assert_eq!(copied.counts.tasks_leased, 1);
    set(&mut story, job, 2);
    let plan = story.plan();
    assert_eq!(plan.assignments.len(), 1);
    assert!(!plan.waiting.iter().any(|(_, waiting)| matches!(waiting, WaitingOn::AttemptsAtOnce { .. })));
}
