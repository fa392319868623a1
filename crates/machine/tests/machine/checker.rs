//! One test for each part of the checker that this machine grows from, under that part's name.

use crate::story::{SEGMENT_BYTES, SEGMENT_ROWS, Story, WRITES_FOR_MS};
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::{JobSpec, JobState};
use ferry_machine::time::Time;
use ferry_machine::view::{self, CleanUpState, State};

const HOUR_MS: u64 = 60 * 60 * 1_000;

fn one_segment_per_task(spec: &mut JobSpec) {
    spec.options.segments_per_task_max = 1;
}

#[test]
fn start_and_close_a_leader_that_begins_in_the_middle_needs_nothing_but_the_rows() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 3, one_segment_per_task);
    let begun = story.lead();
    story.copy(begun[0]);
    let planned = story.plan();
    let another_leader = story.plan();
    assert_eq!(planned, another_leader, "a plan is a function of rows, time and sessions");
    assert_eq!(story.run(job), State::Completed);
}

#[test]
fn tick_is_due_with_the_next_deadline_and_a_job_moves_without_it() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 1);
    let due = story.plan().next_due;
    assert_eq!(due, Some(Time(24 * HOUR_MS)), "nothing but the deadline waits for the clock");
    assert_eq!(story.run(job), State::Completed);
    assert_eq!(story.now_ms, 0, "from submit to Completed no time had to pass");
}

#[test]
fn check_pending_job_creates_tasks_in_pages_and_executes_with_the_last() {
    let mut story = Story::new();
    let job = story.submit_with("r", 700, one_segment_per_task);
    let pages = story.plan().commands;
    assert_eq!(pages.len(), 3, "700 tasks, 300 a page");
    for (number, page) in pages.into_iter().enumerate() {
        assert_eq!(story.state(job), Some(State::Pending));
        assert_eq!(story.job(job).counts.tasks_created, 300 * number as u64);
        story.ok(page.clone());
        assert!(matches!(story.refused(page), Rejection::Stale(_)), "a repeated page creates nothing");
    }
    assert_eq!(story.state(job), Some(State::Executing));
    assert_eq!(story.tasks(job).len(), 701, "the last one publishes");
}

#[test]
fn check_copying_job_counts_what_reports_say_and_completes_with_the_publication() {
    let mut story = Story::new();
    story.worker("w", 3);
    let job = story.submit_with("r", 3, one_segment_per_task);
    let begun = story.lead();
    story.copy(begun[0]);
    let status = story.status(job);
    assert_eq!((status.tasks.completed, status.tasks.in_progress, status.progress_percent), (1, 2, 33));
    assert_eq!(story.copy(begun[1]), Outcome::Reported { job_ended: false });
    assert_eq!(story.copy(begun[2]), Outcome::Reported { job_ended: false });
    let status = story.status(job);
    assert_eq!((status.state, status.tasks.pending, status.progress_percent), (State::Executing, 1, 100));
    assert_eq!(story.publish(job), Outcome::Reported { job_ended: true });
    let counts = story.job(job).counts;
    assert_eq!(counts.rows, 3 * SEGMENT_ROWS.unsigned_abs());
    assert_eq!((counts.bytes_copied, counts.bytes_planned), (3 * SEGMENT_BYTES, 3 * SEGMENT_BYTES));
}

#[test]
fn check_copying_job_fails_with_the_first_permanent_failure_and_its_cause() {
    let mut story = Story::new();
    story.worker("w", 3);
    let job = story.submit_with("r", 4, one_segment_per_task);
    let begun = story.lead();
    let outcome = story.fail(begun[1], FailureKind::Permanent, "source object a/1 is missing");
    assert_eq!(outcome, Outcome::Reported { job_ended: true });
    let status = story.status(job);
    assert_eq!(status.reason, "1/5 tasks failed: source object a/1 is missing");
    assert_eq!((status.state, status.tasks.failed), (State::Failed, 5));
}

