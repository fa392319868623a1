//! Scenarios of a job's life that must come out right: creation, deadlines, ends, late results, publication.

use crate::story::{Story, mapping};
use ferry_machine::command::{Command, CopiedSegment, FailureKind, TaskResult};
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::row::JobSpec;
use ferry_machine::view::{self, State, TaskState};
use std::collections::BTreeSet;

fn one_segment_per_task(spec: &mut JobSpec) {
    spec.options.segments_per_task_max = 1;
}

fn task_states(story: &Story, job: JobId) -> Vec<TaskState> {
    let row = story.job(job);
    story.tasks(job).iter().map(|task| view::task_status(&row, task).state).collect()
}

#[test]
fn s01_task_creation_resumes_where_it_stopped() {
    let mut story = Story::new();
    let job = story.submit_with("r", 650, one_segment_per_task);
    story.ok(Command::CreateTasks { job, tasks_created: 0 });
    // The leader is gone; the next one knows the rows alone.
    assert_eq!(story.plan().commands.first(), Some(&Command::CreateTasks { job, tasks_created: 300 }));
    let again = story.refused(Command::CreateTasks { job, tasks_created: 0 });
    assert!(matches!(again, Rejection::Stale(_)), "what the dead leader proposed counts once: {again:?}");
    story.lead();
    assert_eq!(story.state(job), Some(State::Executing));
    let tasks = story.tasks(job);
    let targets: Vec<_> = tasks.iter().flat_map(view::task_mappings).collect();
    let distinct: BTreeSet<_> = targets.iter().map(|mapping| mapping.source).collect();
    assert_eq!((targets.len(), distinct.len()), (650, 650), "each mapping is in exactly one task");
}

#[test]
fn s02_a_deadline_fires_at_the_next_check() {
    let mut story = Story::new();
    let job = story.submit_with("r", 1, |spec| spec.options.timeout_ms = Some(1_500));
    story.wait(1_499);
    story.lead();
    assert_eq!(story.state(job), Some(State::Executing));
    story.wait(1);
    story.lead();
    assert_eq!((story.status(job).state, story.status(job).reason.as_str()), (State::Failed, "timeout"));
}

#[test]
fn s03_the_first_terminal_state_is_final() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 1, |spec| spec.options.timeout_ms = Some(1_000));
    let lease = story.lead()[0];
    story.copy(lease);
    let lease = story.publication(job);
    story.claim(lease);
    story.wait(1_000);
    let planned = story.plan().commands;
    assert_eq!(planned, [Command::FailJob { job, reason: "timeout".to_owned() }]);
    let report = story.copied(lease);
    story.ok(report);
    assert!(matches!(story.refused(planned[0].clone()), Rejection::Stale(_)));
    assert_eq!(story.state(job), Some(State::Completed));
    assert!(matches!(story.refused(Command::CancelJob { job }), Rejection::WrongState { state: "completed", .. }));
}

#[test]
fn s04_a_job_that_fails_while_its_tasks_are_created_stays_failed() {
    let mut story = Story::new();
    let job = story.submit_with("r", 650, one_segment_per_task);
    let pages = story.plan().commands;
    story.ok(pages[0].clone());
    story.ok(Command::FailJob { job, reason: "timeout".to_owned() });
    assert!(matches!(story.refused(pages[1].clone()), Rejection::Stale(_)));
    story.lead();
    let status = story.status(job);
    assert_eq!((status.state, status.tasks.failed), (State::Failed, 651));
    assert_eq!(story.segment_states(job), ["dropped"].into());
}

#[test]
fn s05_publication_is_all_or_nothing() {
    let mut story = Story::new();
    story.worker("w", 4);
    let job = story.submit_with("r", 4, one_segment_per_task);
    let begun = story.lead();
    for lease in &begun[..3] {
        story.copy(*lease);
        assert_eq!(story.segment_states(job), ["importing"].into());
    }
    // The last one cannot be published as reported: its report is refused, and nothing is visible.
    story.claim(begun[3]);
    let wrong = TaskResult::Copied { segments: Vec::new() };
    story.refused(Command::ReportTask { lease: begun[3], result: wrong, writes_for_ms: 0 });
    assert_eq!(story.segment_states(job), ["importing"].into());
    let report = story.copied(begun[3]);
    story.ok(report);
    assert_eq!(story.segment_states(job), ["importing"].into());
    story.publish(job);
    assert_eq!(story.segment_states(job), ["flushed"].into());
}

