//! What was copied to a target: told from its task's row until settling writes it beside the target, and by every
//! view alike.

use crate::story::{SEGMENT_BYTES, SEGMENT_ROWS, Story, mapping, page, submit};
use ferry_machine::command::{Command, LeaseRef};
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::limits;
use ferry_machine::outcome::Outcome;
use ferry_machine::row::Settle;
use ferry_machine::view::{self, Segment, SegmentState, State};

/// The targets of a job as its list, the list of all segments and each target alone tell them, which must be the same.
fn told(story: &Story, job: JobId) -> Vec<Segment> {
    let listed = view::list_job_segments(&story.rows, &story.job(job), SegmentId(0), 100_000).items;
    let all = view::list_segments(&story.rows, SegmentId(0), 100_000).items;
    let of_job: Vec<_> = all.into_iter().filter(|segment| segment.job == job).collect();
    assert_eq!(of_job, listed);
    for segment in &listed {
        assert_eq!(view::segment(&story.rows, segment.id).as_ref(), Some(segment));
    }
    listed
}

fn copied(segment: &Segment) -> bool {
    let (told, nothing) = ((segment.rows, segment.bytes), (0, 0));
    assert!(told == (SEGMENT_ROWS, SEGMENT_BYTES) || told == nothing, "{segment:?}");
    told != nothing
}

/// Two jobs whose targets lie between each other's, in tasks of three; not a multiple of it.
fn interleaved(story: &mut Story) -> [JobId; 2] {
    [("odd", 1), ("even", 2)].map(|(request, first)| {
        let mappings: Vec<_> = (0..100).rev().map(|index| mapping(500 + index, first + 2 * index)).collect();
        story.submit_mappings(request, &mappings, |spec| spec.options.segments_per_task_max = 3)
    })
}

/// Has two of four attempts report, the last ones first; attempts of two jobs take turns.
fn copy_some(story: &mut Story, begun: &[LeaseRef]) -> Vec<TaskId> {
    let mut reported = Vec::new();
    for lease in begun.chunks(4).flat_map(|four| four.iter().take(2)).rev() {
        story.copy(*lease);
        reported.push(lease.task);
    }
    reported
}

#[test]
fn what_was_copied_is_told_as_soon_as_it_was_reported_and_alike_before_and_after_settling() {
    let mut story = Story::new();
    story.worker("w", 200);
    let jobs = interleaved(&mut story);
    let begun = story.lead();
    let reported = copy_some(&mut story, &begun);
    for job in jobs {
        let targets: Vec<SegmentId> = story
            .tasks(job)
            .iter()
            .filter(|task| reported.contains(&task.id))
            .flat_map(|task| view::task_mappings(task).map(|mapping| mapping.target).collect::<Vec<_>>())
            .collect();
        let seen = told(&story, job);
        let by_view: Vec<SegmentId> = seen.iter().filter(|segment| copied(segment)).map(|segment| segment.id).collect();
        assert_eq!(by_view, targets);
        assert!(seen.iter().all(|segment| segment.state == SegmentState::Importing));
    }
    for lease in begun.iter().filter(|lease| !reported.contains(&lease.task)) {
        story.copy(*lease);
    }
    for lease in story.lead() {
        story.copy(lease);
    }
    let before = jobs.map(|job| told(&story, job));
    assert!(before.iter().flatten().all(|segment| segment.state == SegmentState::Flushed));
    assert!(before.iter().flatten().all(|segment| copied(segment) && segment.partition_id == 1));
    assert!(
        jobs.iter().all(|job| story.job(*job).settle != Settle::Done),
        "nothing of it is written beside the targets"
    );
    story.lead();
    assert!(jobs.iter().all(|job| story.job(*job).settle == Settle::Done));
    assert_eq!(jobs.map(|job| told(&story, job)), before);
}

