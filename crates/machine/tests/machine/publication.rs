//! The publication: a job completes by the one task that writes the copy's snapshot metadata file, and a job that ends
//! otherwise deletes that file before any of its copies.

use crate::story::{SEGMENT_ROWS, Story, WRITES_FOR_MS, mapping, page, submit};
use ferry_machine::check;
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::key::Key;
use ferry_machine::limits;
use ferry_machine::outcome::{Outcome, Rejection};
use ferry_machine::restore::{Restore, Step, restore};
use ferry_machine::row::{FailurePolicy, JobSpec, Row, Settle, Work};
use ferry_machine::tables::{Memory, Read, Tables};
use ferry_machine::view::{self, CleanUpState, SegmentState, State};
use std::cell::Cell;
use std::ops::Bound;

impl Story {
    /// The lease of the publication of a job whose copies are complete.
    pub(crate) fn publication(&mut self, job: JobId) -> LeaseRef {
        let begun = self.lead();
        let publishes = |lease: &LeaseRef| {
            let task = self.task(lease.task);
            task.job == job && view::work(&task) == Work::Publish
        };
        let publication = begun.into_iter().find(publishes);
        publication.unwrap_or_else(|| panic!("job {job} is not published: {}", self.explain(job)))
    }

    /// Publishes a job whose copies are complete.
    pub(crate) fn publish(&mut self, job: JobId) -> Outcome {
        let lease = self.publication(job);
        self.copy(lease)
    }
}

fn two_copies(spec: &mut JobSpec) {
    spec.options.segments_per_task_max = 1;
    spec.options.attempts_max = 2;
}

/// A job of two copies, both complete, and the claimed lease of its publication.
fn about_to_publish(story: &mut Story) -> (JobId, LeaseRef) {
    story.worker("w", 4);
    let job = story.submit_mappings("r", &[mapping(1, 11), mapping(2, 12)], two_copies);
    for lease in story.lead() {
        story.copy(lease);
    }
    let publication = story.publication(job);
    story.claim(publication);
    (job, publication)
}

/// The same, canceled, its publication stopped, and everything proposed that the leader can propose.
fn canceled(story: &mut Story) -> (JobId, LeaseRef) {
    let (job, publication) = about_to_publish(story);
    story.ok(Command::CancelJob { job });
    story.ok(Command::ReleaseTask { lease: publication, writes_for_ms: 0 });
    let begun = story.lead();
    assert_eq!(begun.len(), 1, "the metadata file alone is deleted: {}", story.explain(job));
    assert_eq!(begun[0].task, publication.task);
    (job, begun[0])
}

fn work(story: &Story, lease: LeaseRef) -> Work {
    view::work(&story.task(lease.task))
}

#[test]
fn a_job_with_segments_has_a_snapshot_id_and_one_task_more_than_it_has_copies() {
    let mut story = Story::new();
    for (segments, width, tasks) in [(1, 10, 2), (10, 10, 2), (11, 10, 3), (300, 1, 301), (600, 1, 601)] {
        let job = story.submit_with(&format!("{segments} by {width}"), segments, |spec| {
            spec.options.segments_per_task_max = width;
        });
        assert_eq!(view::tasks_planned(&story.job(job).spec), tasks);
        story.lead();
        assert_eq!(story.state(job), Some(State::Executing));
        let (row, rows) = (story.job(job), story.tasks(job));
        assert_eq!(rows.len() as u64, tasks);
        let publishing: Vec<_> = rows.iter().filter(|task| view::work(task) == Work::Publish).collect();
        assert_eq!(publishing.len(), 1);
        assert_eq!(publishing[0].id, rows.last().expect("it has tasks").id);
        assert_eq!((publishing[0].queued_at, publishing[0].segments.len()), (None, 0));
        assert!(!rows.iter().any(|task| task.id.0 == row.snapshot_id), "an id of its own");
        assert!(row.snapshot_id > 0);
    }
    let empty = story.submit("empty", 0);
    assert_eq!((story.job(empty).snapshot_id, view::tasks_planned(&story.job(empty).spec)), (0, 0));
}