#[test]
fn s06_settling_of_a_large_job_resumes_and_no_reader_sees_half_of_it() {
    let mut story = Story::new();
    story.worker("w", 100);
    let job = story.submit_with("r", 1_000, |spec| spec.options.segments_per_task_max = 100);
    let begun = story.lead();
    for lease in begun {
        story.copy(lease);
    }
    story.publish(job);
    let mut pages = 0;
    while let Some(page) = story.plan().commands.first().cloned() {
        assert_eq!(story.segment_states(job), ["flushed"].into(), "after {pages} pages");
        story.ok(page.clone());
        assert!(matches!(story.refused(page), Rejection::Stale(_)), "a page counts once");
        pages += 1;
    }
    assert_eq!(pages, 4, "1,000 segments, 300 a page");
    assert_eq!(story.segment_states(job), ["flushed"].into());
}

#[test]
fn s07_no_target_is_visible_before_its_job_is_completed() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, one_segment_per_task);
    let begun = story.lead();
    story.copy(begun[0]);
    assert_eq!(story.segment_states(job), ["importing"].into());
    story.fail(begun[1], FailureKind::Permanent, "gone");
    assert_eq!(story.segment_states(job), ["dropped"].into());
}

#[test]
fn s08_clean_up_covers_completed_siblings_of_a_failed_job() {
    let mut story = Story::new();
    story.worker("w", 3);
    let job = story.submit_with("r", 3, one_segment_per_task);
    let begun = story.lead();
    story.copy(begun[0]);
    story.claim(begun[1]);
    story.fail(begun[2], FailureKind::Permanent, "gone");
    story.ok(Command::ReleaseTask { lease: begun[1], writes_for_ms: 0 });
    let clean_ups = story.lead();
    let cleaned: BTreeSet<_> = clean_ups.iter().map(|lease| lease.task).collect();
    assert_eq!(cleaned, [begun[0].task, begun[1].task].into(), "the completed one and the one that had begun");
    for lease in clean_ups {
        story.clean(lease);
    }
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    assert_eq!(story.state(job), None, "collection is not blocked");
}

#[test]
fn s09_a_late_result_changes_nothing() {
    for end in ["cancel", "timeout"] {
        let mut story = Story::new();
        story.worker("w", 2);
        let job = story.submit_with("r", 2, one_segment_per_task);
        let begun = story.lead();
        for lease in &begun {
            story.claim(*lease);
        }
        match end {
            "cancel" => story.ok(Command::CancelJob { job }),
            _ => story.ok(Command::FailJob { job, reason: "timeout".to_owned() }),
        };
        let ended = story.status(job);
        let report = story.copied(begun[0]);
        assert_eq!(story.ok(report.clone()), Outcome::Released(begun[0].task), "it only gives its lease back");
        assert_eq!(story.status(job), ended);
        assert!(matches!(story.refused(report), Rejection::LeaseNotHeld { .. }));
        let claim = story.claiming(begun[1]);
        assert!(matches!(story.refused(claim), Rejection::LeaseNotHeld { .. }));
        story.refused(Command::ReportProgress { lease: begun[1], bytes_copied: 1 });
        assert_eq!(task_states(&story, job), [TaskState::Failed; 3]);
    }
}

