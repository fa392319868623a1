//! What the leader keeps of its workers: whose lease counts, who may be offered a task, and who has to say hello again.

use super::{Outgoing, Sessions};
use ferry_machine::apply;
use ferry_machine::command::Command;
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::outcome::Outcome;
use ferry_machine::tables::Memory;
use ferry_machine::time::Stamp;
use ferry_proto::v1::SessionResponse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::Status;

type Hear = mpsc::Receiver<Result<SessionResponse, Status>>;

/// No worker is that fast.
const NO_TIME: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3_600);

fn ok(rows: &mut Memory, command: &Command) -> Outcome {
    apply(rows, command, Stamp::default(), 1).unwrap()
}

fn register(rows: &mut Memory, incarnation: u64) -> WorkerId {
    let (name, labels) = ("w".to_owned(), BTreeMap::new());
    let command = Command::RegisterWorker { name, incarnation, slots: 4, labels, writes_for_ms: 1 };
    let Outcome::Worker(worker) = ok(rows, &command) else { panic!("a registration answers with the worker") };
    worker
}

/// A cluster with one worker, which no leader has heard of yet.
fn registered() -> (Memory, WorkerId, Sessions) {
    let mut rows = Memory::default();
    let sessions = Sessions::begin(&rows);
    ok(&mut rows, &Command::Bootstrap { cluster_id: 7, id_start: 1_000 });
    let worker = register(&mut rows, 1);
    (rows, worker, sessions)
}

/// The worker says hello, with that many attempts that no row knows.
fn connect(sessions: &Sessions, rows: &Memory, worker: (WorkerId, u64), attempts: i64) -> Option<(Outgoing, Hear)> {
    let (outgoing, hear) = mpsc::channel(2);
    let running = (1..=attempts).map(|task| (TaskId(task), 1));
    let connected = sessions.connect(worker, outgoing.clone(), running, || rows.clone());
    connected.then_some((outgoing, hear))
}

fn slots_free(sessions: &Sessions, rows: &Memory) -> Vec<u32> {
    sessions.connected(rows).iter().map(|connected| connected.slots_free).collect()
}

#[test]
fn a_worker_that_does_not_read_has_to_say_hello_again() {
    let (rows, worker, sessions) = registered();
    let slow = connect(&sessions, &rows, (worker, 1), 3).unwrap();
    assert!(sessions.renew(worker, 1, Instant::now()));
    assert_eq!(slots_free(&sessions, &rows), [4]);
    sessions.reconcile(|| rows.clone());
    assert!(slots_free(&sessions, &rows).is_empty(), "the third drop did not fit into the queue");
    assert!(!sessions.renew(worker, 1, Instant::now()), "or it would be renewed for ever and hear nothing");
    drop(slow);
    let _reads = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    assert!(sessions.renew(worker, 1, Instant::now()));
}

#[test]
fn a_worker_that_is_about_to_be_declared_lost_is_not_renewed() {
    let (rows, worker, sessions) = registered();
    let _connection = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    assert!(!sessions.any_silent_for(LONG) && sessions.any_silent_for(NO_TIME));
    assert!(sessions.take_silent_for(LONG).is_empty());
    assert_eq!(sessions.take_silent_for(NO_TIME), [(worker, 1)]);
    assert!(!sessions.renew(worker, 1, Instant::now()));
    assert!(!sessions.any_silent_for(NO_TIME), "it is declared lost once");
}

#[test]
fn a_start_that_registered_and_never_connected_is_granted_one_lease_and_lost_then() {
    let (mut rows, worker, sessions) = registered();
    let _connection = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    register(&mut rows, 2);
    assert_eq!(sessions.take_silent_for(NO_TIME), [(worker, 1)], "whose loss the machine refuses");
    sessions.grant(&rows, worker);
    assert!(!sessions.any_silent_for(LONG));
    assert_eq!(sessions.take_silent_for(NO_TIME), [(worker, 2)]);
    ok(&mut rows, &Command::LoseWorker { worker, incarnation: 2, writes_for_ms: 1 });
    sessions.grant(&rows, worker);
    assert!(!sessions.any_silent_for(NO_TIME), "what is lost has no lease to end");
}

#[test]
fn a_start_that_was_replaced_while_it_registered_does_not_connect() {
    let (mut rows, worker, sessions) = registered();
    register(&mut rows, 2);
    assert!(connect(&sessions, &rows, (worker, 1), 0).is_none());
    assert!(!sessions.renew(worker, 1, Instant::now()));
    assert!(connect(&sessions, &rows, (worker, 2), 0).is_some());
}

#[test]
fn an_older_connection_takes_nothing_with_it_when_it_ends() {
    let (rows, worker, sessions) = registered();
    let (older, _hear_older) = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    let (newer, _hear_newer) = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    sessions.disconnect(worker, &older);
    assert_eq!(slots_free(&sessions, &rows), [4]);
    sessions.disconnect(worker, &newer);
    assert!(slots_free(&sessions, &rows).is_empty());
}

#[test]
fn a_worker_that_gave_an_attempt_back_is_offered_none_for_a_while() {
    let (rows, worker, sessions) = registered();
    let _first = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    sessions.gave_back(worker);
    assert_eq!(slots_free(&sessions, &rows), [0]);
    let _again = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    assert_eq!(slots_free(&sessions, &rows), [4], "a new hello is a new beginning");
}

#[test]
fn no_attempt_finishes_between_the_read_of_its_rows_and_what_is_sent_for_them() {
    let (rows, worker, sessions) = registered();
    let (_outgoing, mut hear) = connect(&sessions, &rows, (worker, 1), 1).unwrap();
    sessions.reconcile(|| {
        assert!(sessions.workers.try_lock().is_err(), "or `finished` could come in between");
        rows.clone()
    });
    assert!(hear.try_recv().is_ok(), "the attempt that no row knows is dropped");
    assert!(sessions.finished(worker, TaskId(1), 1));
    assert!(!sessions.finished(worker, TaskId(1), 1), "which is known from then on");
    sessions.reconcile(|| rows.clone());
    assert!(hear.try_recv().is_err());
}