#[test]
fn what_a_failed_job_had_copied_is_told_alike_before_while_and_after_it_is_settled() {
    let mut story = Story::new();
    story.checks_always = false;
    story.worker("w", 1_000);
    let segments = 2 * limits::SEGMENTS_PER_SETTLE_PAGE as u64 + 50;
    let job = story.submit_with("r", segments, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    let reported = copy_some(&mut story, &begun);
    assert!(reported.len() > 100);
    story.ok(Command::CancelJob { job });
    let before = told(&story, job);
    assert_eq!(before.iter().filter(|segment| copied(segment)).count(), reported.len());
    assert!(before.iter().all(|segment| segment.state == SegmentState::Dropped));
    for lease in begun.iter().filter(|lease| !reported.contains(&lease.task)) {
        story.ok(Command::ReleaseTask { lease: *lease, writes_for_ms: 0 });
    }
    let mut pages = 0;
    while story.job(job).settle != Settle::Done {
        let settle = story.job(job).settle;
        story.ok(Command::SettleJob { job, settle });
        assert_eq!(told(&story, job), before, "after {settle:?}");
        assert_eq!(ferry_machine::check(&story.rows), []);
        pages += 1;
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(story.state(job), Some(State::Canceled));
}

#[test]
fn targets_that_never_came_to_a_task_are_settled_and_told_without_a_search_for_each() {
    let mut story = Story::new();
    story.checks_always = false;
    let job = story.submit_with("r", 3_000, |spec| spec.options.segments_per_task_max = 1);
    story.lead_once();
    let created = story.job(job).counts.tasks_created;
    assert!((1..3_000).contains(&created), "{created}");
    story.ok(Command::CancelJob { job });
    story.looks_max = 0;
    story.lead();
    assert!(story.looks_max <= limits::ROWS_PER_COMMAND_MAX, "{} looks for one command", story.looks_max);
    assert_eq!(story.job(job).settle, Settle::Done);
    assert!(told(&story, job).iter().all(|segment| segment.state == SegmentState::Dropped));
    assert_eq!(ferry_machine::check(&story.rows), []);
}

#[test]
fn what_was_copied_to_a_target_is_told_of_the_job_that_did_it_when_another_one_has_the_target() {
    let mut story = Story::new();
    story.worker("w", 2);
    let mappings = [mapping(1, 55), mapping(2, 56)];
    let first = story.submit_mappings("first", &mappings, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    story.copy(begun[0]);
    story.ok(Command::CancelJob { job: first });
    story.ok(Command::ReleaseTask { lease: begun[1], writes_for_ms: 0 });
    let list = |story: &Story| view::list_job_segments(&story.rows, &story.job(first), SegmentId(0), 100).items;
    let before = list(&story);
    assert_eq!(before.iter().filter(|segment| copied(segment)).count(), 1);
    for lease in story.lead() {
        story.clean(lease);
    }
    let half = page("second", 0, 2, &[mapping(9, 55)]);
    story.ok(submit(half));
    assert_eq!(list(&story), before, "a draft has it");
    let last = story.ok(submit(page("second", 1, 2, &[mapping(8, 56)])));
    let Outcome::Page { job: second, submitted: true, .. } = last else { panic!("{last:?}") };
    assert_eq!(story.run(second), State::Completed);
    assert_eq!(list(&story), before, "another job published it");
}

#[test]
fn a_report_writes_one_task_however_many_segments_it_is_of() {
    let rows_touched = |width: u32| {
        let mut story = Story::new();
        story.worker("w", 1);
        story.submit_with("r", u64::from(width) * 2, |spec| spec.options.segments_per_task_max = width);
        let lease = story.lead()[0];
        story.claim(lease);
        story.rows_touched_max = 0;
        let report = story.copied(lease);
        story.ok(report);
        story.rows_touched_max
    };
    assert_eq!(rows_touched(limits::SEGMENTS_PER_TASK_MAX), rows_touched(1));
}

#[test]
fn claims_and_the_reports_that_queue_the_publication_and_complete_the_job_touch_as_few_rows_as_an_entry_counts_for_them()
 {
    // `ROWS_PER_COMMAND_BASE` of the proposals.
    const ROWS: usize = 16;
    let mut story = Story::new();
    story.worker("w", 1);
    let width = limits::SEGMENTS_PER_TASK_MAX;
    let job = story.submit_with("r", u64::from(width), |spec| spec.options.segments_per_task_max = width);
    let lease = story.lead()[0];
    story.rows_touched_max = 0;
    story.copy(lease);
    assert!(story.rows_touched_max <= ROWS, "{}", story.rows_touched_max);
    let publication = story.publication(job);
    story.rows_touched_max = 0;
    story.copy(publication);
    assert_eq!(story.state(job), Some(State::Completed));
    assert!(story.rows_touched_max <= ROWS, "{}", story.rows_touched_max);
}
