//! What attempts gave up may still be carried out by a remote store: a clean-up is done only after the last of it may come.

use crate::story::{LATE_WRITES_MS, Story, WRITES_FOR_MS};
use ferry_machine::command::{Command, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::JobId;
use ferry_machine::limits;
use ferry_machine::outcome::Outcome;
use ferry_machine::plan::WaitingOn;
use ferry_machine::row::{AttemptEnd, JobSpec};
use ferry_machine::time::Time;
use ferry_machine::view::{CleanUpState, State};

/// How long the store of these stories may carry out what a worker gave up.
const LATE_MS: u64 = 90_000;

fn remote(spec: &mut JobSpec) {
    spec.target_uri = "s3://bucket/place".to_owned();
    spec.options.attempts_max = 2;
}

/// A canceled job of one task, which its worker had claimed and stopped, with requests that were not answered or without.
fn canceled(story: &mut Story, change: impl Fn(&mut JobSpec), writes_for_ms: u64) -> (JobId, LeaseRef) {
    let job = story.submit_with("r", 1, change);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease, writes_for_ms });
    (job, lease)
}

#[test]
fn a_clean_up_that_began_before_the_last_late_write_is_repeated_after_it() {
    let mut story = Story::new();
    story.worker("w", 1);
    let (job, _) = canceled(&mut story, remote, LATE_MS);
    let early = story.lead()[0];
    assert_eq!(story.clean(early), Outcome::Reported { job_ended: false });
    assert_eq!(story.clean(early), Outcome::Reported { job_ended: false }, "repeated");
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending, "what is gone may come again");
    assert!(story.explained(job).holds_targets);
    story.wait(LATE_MS - 1);
    assert!(story.lead().is_empty());
    story.wait(1);
    let last = story.lead()[0];
    story.clean(last);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
    assert!(!story.explained(job).holds_targets);
    let ends: Vec<AttemptEnd> = story.task(last.task).attempts.iter().map(|attempt| attempt.end).collect();
    assert_eq!(ends, [AttemptEnd::Stopped, AttemptEnd::CleanedUp, AttemptEnd::CleanedUp]);
}

#[test]
fn a_clean_up_that_ends_after_the_moment_and_began_before_it_does_not_count() {
    let mut story = Story::new();
    story.worker("w", 1);
    let (job, _) = canceled(&mut story, remote, LATE_MS);
    let early = story.lead()[0];
    story.wait(LATE_MS + 1);
    story.clean(early);
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending, "it may have looked before the write came");
    assert_eq!(story.task(early.task).queued_at, Some(Time(story.now_ms)), "nothing is queued in the past");
    let last = story.lead()[0];
    story.clean(last);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn where_each_request_was_answered_or_the_target_is_a_folder_one_clean_up_is_enough() {
    let folder = |spec: &mut JobSpec| spec.target_uri = "file:///target".to_owned();
    for (case, change, writes_for_ms) in
        [("answered", remote as fn(&mut JobSpec), 0), ("a folder", folder as fn(&mut JobSpec), LATE_MS)]
    {
        let mut story = Story::new();
        story.worker("w", 1);
        let (job, _) = canceled(&mut story, change, writes_for_ms);
        let lease = story.lead()[0];
        story.clean(lease);
        assert_eq!(story.status(job).clean_up, CleanUpState::Done, "{case}");
    }
}

#[test]
fn an_attempt_that_never_claimed_has_nothing_that_could_come_late() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit_with("r", 1, remote);
    let lease = story.lead()[0];
    story.lose(worker);
    assert_eq!((story.task(lease.task).late_until, story.task(lease.task).late_ends), (Time(0), 0));
    story.ok(Command::CancelJob { job });
    story.lead();
    story.wait(WRITES_FOR_MS);
    assert!(!story.explained(job).holds_targets);
}

#[test]
fn every_end_of_an_attempt_can_leave_requests_behind() {
    type End = fn(&mut Story, LeaseRef);
    let report = |story: &mut Story, lease, result| {
        story.ok(Command::ReportTask { lease, result, writes_for_ms: LATE_MS });
    };
    let failed = |kind| TaskResult::Failed { kind, reason: "the store was silent".to_owned() };
    let ends: [(&str, End); 2] = [
        ("stopped", |story, lease| _ = story.ok(Command::ReleaseTask { lease, writes_for_ms: LATE_MS })),
        ("copied", |story, lease| {
            let Command::ReportTask { result, .. } = story.copied(lease) else { panic!("it is a report") };
            story.ok(Command::ReportTask { lease, result, writes_for_ms: LATE_MS });
        }),
    ];
    let kinds = [FailureKind::GivenBack, FailureKind::Transient, FailureKind::Refused, FailureKind::Permanent];
    for number in 0..ends.len() + kinds.len() {
        let mut story = Story::new();
        story.worker("w", 1);
        story.submit_with("r", 1, remote);
        let lease = story.lead()[0];
        story.claim(lease);
        story.wait(7);
        match ends.get(number) {
            Some((_, end)) => end(&mut story, lease),
            None => report(&mut story, lease, failed(kinds[number - ends.len()])),
        }
        let task = story.task(lease.task);
        assert_eq!((task.late_until, task.late_ends), (Time(7 + LATE_MS), 1), "{number}");
    }
}