#[test]
fn the_report_of_the_last_copy_queues_the_publication_and_its_own_report_alone_completes_the_job() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, two_copies);
    let begun = story.lead();
    let planned = story.job(job).first_task.0 + 2;
    story.copy(begun[1]);
    assert!(story.lead().is_empty(), "a copy is left: {}", story.explain(job));
    story.wait(7);
    story.copy(begun[0]);
    let publication = story.publication(job);
    assert_eq!((publication.task.0, publication.attempt), (planned, 1));
    assert_eq!(story.state(job), Some(State::Executing));
    story.refused(story.copied(publication));
    story.claim(publication);
    assert_eq!(story.state(job), Some(State::Executing));
    let report = story.copied(publication);
    assert_eq!(story.ok(report.clone()), Outcome::Reported { job_ended: true });
    assert_eq!(story.state(job), Some(State::Completed));
    assert_eq!(story.ok(report), Outcome::Reported { job_ended: false }, "repeated");
    story.lead();
    assert_eq!(story.segment_states(job), ["flushed"].into());
}

#[test]
fn a_publication_is_retried_lost_exhausted_and_refused_as_a_copy_is() {
    let policies = [FailurePolicy::Fail, FailurePolicy::Keep, FailurePolicy::Pause];
    for (name, policy) in ["fails", "keeps", "pauses"].into_iter().zip(policies) {
        let mut story = Story::new();
        let worker = story.worker("w", 1);
        let job = story.submit_with(name, 1, |spec| {
            two_copies(spec);
            spec.options.on_failure = policy;
        });
        let copy = story.lead()[0];
        story.copy(copy);
        let lost = story.publication(job);
        story.lose(worker);
        story.worker("another", 1);
        let again = story.publication(job);
        assert_eq!((again.task, again.attempt, story.task(again.task).failures), (lost.task, 2, 1));
        story.fail(again, FailureKind::Transient, "throttled");
        match policy {
            FailurePolicy::Fail | FailurePolicy::Keep => {
                assert_eq!(story.status(job).reason, "1/2 tasks failed: throttled");
            }
            FailurePolicy::Pause => {
                assert_eq!(story.job(job).paused_by, Some(lost.task));
                story.ok(Command::PauseJob { job, paused: false });
                story.wait(limits::BACKOFF_MAX_MS);
                story.publish(job);
                assert_eq!(story.state(job), Some(State::Completed));
            }
        }
    }
}

#[test]
fn a_permanent_failure_of_the_publication_before_its_claim_cleans_up_the_copies_at_once() {
    let mut story = Story::new();
    story.worker("w", 4);
    let job = story.submit_with("r", 2, two_copies);
    for lease in story.lead() {
        story.copy(lease);
    }
    let publication = story.publication(job);
    story.fail(publication, FailureKind::Permanent, "metadata/7.json exists already");
    assert_eq!(story.status(job).reason, "1/3 tasks failed: metadata/7.json exists already");
    let begun = story.lead();
    assert_eq!(begun.len(), 2, "nothing of it was written: {}", story.explain(job));
    assert!(begun.iter().all(|lease| work(&story, *lease) == Work::CleanUp && lease.task != publication.task));
    for lease in begun {
        story.clean(lease);
    }
    assert_eq!(story.status(job).clean_up, CleanUpState::Done);
}

#[test]
fn a_job_that_ends_after_the_claim_deletes_the_metadata_file_first_and_keeps_its_targets_until_all_is_settled() {
    for end in ["canceled", "timed out", "failed"] {
        let mut story = Story::new();
        let (job, publication) = about_to_publish(&mut story);
        match end {
            "canceled" => drop(story.ok(Command::CancelJob { job })),
            "timed out" => drop(story.ok(Command::FailJob { job, reason: "timeout".to_owned() })),
            _ => drop(story.fail(publication, FailureKind::Permanent, "the disk is gone")),
        }
        if end != "failed" {
            assert_eq!(story.explain(job), "it has ended; 1 attempt still to stop");
            let late = story.copied(publication);
            assert_eq!(story.ok(late), Outcome::Released(publication.task), "a late report publishes nothing");
        }
        let held = |story: &mut Story| {
            let rejection = story.refused(submit(page("other", 0, 1, &[mapping(5, 11)])));
            assert!(matches!(rejection, Rejection::TargetHeld { .. }), "{rejection}");
            assert!(story.explained(job).holds_targets);
        };
        assert_eq!(story.status(job).clean_up, CleanUpState::Pending);
        let first = story.lead();
        assert_eq!(first.len(), 1, "{end}: {}", story.explain(job));
        assert_eq!((first[0].task, work(&story, first[0])), (publication.task, Work::CleanUp));
        assert_eq!((story.job(job).settle, story.status(job).clean_up), (Settle::Metadata, CleanUpState::Running));
        let explained = story.explain(job);
        assert!(explained.contains("files of 3 tasks are to be deleted"), "{explained}");
        held(&mut story);
        story.wait(50_000);
        assert_eq!(story.plan().commands, [], "nothing else is due before");

        story.clean(first[0]);
        assert_eq!(story.status(job).clean_up, CleanUpState::Pending);
        held(&mut story);
        let copies = story.lead();
        assert_eq!(copies.len(), 2, "{end}: {}", story.explain(job));
        assert!(copies.iter().all(|lease| work(&story, *lease) == Work::CleanUp && lease.task != publication.task));
        for lease in copies {
            held(&mut story);
            story.clean(lease);
        }
        assert_eq!(story.status(job).clean_up, CleanUpState::Done);
        assert!(!story.explained(job).holds_targets);
        story.ok(submit(page("other", 0, 1, &[mapping(5, 11)])));
        story.wait(story.job(job).spec.options.retention_ms);
        story.lead();
        assert_eq!(story.state(job), None);
    }
}

