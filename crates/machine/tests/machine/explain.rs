//! A plan explains itself: each job that does not move has a reason in words.

use crate::story::{Story, WRITES_FOR_MS};
use expect_test::expect;
use ferry_machine::command::{Command, FailureKind};
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
        its tasks are being created: 0 of 2
        no worker is connected that takes tasks: start one, or end a drain
        every worker is busy: wait, raise its priority, or add workers
        it is paused: resume it
        its tasks failed and are tried again at 310 ms of cluster time
        it has ended; 1 attempt still to stop
        it has ended; that is being written down
        it has ended; files of 1 task are to be deleted, from 80000 ms of cluster time on
        it has ended and stays readable until 10860000 ms of cluster time
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
    assert!(story.explain(second).starts_with("other jobs are before it"));
    assert_eq!(story.lead().len(), 1);
    assert_eq!(story.plan().waiting, [(second, WaitingOn::NoFreeSlot)]);
    assert_eq!(story.explain(first), "nothing: 1 attempt under way");
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
    assert_eq!(story.explain(second), WaitingOn::NoWorker.to_string());
    assert_eq!(story.plan().waiting, [(second, WaitingOn::NoWorker)]);
}

#[test]
fn a_clean_up_that_no_worker_can_begin_says_so() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit("r", 1);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease });
    story.ok(Command::DrainWorker { worker, draining: true });
    story.lead();
    assert_eq!(story.explain(job), WaitingOn::NoWorker.to_string());
    story.ok(Command::DrainWorker { worker, draining: false });
    assert_eq!(story.lead().len(), 1);
    assert!(story.explain(job).starts_with("it has ended; files of 1 task"));
}