#[test]
fn finish_job_publishes_by_one_row_and_settles_later() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 5);
    let begun = story.lead();
    story.claim(begun[0]);
    assert_eq!(story.segment_states(job), ["importing"].into());
    let report = story.copied(begun[0]);
    story.ok(report);
    let publication = story.publication(job);
    story.claim(publication);
    assert_eq!(story.segment_states(job), ["importing"].into(), "everything is written, and nothing is published");
    let report = story.copied(publication);
    story.ok(report);
    assert_eq!(story.segment_states(job), ["flushed"].into(), "visible before anything is settled");
    story.wait(40);
    story.lead();
    assert_eq!(story.segment_states(job), ["flushed"].into());
    let job = story.job(job);
    let ended = view::status(&job).and_then(|status| status.ended).expect("it has ended");
    assert_eq!(ended.at.since(job.submitted.at), 0, "the latency comes from stored times, not from settling");
}

#[test]
fn check_failed_job_stops_attempts_and_writes_the_failure_down() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 3, one_segment_per_task);
    let begun = story.lead();
    story.claim(begun[0]);
    story.fail(begun[1], FailureKind::Permanent, "bad path");
    assert!(story.lead().is_empty(), "nothing is settled or leased while an attempt runs");
    assert_eq!(story.explain(job), "it has ended; 1 attempt still to stop");
    story.ok(Command::ReleaseTask { lease: begun[0], writes_for_ms: 0 });
    let clean_ups = story.lead();
    assert_eq!(clean_ups.len(), 1, "only the task that had claimed its targets is cleaned up");
    assert_eq!(story.status(job).clean_up, CleanUpState::Running);
    story.clean(clean_ups[0]);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
    assert_eq!(story.segment_states(job), ["dropped"].into());
}

#[test]
fn try_timeout_job_fails_what_is_due_and_lets_others_be() {
    let mut story = Story::new();
    let short = story.submit_with("short", 1, |spec| spec.options.timeout_ms = Some(5_000));
    let long = story.submit_with("long", 1, |spec| spec.options.timeout_ms = Some(50_000));
    let none = story.submit_with("none", 1, |spec| spec.options.timeout_ms = None);
    story.lead();
    assert_eq!(story.plan().next_due, Some(Time(5_000)));
    story.wait(5_000);
    story.lead();
    let status = story.status(short);
    assert_eq!((status.state, status.reason.as_str()), (State::Failed, "timeout"));
    assert_eq!(story.state(long), Some(State::Executing));
    story.wait(1_000 * 24 * HOUR_MS);
    story.lead();
    assert_eq!(story.state(none), Some(State::Executing), "a job without a deadline never times out");
}

#[test]
fn check_gc_collects_after_retention_and_keeps_what_was_published() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 2);
    story.run(job);
    story.lead();
    let retention_ms = story.job(job).spec.options.retention_ms;
    story.wait(retention_ms - 1);
    assert!(matches!(story.refused(Command::CollectJob { job }), Rejection::Stale(_)));
    story.wait(1);
    story.lead();
    assert_eq!(story.state(job), None);
    assert_eq!(story.rows_of_jobs(), 3, "the published segments, the request id and its end");
    assert!(matches!(story.refused(Command::CancelJob { job }), Rejection::JobNotFound(_)));
    story.wait(limits::REQUEST_RETENTION_MS);
    story.lead();
    assert_eq!(story.rows_of_jobs(), 1, "the segments stay for ever");
}

#[test]
fn check_gc_waits_for_clean_up_and_for_running_attempts() {
    let mut story = Story::new();
    let worker = story.worker("w", 2);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let begun = story.lead();
    story.claim(begun[0]);
    story.ok(Command::CancelJob { job });
    story.wait(100 * 24 * HOUR_MS);
    story.lead();
    assert_eq!(story.state(job), Some(State::Canceled), "attempts still run");
    story.lose(worker);
    story.lead();
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending, "nobody is there to clean up");
    story.worker("another", 1);
    assert!(story.lead().is_empty(), "the lost attempt may still write");
    story.wait(WRITES_FOR_MS);
    let clean_up = story.lead();
    story.clean(clean_up[0]);
    story.lead();
    assert_eq!(story.state(job), None);
}