#[test]
fn a_lost_attempt_counts_with_the_bound_of_the_cluster_from_when_its_worker_can_send_no_more() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit_with("r", 1, remote);
    let lease = story.lead()[0];
    story.claim(lease);
    story.lose(worker);
    assert_eq!(story.task(lease.task).late_until, Time(WRITES_FOR_MS + LATE_WRITES_MS));
    story.ok(Command::CancelJob { job });
    story.worker("another", 1);
    story.lead();
    story.wait(WRITES_FOR_MS);
    let early = story.lead()[0];
    story.clean(early);
    story.wait(LATE_WRITES_MS - 1);
    assert!(story.lead().is_empty());
    story.wait(1);
    let last = story.lead()[0];
    story.clean(last);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn a_lost_attempt_whose_requests_were_all_answered_leaves_nothing_that_could_come_late() {
    for (settled, late_ms) in [(true, 0), (false, LATE_WRITES_MS)] {
        let mut story = Story::new();
        let worker = story.worker("w", 1);
        let job = story.submit_with("r", 1, remote);
        let lease = story.lead()[0];
        story.claim(lease);
        let others = LeaseRef { attempt: lease.attempt + 1, ..lease };
        story.lose_settled(worker, &[if settled { lease } else { others }]);
        story.ok(Command::CancelJob { job });
        story.worker("another", 1);
        story.lead();
        story.wait(WRITES_FOR_MS);
        let first = story.lead()[0];
        story.clean(first);
        let expected = if settled { CleanUpState::Done } else { CleanUpState::Pending };
        assert_eq!(story.status(job).clean_up, expected);
        assert_eq!(story.task(lease.task).late_ends, u32::from(late_ms > 0));
    }
}

#[test]
fn a_retry_does_not_wait_and_its_job_completes() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, remote);
    let lease = story.lead()[0];
    story.claim(lease);
    story.ok(Command::ReleaseTask { lease, writes_for_ms: LATE_MS });
    assert_eq!(story.run(job), State::Completed, "it writes the same bytes under the same pin");
    assert_eq!(story.now_ms, 0);
}

#[test]
fn the_later_moment_counts_and_how_many_attempts_left_requests_is_told() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, remote);
    for writes_for_ms in [LATE_MS, LATE_MS / 2] {
        let lease = story.lead()[0];
        story.claim(lease);
        let result = TaskResult::Failed { kind: FailureKind::GivenBack, reason: "the worker is ending".to_owned() };
        story.ok(Command::ReportTask { lease, result, writes_for_ms });
        story.wait(1_000);
    }
    story.ok(Command::CancelJob { job });
    let early = story.lead()[0];
    story.clean(early);
    assert_eq!(
        story.explain(job),
        format!(
            "it has ended; files of 1 task are to be deleted, and its targets stay taken until then: 2 attempts of task {} \
             ended with requests that the store did not answer and may still carry out: its objects are looked for again \
             in 88.0 s",
            early.task
        )
    );
    let waiting = story.explained(job).waiting;
    assert_eq!(waiting.until(), Some(Time(LATE_MS)));
    assert_eq!(*waiting.innermost(), WaitingOn::LateWrites { until: Time(LATE_MS), task: early.task, attempts: 2 });
}

#[test]
fn a_clean_up_that_fails_before_the_moment_has_all_its_attempts_after_it() {
    let mut story = Story::new();
    story.worker("w", 1);
    let (job, _) = canceled(&mut story, remote, 1_000_000);
    for _ in 0..2 {
        let lease = story.lead()[0];
        story.fail(lease, FailureKind::Transient, "the store is away");
        story.wait(60_000);
    }
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending);
    assert!(story.lead().is_empty(), "it waits for the moment");
    story.wait(1_000_000);
    for left in [CleanUpState::Pending, CleanUpState::LeftOver] {
        let lease = story.lead()[0];
        story.fail(lease, FailureKind::Transient, "the store is away");
        assert_eq!(story.status(job).clean_up, left);
        story.wait(60_000);
    }
}

#[test]
fn copies_stay_until_a_metadata_file_that_may_come_late_is_surely_gone() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 1, remote);
    let lease = story.lead()[0];
    story.copy(lease);
    let publication = story.publication(job);
    story.claim(publication);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease: publication, writes_for_ms: LATE_MS });
    let early = story.lead();
    assert_eq!(early.iter().map(|lease| lease.task).collect::<Vec<_>>(), [publication.task]);
    story.clean(early[0]);
    assert!(story.lead().is_empty(), "a reader that finds the file must find all that it names");
    story.wait(LATE_MS);
    let last = story.lead()[0];
    story.clean(last);
    let copies = story.lead();
    assert_eq!(copies.iter().map(|copy| copy.task).collect::<Vec<_>>(), [lease.task]);
    story.clean(copies[0]);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn a_clean_up_whose_deletes_were_not_answered_is_repeated_when_they_can_come_no_more() {
    let mut story = Story::new();
    story.worker("w", 1);
    let (job, _) = canceled(&mut story, remote, 0);
    let early = story.lead()[0];
    story.ok(Command::ReportTask { lease: early, result: TaskResult::CleanedUp, writes_for_ms: LATE_MS });
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending, "a late delete would be of another job's object");
    assert!(story.explained(job).holds_targets);
    story.wait(LATE_MS);
    let last = story.lead()[0];
    story.clean(last);
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn a_store_that_never_answers_a_delete_is_given_up_in_the_end() {
    let mut story = Story::new();
    story.worker("w", 1);
    let kept = |spec: &mut JobSpec| {
        remote(spec);
        spec.options.retention_ms = 1_000_000_000;
    };
    let (job, _) = canceled(&mut story, kept, LATE_MS);
    for _ in 0..limits::LATE_ENDS_MAX + 2 {
        story.wait(LATE_MS + limits::BACKOFF_MAX_MS);
        let Some(lease) = story.lead().first().copied() else { break };
        let kind = FailureKind::Transient;
        let result = TaskResult::Failed { kind, reason: "the store was silent".to_owned() };
        story.ok(Command::ReportTask { lease, result, writes_for_ms: LATE_MS });
    }
    assert_eq!(story.status(job).clean_up, CleanUpState::LeftOver);
    assert!(!story.explained(job).holds_targets);
}
