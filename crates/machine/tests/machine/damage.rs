//! The check finds damage: whatever row is lost, added or altered, something does not agree any more.

use crate::story::{Story, mapping, page, submit};
use ferry_machine::check;
use ferry_machine::command::{Command, FailureKind};
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::key::{DueItem, Key, Stage};
use ferry_machine::limits;
use ferry_machine::row::{Copied, Published, PublishedSegment, Row, Targets};
use ferry_machine::tables::{Read, Tables};
use ferry_machine::time::Time;
use ferry_machine::view::State;

/// A cluster with a job of every kind.
fn rich() -> Story {
    let mut story = Story::new();
    let lost = story.worker("lost", 1);
    story.worker("w", 3);
    let completed = story.submit("completed", 2);
    story.run(completed);
    let failed = story.submit_with("failed", 3, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    story.copy(begun[0]);
    story.fail(begun[1], FailureKind::Permanent, "gone");
    story.lose(lost);
    for lease in begun.iter().filter(|lease| lease.worker != lost).skip(2) {
        story.ok(Command::ReleaseTask { lease: *lease, writes_for_ms: 0 });
    }
    story.lead();
    let canceled = story.submit("canceled", 1);
    story.ok(Command::CancelJob { job: canceled });
    story.submit_with("executing", 4, |spec| spec.options.segments_per_task_max = 1);
    story.lead();
    story.submit("pending", 2);
    story.ok(submit(page("draft", 0, 2, &[mapping(1, 77)])));
    assert_ne!(story.job(failed).counts.tasks_created, 0);
    assert_eq!(check(&story.rows), []);
    story
}

#[test]
fn every_lost_row_is_noticed() {
    let story = rich();
    // The target of a job that gave it up may be gone: another draft may have taken it over, and been dropped since.
    let given_up = |row: &Row| {
        let Row::Targets(targets) = row else { return false };
        story.state(targets.job) == Some(State::Canceled)
    };
    for (key, _) in story.rows.rows().filter(|(_, row)| !given_up(row)) {
        let mut damaged = story.rows.clone();
        damaged.delete(key);
        assert!(!check(&damaged).is_empty(), "{key:?} was lost");
    }
}

#[test]
fn every_index_entry_that_follows_from_nothing_is_noticed() {
    let story = rich();
    let (job, task, at) = (JobId(1_002), TaskId(1_005), Time(123));
    for key in [
        Key::Stage(Stage::CreatingTasks, JobId(1)),
        Key::Stage(Stage::Collecting, job),
        Key::Due(at, DueItem::Job(job)),
        Key::Due(at, DueItem::Request("completed".to_owned())),
        Key::Dispatch(1, job),
        Key::Queue(job, at, task),
        Key::Assignment(WorkerId(1_000), task),
        Key::LostWorker(WorkerId(1_001)),
    ] {
        let mut damaged = story.rows.clone();
        damaged.put(key.clone(), Row::Index);
        assert!(!check(&damaged).is_empty(), "{key:?} follows from nothing");
    }
    let mut damaged = story.rows;
    damaged.put(Key::WorkerName("nobody".to_owned()), Row::WorkerName(WorkerId(5)));
    assert!(!check(&damaged).is_empty());
}

/// A row altered so that it contradicts another one.
fn altered(row: &Row) -> Option<Row> {
    let mut row = row.clone();
    match &mut row {
        Row::Cluster(cluster) => cluster.tasks.pending += 1,
        Row::Job(job) => job.counts.bytes_copied += 1,
        Row::Task(task) if task.segments.is_empty() => task.claimed = !task.claimed,
        Row::Task(task) => drop(task.segments.pop()),
        Row::Targets(targets) => targets.first.0 -= 1,
        Row::Mappings(mappings) => drop(mappings.pop()),
        Row::Request(request) => request.job = JobId(3),
        Row::Worker(worker) => worker.leased += 1,
        Row::WorkerName(worker) => worker.0 += 1,
        Row::Index => return None,
        Row::Event(event) => event.job.0 += 1,
    }
    Some(row)
}

#[test]
fn every_altered_row_is_noticed() {
    let story = rich();
    for (key, row) in story.rows.rows() {
        let Some(row) = altered(row) else { continue };
        let mut damaged = story.rows.clone();
        damaged.put(key.clone(), row);
        assert!(!check(&damaged).is_empty(), "{key:?} was altered");
    }
}

#[test]
fn targets_that_are_published_or_not_against_their_job_or_overlap_are_noticed() {
    let story = rich();
    let of_published = |count: i64| {
        let segment = PublishedSegment { source: SegmentId(1), copied: Copied { partition_id: 1, rows: 1, bytes: 1 } };
        Published { collection_id: 1, segments: (0..count).map(|_| segment).collect() }
    };
    let mut published = 0;
    for (key, row) in story.rows.rows() {
        let (Key::Targets(last), Row::Targets(targets)) = (key, row) else { continue };
        let mut other = targets.clone();
        other.published = match &targets.published {
            Some(_) => None,
            None => Some(of_published(last.0 - targets.first.0 + 1)),
        };
        published += usize::from(targets.published.is_some());
        let overlapping = Targets { first: SegmentId(targets.first.0 - 1), ..targets.clone() };
        let nobodys = Targets { job: JobId(3), ..targets.clone() };
        for other in [other, overlapping, nobodys] {
            let mut damaged = story.rows.clone();
            damaged.put(key.clone(), Row::Targets(other.clone()));
            assert!(!check(&damaged).is_empty(), "{key:?} was altered to {other:?}");
        }
    }
    assert!(published > 0);
}

#[test]
fn damage_of_what_collected_jobs_published_is_noticed_though_nothing_else_tells_of_it() {
    let mut story = Story::new();
    story.worker("w", 1);
    for request in ["first", "second"] {
        let job = story.submit(request, 2);
        story.run(job);
    }
    story.wait(4 * 3_600_000);
    story.lead();
    let of_key = |key: &Key| if let Key::Targets(last) = key { Some(last.0) } else { None };
    let runs: Vec<_> = story.rows.rows().filter_map(|(key, row)| Some((of_key(key)?, row.clone()))).collect();
    let [(before, _), (last, Row::Targets(run))] = &runs[..] else { panic!("{runs:?}") };
    let altered = |first: i64, count: i64| {
        let Some(published) = &run.published else { panic!("{run:?}") };
        let segments = (0..count).map(|_| published.segments[0]).collect();
        let published = Some(Published { segments, ..published.clone() });
        Row::Targets(Targets { first: SegmentId(first), published, ..run.clone() })
    };
    let (first, a_run) = (run.first.0, limits::TARGETS_PER_RUN_MAX as i64);
    for (what, damaged) in [
        ("one too few", altered(first, 1)),
        ("one too many", altered(first, 3)),
        ("none", altered(last + 1, 0)),
        ("some of the other run's", altered(*before, last - before + 1)),
        ("more than a row may have", altered(last - a_run, a_run + 1)),
    ] {
        let mut rows = story.rows.clone();
        if what == "more than a row may have" {
            rows.delete(&Key::Targets(SegmentId(*before)));
        }
        rows.put(Key::Targets(SegmentId(*last)), damaged);
        assert!(!check(&rows).is_empty(), "{what}");
    }
    assert_eq!(check(&story.rows), []);
}

#[test]
fn a_list_of_targets_that_overlaps_or_is_too_long_is_noticed_also_where_nobody_holds_them_any_more() {
    let mut story = Story::new();
    let job = story.submit("r", 1);
    story.ok(Command::CancelJob { job });
    story.lead();
    assert!(story.tasks(job).is_empty());
    let [(_, Row::Mappings(mappings))] = &lists(&story)[..] else { panic!("one list") };
    let run = |count: usize| Row::Mappings(vec![mappings[0]; count]);
    let a_run = limits::TARGETS_PER_RUN_MAX;
    for (what, wrong) in [("none", run(0)), ("too many", run(a_run + 1)), ("another's", run(3))] {
        let mut rows = story.rows.clone();
        let (Key::JobTargets(_, last), _) = lists(&story)[0] else { panic!("a list") };
        // The job says that it has as many more, so that their number is right.
        let Some(Row::Job(mut row)) = rows.get(&Key::Job(job)) else { panic!("the job has a row") };
        let Row::Mappings(of_wrong) = &wrong else { unreachable!() };
        row.mappings = 1 + of_wrong.len() as u64;
        row.spec.segments = row.mappings;
        rows.put(Key::Job(job), Row::Job(row));
        rows.put(Key::JobTargets(job, SegmentId(last.0 + 2)), wrong);
        let told: Vec<_> = check(&rows).into_iter().filter(|one| matches!(one.key, Key::JobTargets(..))).collect();
        assert!(!told.is_empty(), "{what}: {:?}", check(&rows));
    }
}

fn lists(story: &Story) -> Vec<(&Key, &Row)> {
    story.rows.rows().filter(|(key, _)| matches!(key, Key::JobTargets(..))).collect()
}

#[test]
fn a_mapping_that_differs_from_that_of_its_task_is_noticed() {
    let story = rich();
    let mut altered = 0;
    for (key, row) in story.rows.rows() {
        let (Key::JobTargets(job, _), Row::Mappings(mappings)) = (key, row) else { continue };
        // A draft or pending job has no tasks yet: nothing but its own list says where its targets come from.
        if !matches!(story.state(*job), Some(state) if state != State::Pending) || story.tasks(*job).is_empty() {
            continue;
        }
        let mut mappings = mappings.clone();
        mappings[0].source.0 += 1;
        let mut damaged = story.rows.clone();
        damaged.put(key.clone(), Row::Mappings(mappings));
        assert!(!check(&damaged).is_empty(), "{key:?} was altered");
        altered += 1;
    }
    assert!(altered >= 3, "{altered}");
}

#[test]
fn what_was_copied_is_told_by_the_task_alone_until_settling_writes_it_down_and_equals_it_then() {
    let story = rich();
    let (mut copied, mut settled) = (0, 0);
    let told = |was: Copied| [Copied { rows: was.rows + 1, ..was }, Copied { bytes: was.bytes + 1, ..was }];
    for (key, row) in story.rows.rows() {
        let altered = match row {
            Row::Task(task) => {
                let Some(was) = task.segments.first().and_then(|segment| segment.copied) else { continue };
                copied += 1;
                let with = |copied| {
                    let mut task = task.clone();
                    task.segments[0].copied = Some(copied);
                    Row::Task(task)
                };
                told(was).map(with)
            }
            Row::Targets(targets) => {
                let Some(published) = &targets.published else { continue };
                settled += 1;
                let with = |copied| {
                    let mut published = published.clone();
                    published.segments[0].copied = copied;
                    Row::Targets(Targets { published: Some(published), ..targets.clone() })
                };
                told(published.segments[0].copied).map(with)
            }
            _ => continue,
        };
        for altered in altered {
            let mut damaged = story.rows.clone();
            damaged.put(key.clone(), altered.clone());
            assert!(!check(&damaged).is_empty(), "{key:?} was altered to {altered:?}");
        }
    }
    assert!(copied > 0 && settled > 0, "{copied} {settled}");
}

#[test]
fn a_violation_says_where_and_what() {
    let mut story = rich();
    let Some(Row::Cluster(mut cluster)) = story.rows.get(&Key::Cluster) else { panic!("the cluster has a row") };
    cluster.workers = 9;
    story.rows.put(Key::Cluster, Row::Cluster(cluster));
    let told: Vec<_> = check(&story.rows).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["Cluster: workers is stored as 9, and counted as 2"]);
}