#[test]
fn s10_a_completed_task_of_a_failed_job_stays_completed() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 3, one_segment_per_task);
    let begun = story.lead();
    story.copy(begun[0]);
    story.fail(begun[1], FailureKind::Permanent, "gone");
    let expected = [TaskState::Completed, TaskState::Failed, TaskState::Failed, TaskState::Failed];
    assert_eq!(task_states(&story, job), expected, "before it is settled");
    let counts = story.status(job).tasks;
    assert_eq!((counts.completed, counts.failed), (1, 3));
    for lease in story.lead() {
        story.clean(lease);
    }
    assert_eq!(task_states(&story, job), expected, "and after");
    assert_eq!(story.status(job).tasks, counts);
    let row = story.job(job);
    let reasons: BTreeSet<_> = story.tasks(job).iter().map(|task| view::task_status(&row, task).reason).collect();
    let reason = "1/4 tasks failed: gone".to_owned();
    assert_eq!(reasons, [String::new(), "gone".to_owned(), reason].into());
}

#[test]
fn s24_a_result_that_does_not_list_exactly_the_targets_is_refused_as_a_whole() {
    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_mappings("r", &[mapping(1, 11), mapping(2, 12)], |_| {});
    let lease = story.lead()[0];
    story.claim(lease);
    let segment = |target| CopiedSegment { target: SegmentId(target), partition_id: 1, rows: 1, bytes: 1 };
    let cases = [
        (vec![segment(11)], "12 is missing"),
        (vec![segment(11), segment(12), segment(12)], "12 is listed twice"),
        (vec![segment(11), segment(12), segment(13)], "13 is not its target"),
        (vec![], "11 is missing"),
    ];
    for (segments, expected) in cases {
        let report = Command::ReportTask { lease, result: TaskResult::Copied { segments }, writes_for_ms: 0 };
        let Rejection::WrongTargets { reason, .. } = story.refused(report) else { panic!("wrong targets") };
        assert_eq!(reason, expected);
    }
    assert_eq!(story.state(job), Some(State::Executing));
    let in_any_order = TaskResult::Copied { segments: vec![segment(12), segment(11)] };
    story.ok(Command::ReportTask { lease, result: in_any_order, writes_for_ms: 0 });
    story.publish(job);
    assert_eq!(story.state(job), Some(State::Completed));
}

#[test]
fn s25_build_ids_are_new_and_the_same_on_every_retry() {
    let mut story = Story::new();
    story.worker("w", 1);
    let with_indexes = |spec: &mut JobSpec| spec.build_ids = 8;
    let first = story.submit_with("first", 1, with_indexes);
    let second = story.submit_with("second", 1, with_indexes);
    let block = |story: &Story, job| story.job(job).first_build_id..story.job(job).first_build_id + 8;
    let (a, b) = (block(&story, first), block(&story, second));
    assert!(a.end <= b.start || b.end <= a.start, "{a:?} and {b:?} overlap");
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Transient, "throttled");
    story.wait(60_000);
    story.lead();
    assert_eq!(block(&story, first), a);
    assert_ne!(a.start, TaskId(0).0);
}

#[test]
fn s29_an_empty_job_is_completed_at_once() {
    let mut story = Story::new();
    story.wait(25);
    let job = story.submit("r", 0);
    let status = story.status(job);
    assert_eq!((status.state, status.reason.as_str()), (State::Completed, "no segments to copy"));
    assert_eq!((status.progress_percent, status.ended.map(|ended| ended.at.0)), (100, Some(25)));
    assert!(story.plan().commands.is_empty(), "nothing is left to settle");
}

#[test]
fn s43_tasks_are_grouped_by_the_options_stored_at_submit() {
    let mut story = Story::new();
    let job = story.submit_with("r", 1_000, |spec| spec.options.segments_per_task_max = 3);
    story.ok(story.plan().commands[0].clone());
    // The retry comes through a node with another configuration: the job keeps what it was submitted with.
    let again = story.submit_with("r", 1_000, |spec| spec.options.segments_per_task_max = 50);
    assert_eq!(again, job);
    story.lead();
    let sizes: Vec<usize> = story.tasks(job).iter().map(|task| task.segments.len()).collect();
    assert_eq!((sizes.len(), sizes.iter().max(), sizes.last()), (335, Some(&3), Some(&0)), "the last one publishes");
}
