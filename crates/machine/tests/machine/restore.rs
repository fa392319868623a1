//! The rows of a backup become those of a new cluster: what ran is given back, nothing that was handed out comes again,
//! and every invariant holds after every step.

use crate::story::{ID_START, Story};
use ferry_machine::check;
use ferry_machine::command::{Command, FailureKind, LeaseRef};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::key::Key;
use ferry_machine::outcome::Outcome;
use ferry_machine::restore::{Restore, RestoreError, Step, restore};
use ferry_machine::row::{Row, WorkerState};
use ferry_machine::tables::{Memory, Read, Tables};
use ferry_machine::view::{self, State};

/// What the new cluster of these stories is.
const NEW: Restore = Restore { cluster_id: 8, id_margin: 5_000, revision: 1_000_000, wall_ms: 1_800_000_000_000 };
/// Attempts that a restore leaves out, as ARCHITECTURE.md promises.
const ATTEMPTS_LEFT_OUT: u32 = 1_000;
/// How long a worker of the old cluster may still write.
const OLD_WRITES_FOR_MS: u64 = 60_000;

/// All steps, with the invariants checked after each.
fn restore_all(rows: &mut Memory) {
    let mut step = Some(Step::Cluster);
    while let Some(next) = step {
        step = restore(rows, &NEW, next).expect("the rows fit together");
        assert_eq!(check(rows), [], "after {next:?}");
    }
}

/// After a restore no worker of the old cluster has a session.
fn restored(mut story: Story) -> Story {
    restore_all(&mut story.rows);
    story.connected.clear();
    story
}

fn one_segment_a_task(spec: &mut ferry_machine::row::JobSpec) {
    spec.options.segments_per_task_max = 1;
}

#[test]
fn what_ran_is_given_back_uses_up_no_attempt_and_its_old_attempts_count_no_more() {
    let mut story = Story::new();
    let old = story.worker("w", 300);
    let job = story.submit_with("r", 300, one_segment_a_task);
    let begun = story.lead();
    assert_eq!(begun.len(), 300, "more than a worker gives back in one step");
    story.claim(begun[0]);
    let late = story.copied(begun[0]);

    let mut story = restored(story);
    let mut tasks = story.tasks(job);
    let publication = tasks.pop().expect("the last one publishes");
    assert!(publication.lease.is_none() && publication.queued_at.is_none(), "{publication:?}");
    for task in tasks {
        assert!(task.lease.is_none() && task.queued_at.is_some(), "{task:?}");
        assert_eq!((task.failures, task.attempt), (0, 1 + ATTEMPTS_LEFT_OUT));
    }
    assert_eq!(view::worker(&story.rows, old).map(|worker| worker.state), Some(WorkerState::Lost));
    story.refused(late);

    story.register("w", 2, 300);
    assert_eq!(story.run(job), State::Completed);
    assert_eq!(check(&story.rows), []);
}

#[test]
fn ids_that_the_old_cluster_may_have_handed_out_after_its_backup_are_left_out() {
    let mut story = Story::new();
    story.submit("r", 3);
    let before = view::cluster(&story.rows).expect("the cluster has begun").next_id;
    assert!(before > ID_START);
    let mut story = restored(story);
    let cluster = view::cluster(&story.rows).expect("the cluster is there");
    assert_eq!((cluster.cluster_id, cluster.next_id), (NEW.cluster_id, before + NEW.id_margin));
    let window = story.ok(Command::ReserveIds { count: 10 });
    assert_eq!(window, Outcome::Ids { first: before + NEW.id_margin, count: 10 });
}

#[test]
fn a_clean_up_waits_until_no_worker_of_the_old_cluster_can_write() {
    let mut story = Story::new();
    story.worker("w", 2);
    let job = story.submit_with("r", 2, one_segment_a_task);
    for lease in story.lead() {
        story.claim(lease);
    }
    story.ok(Command::CancelJob { job });

    let mut story = restored(story);
    story.register("new", 1, 2);
    assert!(story.lead().is_empty(), "they may write yet: {}", story.explain(job));
    story.wait(OLD_WRITES_FOR_MS - 1);
    assert!(story.lead().is_empty(), "they may write yet: {}", story.explain(job));
    story.wait(1);
    let begun = story.lead();
    assert_eq!(begun.len(), 2, "{}", story.explain(job));
    for lease in begun {
        story.clean(lease);
    }
    assert_eq!(story.job(job).clean_up_remaining, 0);
}

#[test]
fn what_had_ended_stays_as_it_was() {
    let mut story = Story::new();
    let lost = story.worker("lost", 1);
    story.worker("w", 1);
    let completed = story.submit("completed", 2);
    story.run(completed);
    let failed = story.submit("failed", 1);
    let lease = story.lead()[0];
    story.fail(lease, FailureKind::Permanent, "gone");
    story.lead();
    story.lose(lost);
    let before: Vec<_> = [completed, failed].map(|job| (story.job(job), story.tasks(job))).into();
    let story = restored(story);
    assert_eq!(before, [completed, failed].map(|job| (story.job(job), story.tasks(job))));
}

#[test]
fn a_restore_without_a_cluster_without_ids_or_with_a_stray_assignment_is_refused() {
    let nothing = restore(&mut Memory::default(), &NEW, Step::Cluster);
    assert_eq!(nothing, Err(RestoreError::NoCluster));

    let mut story = Story::new();
    let too_far = Restore { id_margin: i64::MAX, ..NEW };
    let next_id = view::cluster(&story.rows).expect("the cluster has begun").next_id;
    let expected = RestoreError::Ids { next_id, id_margin: i64::MAX };
    assert_eq!(restore(&mut story.rows, &too_far, Step::Cluster), Err(expected));

    let worker = story.worker("w", 1);
    story.submit("r", 1);
    let LeaseRef { task, .. } = story.lead()[0];
    let Some(Row::Task(mut row)) = story.rows.get(&Key::Task(task)) else { panic!("the task has a row") };
    row.lease = None;
    story.rows.put(Key::Task(task), Row::Task(row));
    let stray = restore(&mut story.rows, &NEW, Step::Workers(WorkerId(worker.0 - 1)));
    assert_eq!(stray, Err(RestoreError::NoLease(task)));
    assert_eq!(restore(&mut story.rows, &NEW, Step::Tasks(TaskId(i64::MAX))), Ok(None));
}
