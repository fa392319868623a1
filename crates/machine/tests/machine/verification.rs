//! A job that only verifies: the same leases, progress and reports as a copy's, and no target, publication or clean-up.

use crate::story::{SEGMENT_BYTES, SEGMENT_ROWS, Story, WRITES_FOR_MS, mapping, page, submit};
use ferry_machine::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, TaskResult};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::plan::WaitingOn;
use ferry_machine::row::{AttemptEnd, FailurePolicy, JobSpec, Work};
use ferry_machine::view::{self, CleanUpState, State, TaskState};

/// Ids of the copy that these stories compare.
const BUILDS: i64 = 5_000;
const SNAPSHOT: i64 = 9_001;

fn of_copy(spec: &mut JobSpec) {
    spec.options.verify_only = true;
    spec.options.segments_per_task_max = 1;
    (spec.first_build_id, spec.snapshot_id, spec.build_ids) = (BUILDS, SNAPSHOT, 2);
}

fn of_source(spec: &mut JobSpec) {
    spec.options.verify_only = true;
    spec.options.segments_per_task_max = 1;
    (spec.target_uri, spec.collection_id) = (String::new(), 0);
}

fn verified(story: &Story, lease: LeaseRef) -> Command {
    let looked_at = |mapping: IdMapping| CopiedSegment {
        target: mapping.target,
        partition_id: mapping.partition_id.max(1),
        rows: SEGMENT_ROWS,
        bytes: SEGMENT_BYTES,
    };
    let segments = view::task_mappings(&story.task(lease.task)).map(looked_at).collect();
    Command::ReportTask { lease, result: TaskResult::Verified { segments }, writes_for_ms: 0 }
}

fn verify(story: &mut Story, lease: LeaseRef) -> Outcome {
    let report = verified(story, lease);
    story.ok(report)
}

/// How many rows are locks on targets.
fn locks(story: &Story) -> usize {
    story.rows.rows().filter(|(key, _)| matches!(key, Key::Targets(_))).count()
}

fn three(story: &mut Story) -> JobId {
    story.submit_mappings("verify", &[mapping(1, 11), mapping(2, 12), mapping(3, 13)], of_copy)
}

#[test]
fn a_copy_is_compared_while_its_own_job_and_others_hold_its_targets() {
    let mut story = Story::new();
    story.worker("w", 3);
    let copy = story.submit_mappings("copy", &[mapping(1, 11), mapping(2, 12), mapping(3, 13)], |_| {});
    let before = locks(&story);
    let job = three(&mut story);
    assert_eq!(locks(&story), before, "no target is taken");
    assert_eq!((story.job(job).first_build_id, story.job(job).snapshot_id), (BUILDS, SNAPSHOT));
    let leases: Vec<_> = story.lead().into_iter().filter(|lease| story.task(lease.task).job == job).collect();
    assert!(leases.iter().all(|lease| view::work(&story.task(lease.task)) == Work::Verify));
    assert!(!story.explained(job).holds_targets && story.explained(copy).holds_targets);
    for lease in &leases {
        story.ok(Command::ClaimTargets { lease: *lease, bytes_planned: SEGMENT_BYTES, manifests: Vec::new() });
        story.ok(Command::ReportProgress { lease: *lease, bytes_copied: SEGMENT_BYTES / 2 });
        assert!(!story.task(lease.task).claimed);
    }
    let run: Vec<_> = leases.iter().map(|lease| verify(&mut story, *lease)).collect();
    let mut begun = story.lead();
    begun.retain(|lease| story.task(lease.task).job == job);
    for lease in begun {
        verify(&mut story, lease);
    }
    assert_eq!(run.last(), Some(&Outcome::Reported { job_ended: run.len() == 3 }));
    assert_eq!((story.status(job).state, story.status(job).clean_up), (State::Completed, CleanUpState::None));
    assert_eq!((story.status(job).progress_percent, story.status(job).tasks.completed), (100, 3), "no publication");
    assert_eq!(story.job(job).counts.bytes_copied, 3 * SEGMENT_BYTES);
    assert_eq!(story.segment_states(job), [].into(), "it has no targets");
    assert!(matches!(story.explained(job).waiting, WaitingOn::Retention { .. }), "nothing is left to write down");
    let ended = &story.tasks(job)[0].attempts[0];
    assert_eq!((ended.work, ended.end), (Work::Verify, AttemptEnd::Verified));
    story.wait(4 * 60 * 60 * 1_000);
    story.lead();
    assert_eq!(story.state(job), None, "it is collected");
    assert_eq!(locks(&story), before, "and the targets of others are not");
}

