//! Workers: registration, draining, and the release of what lost ones had, in pages.

use crate::story::{LATE_WRITES_MS, Story, WRITES_FOR_MS};
use ferry_machine::command::Command;
use ferry_machine::limits;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::WorkerState;
use ferry_machine::view;
use std::collections::BTreeMap;

fn register(name: &str, slots: u32) -> Command {
    let (name, labels) = (name.to_owned(), BTreeMap::new());
    Command::RegisterWorker {
        name,
        incarnation: 1,
        slots,
        labels,
        writes_for_ms: WRITES_FOR_MS,
        late_writes_ms: LATE_WRITES_MS,
        settled: BTreeMap::new(),
    }
}

#[test]
fn a_worker_is_known_by_its_name() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    assert_eq!(story.register("w", 1, 5), worker);
    assert_eq!(story.register("w", 2, 6), worker);
    assert_ne!(story.worker("v", 1), worker);
    let row = view::worker_named(&story.rows, "w").expect("it is registered");
    assert_eq!((row.slots, row.incarnation, row.state), (6, 2, WorkerState::Active));
    assert_eq!(view::cluster(&story.rows).map(|cluster| cluster.workers), Some(2));
}

#[test]
fn a_registration_that_cannot_be_is_refused() {
    let mut story = Story::new();
    for (command, expected) in [
        (register("", 1), "name"),
        (register("w", 0), "slots"),
        (register("w", limits::SLOTS_PER_WORKER_MAX + 1), "slots"),
        (register(&"w".repeat(limits::NAME_BYTES_MAX + 1), 1), "name"),
    ] {
        let rejection = story.refused(command);
        assert!(matches!(&rejection, Rejection::Invalid { field, .. } if field == expected), "{rejection}");
    }
}

#[test]
fn a_draining_worker_finishes_what_it_has_and_gets_nothing_new() {
    let mut story = Story::new();
    let worker = story.worker("w", 2);
    let job = story.submit_with("r", 3, |spec| spec.options.segments_per_task_max = 1);
    let begun = story.lead();
    story.ok(Command::DrainWorker { worker, draining: true });
    story.ok(Command::DrainWorker { worker, draining: true });
    story.copy(begun[0]);
    assert!(story.lead().is_empty());
    assert!(story.explain(job).starts_with("1 worker is drained"));
    story.register("w", 2, 2);
    assert!(story.lead().is_empty(), "a drain outlives a restart");
    story.ok(Command::DrainWorker { worker, draining: false });
    assert_eq!(story.lead().len(), 2);
}

/// A worker with more leases than one command can release.
fn overloaded(story: &mut Story) -> ferry_machine::id::WorkerId {
    let worker = story.worker("w", 250);
    story.submit_with("r", 250, |spec| spec.options.segments_per_task_max = 1);
    story.checks_always = false;
    assert_eq!(story.lead().len(), 250);
    story.checks_always = true;
    worker
}

#[test]
fn what_a_lost_worker_had_is_released_in_pages() {
    let mut story = Story::new();
    let worker = overloaded(&mut story);
    story.lose(worker);
    let leased = |story: &Story| view::worker(&story.rows, worker).expect("it is known").leased;
    assert_eq!(leased(&story), 250 - u32::try_from(limits::RELEASES_PER_PAGE).expect("small"));
    let page = Command::ReleaseWorker { worker, writes_for_ms: WRITES_FOR_MS, late_writes_ms: LATE_WRITES_MS };
    assert_eq!(story.plan().commands, std::slice::from_ref(&page));
    story.lead();
    assert_eq!(leased(&story), 0);
    assert!(matches!(story.refused(page), Rejection::Stale(_)));
    assert_eq!(view::worker(&story.rows, worker).map(|worker| worker.state), Some(WorkerState::Lost));
    story.register("w", 1, 250);
    assert_eq!(view::worker(&story.rows, worker).map(|worker| worker.state), Some(WorkerState::Active));
}

#[test]
fn a_returning_worker_gets_tasks_once_everything_is_released() {
    let mut story = Story::new();
    let worker = overloaded(&mut story);
    story.register("w", 2, 250);
    let state = |story: &Story| view::worker(&story.rows, worker).map(|worker| worker.state);
    assert_eq!(state(&story), Some(WorkerState::Returning));
    assert!(story.plan().assignments.is_empty());
    story.checks_always = false;
    let again = story.lead();
    assert_eq!((state(&story), again.len()), (Some(WorkerState::Active), 250));
    assert_eq!(ferry_machine::check(&story.rows), []);
}

#[test]
fn a_loss_of_an_incarnation_that_is_gone_is_stale() {
    let mut story = Story::new();
    let worker = story.worker("w", 1);
    story.register("w", 2, 1);
    let (writes_for_ms, late_writes_ms, settled) = (WRITES_FOR_MS, LATE_WRITES_MS, BTreeMap::new());
    let late = Command::LoseWorker { worker, incarnation: 1, writes_for_ms, late_writes_ms, settled };
    assert!(matches!(story.refused(late), Rejection::Stale(_)));
    let keeps = Command::ReleaseWorker { worker, writes_for_ms: WRITES_FOR_MS, late_writes_ms: LATE_WRITES_MS };
    assert!(matches!(story.refused(keeps), Rejection::Stale(_)));
}