#[test]
fn a_lost_publisher_may_write_for_a_while_so_its_file_is_deleted_after_that() {
    let mut story = Story::new();
    let (job, publication) = about_to_publish(&mut story);
    story.ok(Command::CancelJob { job });
    story.lose(publication.worker);
    story.worker("another", 4);
    story.wait(WRITES_FOR_MS - 1);
    assert!(story.lead().is_empty(), "{}", story.explain(job));
    assert_eq!(story.job(job).settle, Settle::Metadata);
    assert!(story.explain(job).contains("attempts of a lost worker may write"), "{}", story.explain(job));
    story.wait(1);
    let first = story.lead();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].task, publication.task);
}

#[test]
fn a_metadata_file_that_cannot_be_deleted_is_left_over_after_all_attempts_and_the_copies_follow() {
    let mut story = Story::new();
    let (job, first) = canceled(&mut story);
    story.fail(first, FailureKind::Refused, "delete is denied");
    assert_eq!((story.job(job).settle, story.status(job).clean_up), (Settle::Metadata, CleanUpState::Pending));
    assert!(story.lead().is_empty(), "it is tried again before any copy is deleted: {}", story.explain(job));
    story.wait(limits::BACKOFF_MAX_MS);
    let again = story.lead();
    assert_eq!(again.len(), 1);
    story.fail(again[0], FailureKind::Permanent, "delete is denied");
    assert_eq!(story.status(job).clean_up, CleanUpState::Pending, "the copies are left");
    let copies = story.lead();
    assert_eq!(copies.len(), 2, "the publication is not queued again: {}", story.explain(job));
    for lease in copies {
        story.clean(lease);
    }
    assert_eq!((story.status(job).clean_up, story.job(job).clean_up_left_over), (CleanUpState::LeftOver, 1));
    assert!(!story.explained(job).holds_targets);
}

#[test]
fn a_repeated_or_early_page_of_settling_changes_nothing_while_the_metadata_file_is_deleted() {
    let mut story = Story::new();
    let (job, first) = canceled(&mut story);
    let before_first = TaskId(story.job(job).first_task.0 - 1);
    let cursors = [
        Settle::Segments { after: SegmentId(0) },
        Settle::Metadata,
        Settle::Tasks { after: before_first },
        Settle::Done,
    ];
    for settle in cursors {
        let rejection = story.refused(Command::SettleJob { job, settle });
        assert!(matches!(rejection, Rejection::Stale(_)), "{rejection}");
    }
    story.ok(Command::ReleaseTask { lease: first, writes_for_ms: 0 });
    for settle in cursors {
        story.refused(Command::SettleJob { job, settle });
    }
    let again = story.lead();
    assert_eq!(again.len(), 1);
    story.clean(again[0]);
    story.clean(again[0]);
    assert_eq!(story.job(job).settle, Settle::Tasks { after: before_first });
}