#[test]
fn every_task_looks_before_the_job_fails_with_what_the_first_one_found() {
    let mut story = Story::new();
    story.worker("w", 3);
    let job = three(&mut story);
    let leases = story.lead();
    story.fail(leases[1], FailureKind::Permanent, "1 of 3 objects differ: target object file:///target/b is missing");
    assert_eq!(story.state(job), Some(State::Executing), "the others are looked at all the same");
    assert_eq!((story.status(job).tasks.failed, story.status(job).tasks.in_progress), (1, 2));
    verify(&mut story, leases[0]);
    let again = verified(&story, leases[0]);
    assert_eq!(story.ok(again), Outcome::Reported { job_ended: false }, "a repeated report is answered as the first");
    story.fail(leases[2], FailureKind::Permanent, "1 of 3 objects differ: target object file:///target/c is missing");
    let status = story.status(job);
    assert_eq!((status.state, status.clean_up), (State::Failed, CleanUpState::None));
    assert_eq!(status.reason, "2/3 tasks failed: 1 of 3 objects differ: target object file:///target/b is missing");
    assert!(story.lead().is_empty(), "no clean-up follows");
    let states: Vec<_> = story.tasks(job).iter().map(|task| view::task_status(&story.job(job), task).state).collect();
    assert_eq!(states, [TaskState::Completed, TaskState::Failed, TaskState::Failed]);
    assert!(view::task_status(&story.job(job), &story.tasks(job)[2]).reason.contains("target/c"));
}

#[test]
fn a_source_is_looked_at_without_a_target() {
    let mut story = Story::new();
    story.worker("w", 4);
    let job = story.submit_with("sources", 2, of_source);
    assert_eq!(locks(&story), 0);
    let leases = story.lead();
    let looked_at: Vec<_> = story.tasks(job).iter().flat_map(view::task_mappings).collect();
    assert_eq!(looked_at, [mapping(1, 1), mapping(2, 2)], "each stands for itself");
    for lease in leases {
        verify(&mut story, lease);
    }
    assert_eq!(story.state(job), Some(State::Completed));
    assert_eq!(story.job(job).snapshot_id, 0);
    let empty = story.submit_with("nothing", 0, of_source);
    assert_eq!(story.state(empty), Some(State::Completed));
}

#[test]
fn lost_throttled_and_canceled_verifications_end_without_a_clean_up() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    let job = story.submit_with("retried", 1, |spec| {
        of_source(spec);
        spec.options.attempts_max = 3;
    });
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    story.wait(limits::BACKOFF_MAX_MS);
    story.lead();
    story.lose(worker);
    story.worker("another", 2);
    let lease = story.lead()[0];
    assert_eq!((lease.attempt, story.task(lease.task).failures), (3, 2));
    verify(&mut story, lease);
    assert_eq!(story.state(job), Some(State::Completed));

    let job = story.submit_with("canceled", 2, of_source);
    let leases = story.lead();
    story.ok(Command::ClaimTargets { lease: leases[0], bytes_planned: SEGMENT_BYTES, manifests: Vec::new() });
    story.ok(Command::CancelJob { job });
    for lease in leases {
        story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    }
    story.wait(WRITES_FOR_MS);
    assert!(story.lead().is_empty());
    assert_eq!((story.status(job).state, story.status(job).clean_up), (State::Canceled, CleanUpState::None));
}

#[test]
fn a_verification_pauses_where_it_shall_and_goes_on_with_what_was_mended() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| {
        of_source(spec);
        spec.options.on_failure = FailurePolicy::Pause;
    });
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Permanent, "1 of 3 objects differ: source object file:///source/a is missing");
    assert!(story.job(job).paused && story.explain(job).contains("source/a"), "{}", story.explain(job));
    story.ok(Command::PauseJob { job, paused: false });
    let lease = story.lead()[0];
    verify(&mut story, lease);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn submits_and_reports_that_do_not_fit_a_verification_are_refused() {
    let mut story = Story::new();
    story.worker("w", 2);
    let refused = |story: &mut Story, mapping: IdMapping, change: &dyn Fn(&mut JobSpec)| {
        let mut page = page("r", 0, 1, &[mapping]);
        change(&mut page.spec);
        story.refused(submit(page)).to_string()
    };
    let reason = refused(&mut story, mapping(1, 11), &of_source);
    assert!(reason.contains("id_mappings[0].target_segment_id: is set without target.uri"), "{reason}");
    let reason = refused(&mut story, mapping(1, 0), &of_copy);
    assert!(reason.contains("name the segment of the copy"), "{reason}");
    let reason = refused(&mut story, mapping(1, 11), &|spec| {
        of_copy(spec);
        spec.options.on_failure = FailurePolicy::Keep;
    });
    assert!(reason.contains("copies nothing"), "{reason}");
    let mut first = page("paged", 0, 2, &[mapping(1, 11)]);
    of_copy(&mut first.spec);
    let second = ferry_machine::command::SubmitPage { offset: 1, mappings: vec![mapping(2, 11)], ..first.clone() };
    story.ok(submit(first));
    assert!(story.refused(submit(second)).to_string().contains("11 is listed twice"));

    let verifies = story.submit_with("verifies", 1, of_source);
    let copies = story.submit_with("copies", 1, |_| {});
    for lease in story.lead() {
        let job = story.task(lease.task).job;
        let wrong = if job == verifies {
            let copied = CopiedSegment { target: SegmentId(1), partition_id: 1, rows: 1, bytes: 1 };
            Command::ReportTask { lease, result: TaskResult::Copied { segments: vec![copied] }, writes_for_ms: 0 }
        } else {
            assert_eq!(job, copies);
            verified(&story, lease)
        };
        assert!(matches!(story.refused(wrong), Rejection::Invalid { .. }));
    }
}
