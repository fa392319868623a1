//! A plan explains itself: each job that does not move has a reason in words.

use crate::story::{Story, WRITES_FOR_MS};
use expect_test::expect;
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::limits;
use ferry_machine::plan::WaitingOn;

#[test]
fn every_stage_of_a_job_says_what_it_waits_for() {
    let mut story = Story::new();
    let mut told = String::new();
    let mut tell = |story: &Story, job| told += &format!("{}\n", story.explain(job));
    let job = story.submit_with("r", 2, |spec| spec.options.segments_per_task_max = 1);
    tell(&story, job);
    story.lead();
    tell(&story, job);
    let worker = story.worker("w", 1);
    let lease = story.lead()[0];
    tell(&story, job);
    story.claim(lease);
    story.ok(Command::PauseJob { job, paused: true });
    tell(&story, job);
    story.ok(Command::PauseJob { job, paused: false });
    story.fail(lease, FailureKind::Transient, "throttled");
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    tell(&story, job);
    story.wait(60_000);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    tell(&story, job);
    story.lose(worker);
    tell(&story, job);
    story.lead();
    tell(&story, job);
    story.wait(WRITES_FOR_MS);
    story.worker("another", 2);
    for lease in story.lead() {
        story.clean(lease);
    }
    tell(&story, job);
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    tell(&story, job);
    expect![[r#"
        its tasks are being created: 0 of 3
        no worker is connected that takes tasks: start one
        every worker is busy, and it gets the next free slot: wait, or add workers
        its user paused it: resume it; 1 attempt under way and will count
        task 1003 failed and is tried again in 310 ms: throttled
        it has ended; 1 attempt still to stop
        it has ended; that is being written down
        it has ended; files of 1 task are to be deleted, and its targets stay taken until then: attempts of a lost worker may write for 20.0 s more
        it has ended and stays readable for 2 h
        there is no such job
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_job_behind_others_waits_for_its_turn() {
    let mut story = Story::new();
    let first = story.submit("first", 1);
    let second = story.submit("second", 1);
    story.lead();
    story.worker("w", 1);
    assert_eq!(story.explain(first), "it is next: the leader is about to hand out its tasks");
    assert_eq!(story.explain(second), format!("job {first} is before it: wait, or raise its priority"));
    assert_eq!(story.lead().len(), 1);
    let third = story.submit("third", 1);
    story.lead();
    assert_eq!(
        story.plan().waiting,
        [(second, WaitingOn::NoFreeSlot { behind: None }), (third, WaitingOn::NoFreeSlot { behind: Some(second) })]
    );
    assert_eq!(story.explain(first), "nothing: 1 attempt under way");
    assert_eq!(story.explain(second), "every worker is busy, and it gets the next free slot: wait, or add workers");
    assert!(story.explain(third).starts_with(&format!("every worker is busy, and job {second} gets the next")));
    story.ok(Command::PauseJob { job: second, paused: true });
    assert!(story.explain(third).contains("it gets the next free slot"), "a paused job is before nobody");
}

#[test]
fn a_job_whose_tasks_wait_to_be_tried_again_is_before_nobody() {
    let mut story = Story::new();
    story.worker("w", 1);
    let first = story.submit_with("first", 1, |spec| {
        spec.options.attempts_max = 100;
        spec.options.priority = 100;
    });
    for _ in 0..10 {
        story.wait(limits::BACKOFF_MAX_MS);
        let lease = story.lead()[0];
        story.fail(lease, FailureKind::Transient, "throttled");
    }
    let busy = story.submit_with("busy", 2, |spec| {
        spec.options.segments_per_task_max = 1;
        spec.options.priority = 0;
    });
    let lease = story.lead()[0];
    story.copy(lease);
    assert_eq!(story.lead().len(), 1);
    let last = story.submit("last", 1);
    story.lead();
    assert!(story.job(first).pass < story.job(last).pass, "by its share it would be first");
    assert!(story.explain(first).contains("is tried again in"), "{}", story.explain(first));
    assert!(story.explain(last).contains("it gets the next free slot"), "{}", story.explain(last));
    assert_eq!(story.explain(busy), "nothing: 1 attempt under way");
}

#[test]
fn a_failed_attempt_is_told_of_while_the_next_one_runs() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| spec.options.segments_per_task_max = 1);
    let leases = story.lead();
    assert_eq!(story.explain(job), "nothing: 2 attempts under way");
    story.fail(leases[0], FailureKind::Outage, "the store is away");
    let told = format!("task {} failed before: the store is away", leases[0].task);
    assert_eq!(story.explain(job), format!("nothing: 1 attempt under way; {told}"), "it waits to be tried again");
    story.wait(limits::OUTAGE_LOOK_MS);
    let again = story.lead()[0];
    assert_eq!(story.explain(job), format!("nothing: 2 attempts under way; {told}"), "it is tried again");
    story.copy(again);
    assert_eq!(story.explain(job), "nothing: 1 attempt under way");
}

#[test]
fn a_busy_worker_that_drains_is_none_to_wait_for() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    story.submit("first", 1);
    story.lead();
    let second = story.submit("second", 1);
    story.lead();
    assert!(story.explain(second).starts_with("every worker is busy"));
    story.ok(Command::DrainWorker { worker, draining: true });
    assert!(story.explain(second).starts_with("1 worker is drained"));
    assert_eq!(story.plan().waiting, [(second, WaitingOn::NoWorker { draining: 1 })]);
}

#[test]
fn a_clean_up_that_no_worker_can_begin_says_so() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    story.ok(Command::DrainWorker { worker, draining: true });
    story.lead();
    let stays = "it has ended; files of 1 task are to be deleted, and its targets stay taken until then: ";
    let drained = "1 worker is drained, and no other is connected: undrain one, or start another";
    assert_eq!(story.explain(job), format!("{stays}{drained}"));
    story.ok(Command::DrainWorker { worker, draining: false });
    let lease = story.lead()[0];
    assert_eq!(story.explain(job), format!("{stays}nothing: 1 attempt under way"));
    story.fail(lease, FailureKind::Transient, "throttled");
    assert!(story.explain(job).starts_with(&format!("{stays}task {} failed and is tried again in", lease.task)));
    story.wait(60_000);
    let lease = story.lead()[0];
    story.clean(lease);
    assert!(story.explain(job).starts_with("it has ended and stays readable"));
}

#[test]
fn a_job_that_wrote_nothing_still_holds_its_targets_while_a_lost_worker_may_write() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit("r", 1);
    story.lead();
    story.lose(worker);
    story.ok(Command::CancelJob { job });
    story.lead();
    assert_eq!(story.explain(job), "attempts of a lost worker may write for 20.0 s more");
    assert!(story.explained(job).holds_targets);
    story.wait(WRITES_FOR_MS);
    assert!(story.explain(job).starts_with("it has ended and stays readable"));
    assert!(!story.explained(job).holds_targets);
}
