//! S37: collection in the middle of reads and settles; readers see all of a job or nothing of it, and never too early.

use crate::story::Story;
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::outcome::Rejection;
use ferry_machine::row::Settle;
use ferry_machine::view::{self, SegmentState};
use std::collections::BTreeSet;

/// More than one page of everything that is settled and collected.
const SEGMENTS: u64 = 1_000;
const RETENTION_MS: u64 = 50_000;
/// Rows of one look at a list, so that every list has several.
const ROWS: usize = 300;

fn collectible(story: &mut Story, request: &str) -> JobId {
    story.submit_with(request, SEGMENTS, |spec| {
        spec.options.retention_ms = RETENTION_MS;
        spec.options.segments_per_task_max = 2;
    })
}

/// Every page of a list.
fn all<T, Id>(mut page: impl FnMut(Option<Id>) -> view::Page<T, Id>) -> Vec<T> {
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let found = page(next);
        items.extend(found.items);
        match found.next {
            Some(id) => next = Some(id),
            None => return items,
        }
    }
}

/// Whatever readers can reach is whole: no job without all its tasks and targets, none of these without their job.
fn readers_see_whole_jobs(story: &Story) -> usize {
    let rows = &story.rows;
    let jobs = all(|after| view::list_jobs(rows, after.unwrap_or(JobId(0)), ROWS));
    let seen: BTreeSet<JobId> = jobs.iter().map(|job| job.id).collect();
    for job in &jobs {
        let tasks = all(|after| view::list_tasks(rows, job, after.unwrap_or(TaskId(0)), ROWS));
        assert_eq!(tasks.len() as u64, job.counts.tasks_created, "tasks of job {}", job.id);
        let mapped: usize = tasks.iter().map(|task| task.segments.len()).sum();
        assert_eq!(mapped as u64, SEGMENTS, "targets by the tasks of job {}", job.id);
        let last = tasks.last().expect("a job has tasks");
        assert_eq!(view::task(rows, last.id).map(|(job, _)| job.id), Some(job.id));
        let targets = all(|after| view::list_job_segments(rows, job, after.unwrap_or(SegmentId(0)), ROWS));
        assert_eq!(targets.len() as u64, SEGMENTS, "targets of job {}", job.id);
        let same = targets.iter().all(|target| target.state == targets[0].state);
        assert!(same, "job {} shows some targets in one state and some in another", job.id);
    }
    for target in all(|after| view::list_segments(rows, after.unwrap_or(SegmentId(0)), ROWS)) {
        let shown = target.state == SegmentState::Flushed || seen.contains(&target.job);
        assert!(shown, "target {} names job {}, which is gone", target.id, target.job);
        assert_eq!(view::segment(rows, target.id), Some(target));
    }
    jobs.len()
}

/// One command of the leader's plan at a time, with readers in between.
fn lead_in_steps(story: &mut Story) -> usize {
    let mut steps = 0;
    while let Some(command) = story.plan().commands.first().cloned() {
        story.ok(command);
        steps += 1;
        readers_see_whole_jobs(story);
    }
    steps
}

#[test]
fn s37_readers_see_all_of_a_job_for_its_retention_and_nothing_of_it_from_the_first_page_of_its_collection() {
    let mut story = Story::new();
    story.checks_always = false;
    story.worker("w", 1_000);
    let published = collectible(&mut story, "published");
    story.run(published);
    let (failed, canceled) = (collectible(&mut story, "failed"), collectible(&mut story, "canceled"));
    let begun = story.lead();
    let lease = begun.iter().find(|lease| story.task(lease.task).job == failed).copied().expect("it has begun");
    for lease in begun.iter().filter(|other| **other != lease) {
        story.claim(*lease);
    }
    story.ok(Command::CancelJob { job: canceled });
    story.fail(lease, FailureKind::Permanent, "the object is gone");
    for lease in begun.into_iter().filter(|other| *other != lease) {
        story.ok(Command::ReleaseTask { lease, writes_for_ms: 0 });
    }
    assert!(lead_in_steps(&mut story) >= 4, "settling takes pages, and readers came in between");
    while !story.plan().assignments.is_empty() {
        for lease in story.lead_once() {
            story.clean(lease);
        }
    }
    // The last moment of the retention, and the first after it.
    assert_eq!(readers_see_whole_jobs(&story), 3);
    story.now_ms =
        [published, failed, canceled].map(|job| retained_until(&story, job)).into_iter().min().expect("three");
    story.now_ms -= 1;
    assert_eq!(story.plan().commands, [], "nothing is collected early");
    for job in [published, failed, canceled] {
        assert!(matches!(story.refused(Command::CollectJob { job }), Rejection::Stale(_)));
    }
    assert_eq!(readers_see_whole_jobs(&story), 3);
    story.wait(RETENTION_MS);
    let mut gone = Vec::new();
    for job in [published, failed, canceled] {
        let settle = story.job(job).settle;
        let task = story.tasks(job)[0].id;
        story.ok(Command::CollectJob { job });
        gone.push(job);
        // A reader that was in the middle of a list finds no job any more, nor anything by its id.
        assert_eq!((view::job(&story.rows, job), view::task(&story.rows, task)), (None, None));
        assert_eq!(readers_see_whole_jobs(&story), 3 - gone.len());
        // A leader's plan from before it.
        for late in [settle, Settle::Segments { after: SegmentId(0) }, Settle::Tasks { after: TaskId(0) }] {
            assert_eq!(story.refused(Command::SettleJob { job, settle: late }), Rejection::JobNotFound(job));
        }
    }
    assert!(lead_in_steps(&mut story) >= 6, "collection takes pages, and readers came in between");
    assert_eq!(ferry_machine::check(&story.rows), []);
    let left = all(|after| view::list_segments(&story.rows, after.unwrap_or(SegmentId(0)), ROWS));
    assert_eq!(left.len() as u64, SEGMENTS, "what was published stays");
    assert!(left.iter().all(|target| target.job == published), "its job's id is history");
}

fn retained_until(story: &Story, job: JobId) -> u64 {
    let job = story.job(job);
    let ended = view::status(&job).and_then(|status| status.ended).expect("the job has ended");
    ended.at.0 + RETENTION_MS
}
