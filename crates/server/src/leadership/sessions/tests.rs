//! What the leader keeps of its workers: whose lease counts, who may be offered a task, and who has to say hello again.

use super::{OUTGOING_MAX, Outgoing, Sessions};
use ferry_machine::apply;
use ferry_machine::command::{Command, IdMapping, LeaseRef, SubmitPage};
use ferry_machine::id::{JobId, SegmentId, TaskId, WorkerId};
use ferry_machine::outcome::Outcome;
use ferry_machine::row::{JobOptions, JobSpec, LiveOptions};
use ferry_machine::tables::Memory;
use ferry_machine::time::Stamp;
use ferry_machine::view;
use ferry_proto::v1::session_response::Message;
use ferry_proto::v1::{Attempt, SessionResponse};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::Status;

mod shares;

type Hear = mpsc::Receiver<Result<SessionResponse, Status>>;

/// No worker is that fast.
const NO_TIME: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3_600);

fn ok(rows: &mut Memory, command: &Command) -> Outcome {
    apply(rows, command, Stamp::default(), 1).unwrap()
}

fn register(rows: &mut Memory, incarnation: u64) -> WorkerId {
    register_named(rows, "w", incarnation)
}

fn register_named(rows: &mut Memory, name: &str, incarnation: u64) -> WorkerId {
    let (name, labels) = (name.to_owned(), BTreeMap::new());
    let settled = BTreeMap::new();
    let (writes_for_ms, late_writes_ms) = (1, 1);
    let command =
        Command::RegisterWorker { name, incarnation, slots: 4, labels, writes_for_ms, late_writes_ms, settled };
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

/// Workers that are lost, and which start of each.
fn taken(sessions: &Sessions) -> Vec<(WorkerId, u64)> {
    sessions.take_silent_for(NO_TIME).iter().map(|silent| (silent.worker, silent.incarnation)).collect()
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
    assert_eq!(taken(&sessions), [(worker, 1)]);
    assert!(!sessions.renew(worker, 1, Instant::now()));
    assert!(!sessions.any_silent_for(NO_TIME), "it is declared lost once");
}

#[test]
fn a_start_that_registered_and_never_connected_is_granted_one_lease_and_lost_then() {
    let (mut rows, worker, sessions) = registered();
    let _connection = connect(&sessions, &rows, (worker, 1), 0).unwrap();
    register(&mut rows, 2);
    assert_eq!(taken(&sessions), [(worker, 1)], "whose loss the machine refuses");
    sessions.grant(&rows, worker);
    assert!(!sessions.any_silent_for(LONG));
    assert_eq!(taken(&sessions), [(worker, 2)]);
    ok(
        &mut rows,
        &Command::LoseWorker { worker, incarnation: 2, writes_for_ms: 1, late_writes_ms: 1, settled: BTreeMap::new() },
    );
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

/// A job of so many tasks, each of one segment: its id, and that of the first task.
fn submit(rows: &mut Memory, segments: i64, options: JobOptions) -> (JobId, i64) {
    let mapping = |source| IdMapping { source: SegmentId(source), target: SegmentId(100 + source), partition_id: 0 };
    let spec = JobSpec {
        source_uri: "file:///source".into(),
        target_uri: "file:///target".into(),
        collection_id: 2,
        segments: segments.unsigned_abs(),
        options: JobOptions { segments_per_task_max: 1, attempts_max: 10, priority: 50, ..options },
        ..JobSpec::default()
    };
    let page = SubmitPage {
        request_id: "request".into(),
        hash_before: vec![0; 32],
        request_hash: vec![1; 32],
        spec,
        offset: 0,
        mappings: (1..=segments).map(mapping).collect(),
    };
    let Outcome::Page { job, .. } = ok(rows, &Command::SubmitPage(Box::new(page))) else { panic!("a page") };
    ok(rows, &Command::CreateTasks { job, tasks_created: 0 });
    (job, view::job(rows, job).unwrap().first_task.0)
}

/// A worker that is connected and runs the first of a job's two tasks, and what it hears.
struct Working {
    rows: Memory,
    worker: WorkerId,
    sessions: Sessions,
    hear: Hear,
    _outgoing: Outgoing,
    job: JobId,
    first_task: i64,
}

impl Working {
    fn begin() -> Self {
        let (mut rows, worker, sessions) = registered();
        let (job, first_task) = submit(&mut rows, 2, JobOptions::default());
        let (outgoing, hear) = mpsc::channel(16);
        assert!(sessions.connect((worker, 1), outgoing.clone(), std::iter::empty(), || rows.clone()));
        let mut working = Self { rows, worker, sessions, hear, _outgoing: outgoing, job, first_task };
        working.lease(0);
        working.sessions.reconcile(|| working.rows.clone());
        assert_eq!(working.heard(), ["assign 0"]);
        working
    }

    fn lease(&mut self, number: i64) {
        let task = TaskId(self.first_task + number);
        let lease = LeaseRef { task, attempt: 1, worker: self.worker, incarnation: 1 };
        ok(&mut self.rows, &Command::AssignTask(lease));
    }

    fn send_leased(&self, number: i64) {
        let leased = BTreeMap::from([(self.worker, vec![TaskId(self.first_task + number)])]);
        self.sessions.send_leased(&leased, || self.rows.clone());
    }

    /// What a round of the checker has for the worker.
    fn round(&mut self) -> Vec<String> {
        self.sessions.reconcile_outdated(|| self.rows.clone());
        self.heard()
    }

    fn heard(&mut self) -> Vec<String> {
        let number = |attempt: Option<Attempt>| attempt.unwrap().task_id - self.first_task;
        let messages = std::iter::from_fn(|| self.hear.try_recv().ok());
        let told = |response: Result<SessionResponse, Status>| match response.unwrap().message.unwrap() {
            Message::Assign(assign) => format!("assign {}", number(assign.attempt)),
            Message::Drop(drop) => format!("drop {}", number(drop.attempt)),
            Message::Limit(limit) => format!("limit {}", limit.bandwidth_bytes_per_second),
            other => panic!("{other:?}"),
        };
        messages.map(told).collect()
    }
}

#[test]
fn a_round_tells_what_has_changed_at_once_and_nothing_twice() {
    let mut working = Working::begin();
    working.lease(1);
    working.send_leased(1);
    assert_eq!(working.heard(), ["assign 1"]);
    assert!(working.round().is_empty());
    let change = LiveOptions { bandwidth_bytes_per_second: Some(77), ..LiveOptions::default() };
    ok(&mut working.rows, &Command::UpdateJob { job: working.job, change });
    assert_eq!(working.round(), ["limit 77"]);
    ok(&mut working.rows, &Command::CancelJob { job: working.job });
    assert_eq!(working.round(), ["drop 0", "drop 1"]);
    assert!(working.round().is_empty(), "a drop is told again after a while");
}

#[test]
fn a_job_that_ends_while_another_task_of_it_is_leased_is_told_at_once() {
    let mut working = Working::begin();
    working.lease(1);
    ok(&mut working.rows, &Command::CancelJob { job: working.job });
    working.send_leased(1);
    assert!(working.heard().is_empty());
    assert_eq!(working.round(), ["drop 0", "drop 1"]);
}

/// An attempt of a worker that is connected.
fn run_of(sessions: &Sessions, rows: &Memory, worker: WorkerId) -> (LeaseRef, Outgoing) {
    let (outgoing, _) = mpsc::channel(OUTGOING_MAX);
    let running = [(TaskId(7), 3)].into_iter();
    assert!(sessions.connect((worker, 1), outgoing.clone(), running, || rows.clone()));
    (LeaseRef { task: TaskId(7), attempt: 3, worker, incarnation: 1 }, outgoing)
}

fn settled_of_the_lost(sessions: &Sessions) -> BTreeMap<TaskId, u32> {
    sessions.take_silent_for(NO_TIME).remove(0).settled
}

#[test]
fn what_has_settled_is_known_when_its_worker_is_lost() {
    let (rows, worker, sessions) = registered();
    let (lease, outgoing) = run_of(&sessions, &rows, worker);
    sessions.settled(lease, &outgoing);
    sessions.settled(LeaseRef { task: TaskId(8), ..lease }, &outgoing);
    assert_eq!(settled_of_the_lost(&sessions), BTreeMap::from([(TaskId(7), 3)]), "what it never had is not known");
    assert!(!sessions.begin_writes(lease, &outgoing), "what is lost begins nothing");
}

#[test]
fn an_attempt_that_begins_to_write_again_is_taken_for_settled_no_more() {
    let (rows, worker, sessions) = registered();
    let (lease, outgoing) = run_of(&sessions, &rows, worker);
    sessions.settled(lease, &outgoing);
    assert!(!sessions.begin_writes(LeaseRef { attempt: 2, ..lease }, &outgoing), "an earlier one");
    assert!(sessions.begin_writes(lease, &outgoing));
    assert!(settled_of_the_lost(&sessions).is_empty());
}

#[test]
fn words_of_an_older_connection_do_not_count() {
    let (rows, worker, sessions) = registered();
    let (lease, older) = run_of(&sessions, &rows, worker);
    let (_, newer) = run_of(&sessions, &rows, worker);
    sessions.settled(lease, &older);
    assert!(!sessions.begin_writes(lease, &older));
    assert!(sessions.begin_writes(lease, &newer));
    assert!(settled_of_the_lost(&sessions).is_empty());
}

#[test]
fn what_a_start_had_settled_is_known_when_another_replaces_it_and_it_begins_nothing_then() {
    let (rows, worker, sessions) = registered();
    let (lease, outgoing) = run_of(&sessions, &rows, worker);
    sessions.settled(lease, &outgoing);
    assert!(sessions.replace(worker, 1).is_empty(), "the same start comes back");
    assert!(sessions.begin_writes(lease, &outgoing));
    sessions.settled(lease, &outgoing);
    assert_eq!(sessions.replace(worker, 2), BTreeMap::from([(TaskId(7), 3)]));
    assert!(!sessions.begin_writes(lease, &outgoing));
}
