//! No command touches more rows than it may, at the largest sizes that there can be.

use crate::story::{Story, mapping, page, submit};
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::{Cluster, JobCounts, JobSpec, ManifestPin, Row};
use ferry_machine::tables::Tables;
use ferry_machine::view::{self, State};
use std::collections::BTreeMap;

/// Stories of thousands of rows check at the end.
fn large() -> Story {
    let mut story = Story::new();
    story.checks_always = false;
    story
}

/// Submits a job of targets without neighbours, so that each takes rows of its own.
fn submit_apart(story: &mut Story, request: &str, segments: u64, change: impl Fn(&mut JobSpec)) -> JobId {
    let first = story.reserve(2 * segments);
    let apart = |source: u64| mapping(source.cast_signed(), first + 2 * (source - 1).cast_signed());
    story.submit_mappings(request, &(1..=segments).map(apart).collect::<Vec<_>>(), change)
}

fn ends_well(story: &Story) {
    assert_eq!(ferry_machine::check(&story.rows), []);
    assert!(story.rows_touched_max <= limits::ROWS_PER_COMMAND_MAX);
}

#[test]
fn a_page_of_a_submit_that_takes_over_a_target_of_another_job_each() {
    let mut story = large();
    let page_max = limits::MAPPINGS_PER_PAGE_MAX as i64;
    let first = story.reserve(5 * page_max as u64);
    let mappings: Vec<_> = (0..page_max).map(|number| mapping(1 + number, first + 1 + 5 * number)).collect();
    for one in &mappings {
        let beside = [1, 2, 3].map(|source| mapping(source, one.target.0 - 2 + source));
        let job = story.submit_mappings(&format!("old-{}", one.target), &beside, |_| {});
        story.ok(Command::CancelJob { job });
    }
    story.lead();
    story.rows_touched_max = 0;
    let from_the_last: Vec<_> = mappings.iter().rev().copied().collect();
    story.ok(submit(page("new", 0, page_max as u64, &from_the_last)));
    assert!(story.rows_touched_max > 5 * mappings.len(), "{}", story.rows_touched_max);
    ends_well(&story);
}

#[test]
fn a_page_that_takes_targets_over_from_the_last_to_the_first_reads_no_row_for_each_that_it_took() {
    let mut story = large();
    let page_max = limits::MAPPINGS_PER_PAGE_MAX as i64;
    let first = story.reserve(page_max as u64);
    let mappings: Vec<_> = (0..page_max).map(|number| mapping(1 + number, first + number)).collect();
    for one in &mappings {
        let job = story.submit_mappings(&format!("old-{}", one.target), &[*one], |_| {});
        story.ok(Command::CancelJob { job });
    }
    story.lead();
    story.looks_max = 0;
    let from_the_last: Vec<_> = mappings.iter().rev().copied().collect();
    story.ok(submit(page("new", 0, page_max as u64, &from_the_last)));
    assert!(story.looks_max <= limits::ROWS_PER_COMMAND_MAX, "{}", story.looks_max);
    ends_well(&story);
}

#[test]
fn a_page_of_targets_that_the_machine_chooses_touches_few_rows() {
    let mut story = large();
    let mappings: Vec<_> = (1..=limits::MAPPINGS_PER_PAGE_MAX as i64).map(|source| mapping(source, 0)).collect();
    story.ok(submit(page("r", 0, 2 * mappings.len() as u64, &mappings)));
    story.rows_touched_max = 0;
    story.ok(submit(page("r", mappings.len() as u64, 2 * mappings.len() as u64, &mappings)));
    // What the proposals count for it: two rows for each hundred, and sixteen.
    assert!(story.rows_touched_max <= 20, "{}", story.rows_touched_max);
    ends_well(&story);
}

#[test]
fn pages_of_tasks_of_the_smallest_and_of_the_largest_size() {
    for segments_per_task_max in [1, limits::SEGMENTS_PER_TASK_MAX] {
        let mut story = large();
        submit_apart(&mut story, "r", 2_000, |spec| spec.options.segments_per_task_max = segments_per_task_max);
        story.rows_touched_max = 0;
        story.lead();
        assert!(story.rows_touched_max > 800, "{}", story.rows_touched_max);
        ends_well(&story);
    }
}

#[test]
fn the_report_of_a_task_of_the_largest_size() {
    let mut story = large();
    story.worker("w", 1);
    let job = story.submit_with("r", 100, |spec| spec.options.segments_per_task_max = limits::SEGMENTS_PER_TASK_MAX);
    assert_eq!(story.run(job), State::Completed);
    ends_well(&story);
}