#[test]
fn a_restore_goes_on_with_the_publication_and_with_its_clean_up() {
    let new = Restore { cluster_id: 8, id_margin: 5_000, revision: 1_000_000, wall_ms: 1_800_000_000_000 };
    let restored = |mut story: Story| {
        let mut step = Some(Step::Cluster);
        while let Some(next) = step {
            step = restore(&mut story.rows, &new, next).expect("the rows fit together");
            assert_eq!(check(&story.rows), [], "after {next:?}");
        }
        story.connected.clear();
        story.register("new", 1, 4);
        story
    };
    let mut story = Story::new();
    let (job, publication) = about_to_publish(&mut story);
    let mut story = restored(story);
    let again = story.publication(job);
    assert_eq!(again.task, publication.task);
    assert!(story.task(again.task).claimed, "what the old cluster wrote is the job's own");
    story.copy(again);
    assert_eq!(story.state(job), Some(State::Completed));

    let mut story = Story::new();
    let (job, _) = canceled(&mut story);
    let mut story = restored(story);
    assert!(story.lead().is_empty(), "workers of the old cluster may write yet: {}", story.explain(job));
    story.wait(60_000);
    let first = story.lead();
    assert_eq!((first.len(), story.job(job).settle), (1, Settle::Metadata));
    story.clean(first[0]);
    assert_eq!(story.lead().len(), 2);
}

#[test]
fn copies_that_are_cleaned_up_before_the_metadata_file_and_a_publication_before_its_copies_are_noticed() {
    let mut story = Story::new();
    let (job, first) = canceled(&mut story);
    let alter_job = |settle| {
        let Some(Row::Job(mut row)) = story.rows.get(&Key::Job(job)) else { panic!("the job has a row") };
        row.settle = settle;
        row
    };
    for settle in [Settle::Segments { after: SegmentId(0) }, Settle::Done] {
        let mut rows = story.rows.clone();
        rows.put(Key::Job(job), Row::Job(alter_job(settle)));
        let told = check(&rows);
        let of_task = told.iter().find(|violation| violation.key == Key::Task(first.task));
        assert!(of_task.is_some_and(|one| one.problem.contains("turn")), "{settle:?}: {told:?}");
    }

    let mut story = Story::new();
    story.worker("w", 1);
    let job = story.submit_with("r", 2, two_copies);
    story.lead();
    let publication = story.tasks(job).pop().expect("it has tasks").id;
    let Some(Row::Task(mut row)) = story.rows.get(&Key::Task(publication)) else { panic!("it has a row") };
    row.claimed = true;
    story.rows.put(Key::Task(publication), Row::Task(row));
    let told: Vec<_> = check(&story.rows).iter().map(|violation| violation.problem.clone()).collect();
    assert!(told.contains(&"publishes before every copy is complete".to_owned()), "{told:?}");
}

/// Rows of a story, and how often they were looked at.
struct Looks<'a> {
    rows: &'a Memory,
    looks: Cell<usize>,
}

impl Read for Looks<'_> {
    fn get(&self, key: &Key) -> Option<Row> {
        self.looks.update(|looks| looks + 1);
        self.rows.get(key)
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        let rows = self.rows.scan(from, to, rows_max);
        self.looks.update(|looks| looks + rows.len());
        rows
    }
}

#[test]
fn what_a_publication_names_is_listed_in_pages_that_look_at_each_task_once() {
    let (segments, width, page_max) = (20_000_u64, 10, 1_000);
    let mut story = Story::new();
    story.checks_always = false;
    story.worker("w", 1_000);
    let job = story.submit_with("r", segments, |spec| spec.options.segments_per_task_max = width);
    for _ in 0..2 {
        for lease in story.lead() {
            story.copy(lease);
        }
    }
    story.publication(job);
    let (row, mut after, mut count) = (story.job(job), SegmentId(0), 0);
    loop {
        let read = Looks { rows: &story.rows, looks: Cell::new(0) };
        let page = view::list_job_segments(&read, &row, after, page_max);
        // The tasks of the page, and a few for its runs of mappings and the search for the first of these tasks.
        let most = page_max / width as usize + 60;
        assert!(read.looks.get() <= most, "{} looks for a page of {page_max}", read.looks.get());
        for segment in &page.items {
            count += 1;
            assert_eq!((segment.source.0, segment.partition_id, segment.rows), (count, 1, SEGMENT_ROWS), "{segment:?}");
            assert!(segment.id > after && segment.state == SegmentState::Importing, "{segment:?}");
            after = segment.id;
        }
        match page.next {
            Some(next) => assert_eq!(next, after),
            None => break,
        }
    }
    assert_eq!(count.unsigned_abs(), segments);
    assert_eq!(check(&story.rows), []);
}