#[test]
fn log_job_stats_are_counters_of_the_cluster() {
    let mut story = Story::new();
    story.worker("w", 2);
    let done = story.submit_with("done", 2, one_segment_per_task);
    story.run(done);
    let failed = story.submit_with("failed", 2, one_segment_per_task);
    let begun = story.lead();
    story.fail(begun[0], FailureKind::Permanent, "gone");
    story.submit_with("pending", 5, one_segment_per_task);
    let cluster = view::cluster(&story.rows).expect("the cluster has a row");
    assert_eq!((cluster.jobs.completed, cluster.jobs.failed, cluster.jobs.pending), (1, 1, 1));
    assert_eq!((cluster.tasks.completed, cluster.tasks.failed, cluster.tasks.pending), (3, 3, 6));
    assert_eq!(story.state(failed), Some(State::Failed));
}

#[test]
fn alloc_id_gives_windows_that_never_overlap_and_never_come_back() {
    let mut story = Story::new();
    let Outcome::Ids { first, count } = story.ok(Command::ReserveIds { count: 1_000_000 }) else { panic!("ids") };
    let job = story.submit("r", 3);
    let Outcome::Ids { first: second, .. } = story.ok(Command::ReserveIds { count: 1 }) else { panic!("ids") };
    assert!(job.0 >= first + i64::from(count) && second > job.0);
    for count in [0, limits::IDS_PER_ALLOCATION_MAX + 1] {
        let rejection = story.refused(Command::ReserveIds { count });
        assert!(matches!(&rejection, Rejection::Invalid { field, .. } if field == "count"), "{rejection}");
    }
}

#[test]
fn copy_meta_holds_the_same_rows_wherever_the_same_commands_are_applied() {
    let tell = || {
        let mut story = Story::new();
        story.worker("w", 2);
        let job = story.submit("r", 30);
        story.run(job);
        story.rows
    };
    assert_eq!(tell(), tell());
}

#[test]
fn task_slot_bounds_what_a_worker_has_at_once() {
    let mut story = Story::new();
    let small = story.worker("small", 1);
    let large = story.worker("large", 3);
    let job = story.submit_with("r", 9, one_segment_per_task);
    let begun = story.lead();
    let of = |worker| begun.iter().filter(|lease| lease.worker == worker).count();
    assert_eq!((of(small), of(large)), (1, 3));
    let queued = view::queued_tasks(&story.rows, &story.job(job), 100);
    let too_many = ferry_machine::command::LeaseRef { task: queued[0].1, attempt: 1, worker: small, incarnation: 1 };
    assert!(matches!(story.refused(Command::AssignTask(too_many)), Rejection::Stale(_)));
}

#[test]
fn broker_is_not_needed_because_the_rows_say_which_segments_a_job_published() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit("r", 2);
    story.run(job);
    let page = view::list_job_segments(&story.rows, &story.job(job), ferry_machine::id::SegmentId(0), 100);
    assert_eq!(page.items.len(), 2);
    assert!(page.items.iter().all(|segment| segment.rows == SEGMENT_ROWS && segment.job == job));
    assert!(matches!(story.job(job).state, JobState::Completed { .. }));
}

#[test]
fn a_publication_goes_before_the_copies_of_jobs_that_came_later() {
    let mut story = Story::new();
    story.worker("w", 1);
    let first = story.submit("first", 1);
    let copy = story.lead()[0];
    for later in 0..5 {
        story.submit(&format!("later-{later}"), 1);
    }
    assert_eq!(story.lead(), [], "their tasks wait for the one slot");
    story.copy(copy);
    let next = story.lead()[0];
    assert_eq!(story.task(next.task).job, first, "its publication, although others wait");
}