#[test]
fn pages_of_settling_and_collection_of_a_failed_job_with_files() {
    let mut story = large();
    story.worker("w", 1_000);
    let job = submit_apart(&mut story, "r", 1_000, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    for lease in &begun[1..] {
        story.claim(*lease);
        story.ok(Command::ReleaseTask { lease: *lease, writes_for_ms: 0 });
    }
    story.fail(begun[0], FailureKind::Permanent, "gone");
    for lease in story.lead() {
        story.clean(lease);
    }
    assert_eq!(story.status(job).tasks.failed, 1_001);
    story.wait(story.job(job).spec.options.retention_ms);
    story.lead();
    assert_eq!((story.state(job), story.rows_of_jobs()), (None, 2), "the request id and its end are left");
    ends_well(&story);
}

#[test]
fn pages_of_settling_and_collection_of_a_job_that_completed() {
    for apart in [true, false] {
        let mut story = large();
        story.worker("w", 1_000);
        let small = |spec: &mut JobSpec| spec.options.segments_per_task_max = 1;
        let job =
            if apart { submit_apart(&mut story, "r", 1_000, small) } else { story.submit_with("r", 1_000, small) };
        assert_eq!(story.run(job), State::Completed);
        assert_eq!(story.rows_touched_max > 900, apart, "{}", story.rows_touched_max);
        story.wait(story.job(job).spec.options.retention_ms);
        story.lead();
        assert_eq!(story.state(job), None);
        assert_eq!(view::list_segments(&story.rows, SegmentId(0), 2_000).items.len(), 1_000);
        ends_well(&story);
    }
}

#[test]
fn a_page_of_releases_where_each_attempt_ends_a_job() {
    let mut story = large();
    let worker = story.worker("w", 200);
    for number in 0..200 {
        story.submit_with(&format!("r{number}"), 1, |spec| spec.options.attempts_max = 1);
    }
    assert_eq!(story.lead().len(), 200);
    story.rows_touched_max = 0;
    story.lose(worker);
    assert!(story.rows_touched_max > 500, "{}", story.rows_touched_max);
    story.lead();
    let jobs = view::cluster(&story.rows).expect("the cluster has a row").jobs;
    assert_eq!(jobs.failed, 200);
    ends_well(&story);
}

#[test]
fn a_page_of_request_ids() {
    let mut story = large();
    for number in 0..600 {
        story.submit(&format!("r{number}"), 0);
    }
    story.wait(4 * 3_600_000);
    story.lead();
    story.wait(limits::REQUEST_RETENTION_MS);
    story.lead();
    assert_eq!(story.rows_of_jobs(), 0);
    let too_many = (0..=limits::REQUESTS_PER_PAGE).map(|number| number.to_string()).collect();
    story.refused(Command::ExpireRequests { request_ids: too_many });
    ends_well(&story);
}

#[test]
fn lists_come_in_pages_and_only_the_lack_of_a_next_one_ends_them() {
    let mut story = large();
    for number in 0..5 {
        story.submit(&format!("r{number}"), 3);
    }
    story.ok(submit(page("draft", 0, 9, &[mapping(1, 0)])));
    let (mut jobs, mut after, mut pages) = (Vec::new(), ferry_machine::id::JobId(0), 0);
    loop {
        let page = view::list_jobs(&story.rows, after, 2);
        jobs.extend(page.items.iter().map(|job| job.id));
        pages += 1;
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!((jobs.len(), jobs.is_sorted()), (5, true));
    assert!(pages >= 3);
    let segments = view::list_segments(&story.rows, SegmentId(0), 1_000).items;
    assert_eq!(segments.len(), 15, "those of the draft are hidden");
}

#[test]
fn limits_of_jobs_workers_and_ids_are_answered_when_they_are_reached() {
    let mut story = large();
    let cluster = view::cluster(&story.rows).expect("the cluster has a row");
    let jobs = JobCounts { pending: limits::JOBS_ALIVE_MAX - 1, draft: 1, ..JobCounts::default() };
    let full = Cluster { jobs, workers: limits::WORKERS_MAX, next_id: i64::MAX - 3, ..cluster };
    story.rows.put(Key::Cluster, Row::Cluster(full));
    let register = Command::RegisterWorker {
        name: "one more".to_owned(),
        incarnation: 1,
        slots: 1,
        labels: BTreeMap::new(),
        writes_for_ms: 0,
        late_writes_ms: 0,
        settled: BTreeMap::new(),
    };
    let reached = |rejection| matches!(rejection, Rejection::LimitReached { .. });
    assert!(reached(story.refused(register)));
    assert!(reached(story.refused(submit(page("r", 0, 1, &[mapping(1, 1)])))));
    assert!(reached(story.refused(Command::ReserveIds { count: 4 })));
    story.rows.put(Key::Cluster, Row::Cluster(Cluster { next_id: i64::MAX - 3, ..cluster }));
    assert!(reached(story.refused(submit(page("r", 0, 4, &(1..=4).map(|id| mapping(id, 0)).collect::<Vec<_>>())))));
}

#[test]
fn reasons_are_cut_between_characters() {
    let mut story = Story::new();
    let job = story.submit("r", 1);
    story.ok(Command::FailJob { job, reason: format!("a{}", "é".repeat(limits::REASON_BYTES_MAX)) });
    let reason = story.status(job).reason;
    assert_eq!((reason.len(), reason.chars().last()), (limits::REASON_BYTES_MAX - 1, Some('é')));
}

#[test]
fn counters_never_overflow() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    let manifests = vec![ManifestPin::default()];
    story.ok(Command::ClaimTargets { lease: begun[0], bytes_planned: u64::MAX, manifests: manifests.clone() });
    let too_many = story.refused(Command::ClaimTargets { lease: begun[1], bytes_planned: 1, manifests });
    assert!(matches!(too_many, Rejection::Invalid { .. }));
    assert_eq!(story.job(job).counts.bytes_planned, u64::MAX);
}
