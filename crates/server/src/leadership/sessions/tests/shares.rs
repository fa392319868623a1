//! The limits of a job over all its workers: who is told which share, in which order, and what a worker keeps that is away.

use super::{Hear, NO_TIME, Outgoing, Sessions, ok, register_named, submit};
use ferry_machine::command::{Command, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::{JobId, TaskId, WorkerId};
use ferry_machine::row::{JobOptions, LiveOptions};
use ferry_machine::tables::Memory;
use ferry_proto::v1::session_response::Message;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// No limit, a part of it, or nothing for now.
fn rate(per_second: u64, held: bool) -> String {
    match (per_second, held) {
        (_, true) => "held".to_owned(),
        (0, false) => "free".to_owned(),
        (per_second, false) => per_second.to_string(),
    }
}

/// Three workers and a job of six tasks.
struct Cluster {
    rows: Memory,
    sessions: Sessions,
    job: JobId,
    first_task: i64,
    workers: Vec<WorkerId>,
    /// All workers hear through one queue, so that the order is seen in which the leader speaks.
    outgoing: Outgoing,
    hear: Hear,
}

impl Cluster {
    fn begin(options: JobOptions) -> Self {
        let mut rows = Memory::default();
        ok(&mut rows, &Command::Bootstrap { cluster_id: 7, id_start: 1_000 });
        let workers = ["a", "b", "c"].map(|name| register_named(&mut rows, name, 1)).to_vec();
        let (job, first_task) = submit(&mut rows, 6, options);
        let sessions = Sessions::begin(&rows);
        let (outgoing, hear) = mpsc::channel(64);
        Self { rows, sessions, job, first_task, workers, outgoing, hear }
    }

    /// With a limit of bytes a second, and all workers connected.
    fn limited(bandwidth_bytes_per_second: u64) -> Self {
        let mut cluster = Self::begin(JobOptions { bandwidth_bytes_per_second, ..JobOptions::default() });
        (0..3).for_each(|worker| cluster.connect(worker, &[]));
        assert!(cluster.round().is_empty());
        cluster
    }

    /// The worker says hello, with attempts of these tasks.
    fn connect(&self, worker: usize, running: &[i64]) {
        let running = running.iter().map(|number| (TaskId(self.first_task + number), 1));
        assert!(self.sessions.connect((self.workers[worker], 1), self.outgoing.clone(), running, || self.rows.clone()));
    }

    fn disconnect(&self, worker: usize) {
        self.sessions.disconnect(self.workers[worker], &self.outgoing);
    }

    /// The same rows under the next leader, which has heard of nobody.
    fn next_leader(&mut self) {
        self.sessions = Sessions::begin(&self.rows);
    }

    fn lease_of(&self, worker: usize, number: i64) -> LeaseRef {
        LeaseRef { task: TaskId(self.first_task + number), attempt: 1, worker: self.workers[worker], incarnation: 1 }
    }

    /// A task is leased to the worker, and sent: what the leader says then.
    fn lease(&mut self, worker: usize, number: i64) -> Vec<String> {
        let lease = self.lease_of(worker, number);
        ok(&mut self.rows, &Command::AssignTask(lease));
        let leased = BTreeMap::from([(lease.worker, vec![lease.task])]);
        self.sessions.send_leased(&leased, || self.rows.clone());
        self.heard()
    }

    /// The attempt ends; the leader says nothing yet.
    fn end(&mut self, worker: usize, number: i64) {
        let lease = self.lease_of(worker, number);
        let result = TaskResult::Failed { kind: FailureKind::GivenBack, reason: "it ends".to_owned() };
        ok(&mut self.rows, &Command::ReportTask { lease, result, writes_for_ms: 0 });
        assert!(self.sessions.finished(lease.worker, lease.task, 1));
    }

    fn update(&mut self, change: LiveOptions) {
        ok(&mut self.rows, &Command::UpdateJob { job: self.job, change });
    }

    /// What a round says in which everything is compared.
    fn round(&mut self) -> Vec<String> {
        self.sessions.reconcile(|| self.rows.clone());
        self.heard()
    }

    /// Everything that was said since, as bandwidth/requests.
    fn heard(&mut self) -> Vec<String> {
        let told = |message| match message {
            Message::Assign(assign) => format!(
                "assign {} {}/{}",
                assign.attempt.unwrap_or_default().task_id - self.first_task,
                rate(assign.bandwidth_bytes_per_second, assign.bandwidth_held),
                rate(assign.requests_per_1000_s, assign.requests_held)
            ),
            Message::Limit(limit) => format!(
                "limit {}/{}",
                rate(limit.bandwidth_bytes_per_second, limit.bandwidth_held),
                rate(limit.requests_per_1000_s, limit.requests_held)
            ),
            other => panic!("{other:?}"),
        };
        let responses = std::iter::from_fn(|| self.hear.try_recv().ok());
        responses.map(|response| told(response.unwrap().message.unwrap())).collect()
    }
}

fn lost(worker: WorkerId) -> Command {
    let settled = BTreeMap::new();
    Command::LoseWorker { worker, incarnation: 1, writes_for_ms: 1, late_writes_ms: 1, settled }
}

#[test]
fn a_worker_that_joins_gets_its_part_after_the_others_are_lowered() {
    let mut cluster = Cluster::limited(90);
    assert_eq!(cluster.lease(0, 0), ["assign 0 90/free"]);
    assert_eq!(cluster.lease(1, 1), ["limit 45/free", "assign 1 45/free"]);
    assert_eq!(cluster.lease(2, 2), ["limit 30/free", "limit 30/free", "assign 2 30/free"]);
    assert_eq!(cluster.lease(2, 3), ["assign 3 30/free"], "its attempts share its part");
    assert!(cluster.round().is_empty());
}

#[test]
fn the_part_of_a_worker_that_has_no_attempts_left_goes_to_the_others() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.lease(1, 1);
    cluster.end(1, 1);
    assert_eq!(cluster.round(), ["limit 90/free"]);
}

#[test]
fn what_two_limits_lower_is_told_before_what_they_raise() {
    let options = JobOptions { bandwidth_bytes_per_second: 100, requests_per_second: 2, ..JobOptions::default() };
    let mut cluster = Cluster::begin(options);
    (0..2).for_each(|worker| cluster.connect(worker, &[]));
    cluster.lease(0, 0);
    // The third worker is registered and has not said hello yet, and might run something.
    assert_eq!(cluster.lease(1, 1), ["assign 1 held/held"]);
    cluster.connect(2, &[]);
    assert_eq!(cluster.round(), ["limit 50/1000", "limit 50/1000"]);
    let change =
        LiveOptions { bandwidth_bytes_per_second: Some(40), requests_per_second: Some(8), ..LiveOptions::default() };
    cluster.update(change);
    assert_eq!(cluster.round(), ["limit 20/1000", "limit 20/1000", "limit 20/4000", "limit 20/4000"]);
}

#[test]
fn a_limit_that_is_lifted_and_set_again_reaches_all() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.lease(1, 1);
    cluster.update(LiveOptions { bandwidth_bytes_per_second: Some(0), ..LiveOptions::default() });
    assert_eq!(cluster.round(), ["limit free/free", "limit free/free"]);
    assert_eq!(cluster.lease(1, 2), ["assign 2 free/free"]);
    cluster.update(LiveOptions { bandwidth_bytes_per_second: Some(20), ..LiveOptions::default() });
    assert_eq!(cluster.round(), ["limit 10/free", "limit 10/free"]);
}

#[test]
fn a_limit_lower_than_the_number_of_workers_holds_some() {
    let mut cluster = Cluster::limited(1);
    assert_eq!(cluster.lease(0, 0), ["assign 0 1/free"]);
    assert_eq!(cluster.lease(1, 1), ["assign 1 held/free"]);
    cluster.end(0, 0);
    assert_eq!(cluster.round(), ["limit 1/free"], "the next in line");
}

#[test]
fn a_worker_whose_connection_broke_keeps_its_share_until_its_lease_ends() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.disconnect(0);
    assert_eq!(cluster.lease(1, 1), ["assign 1 held/free"], "the one that is away has all of it");
    assert!(cluster.round().is_empty());
    let away = cluster.workers[0];
    cluster.sessions.lock().retain(|worker, _| *worker != away);
    ok(&mut cluster.rows, &lost(away));
    assert_eq!(cluster.round(), ["limit 90/free"]);
}

#[test]
fn a_worker_that_says_hello_again_is_told_its_share_anew() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.lease(1, 1);
    cluster.disconnect(0);
    cluster.connect(0, &[0]);
    assert_eq!(
        cluster.round(),
        ["limit held/free", "limit 45/free"],
        "what it keeps to is not known, and counts as all"
    );
}

#[test]
fn a_new_leader_gives_nobody_more_until_all_workers_have_said_hello() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.lease(1, 1);
    cluster.next_leader();
    cluster.connect(0, &[0]);
    assert!(cluster.round().is_empty(), "it goes on with its last share");
    cluster.connect(2, &[]);
    assert_eq!(cluster.lease(2, 2), ["assign 2 held/free"], "another worker may still have the rest");
    cluster.connect(1, &[1]);
    let heard = cluster.round();
    assert_eq!(heard[..2], ["limit held/free", "limit held/free"], "those whose shares are not known, first");
    assert_eq!(heard[2..], ["limit 30/free", "limit 30/free", "limit 30/free"]);
}

#[test]
fn a_new_leader_that_loses_a_worker_divides_among_the_rest() {
    let mut cluster = Cluster::limited(90);
    cluster.lease(0, 0);
    cluster.lease(1, 1);
    cluster.next_leader();
    cluster.connect(0, &[0]);
    cluster.connect(2, &[]);
    assert!(cluster.round().is_empty());
    let away = cluster.workers[1];
    let silent = cluster.sessions.take_silent_for(NO_TIME);
    assert!(silent.iter().any(|silent| silent.worker == away));
    cluster.connect(0, &[0]);
    cluster.connect(2, &[]);
    ok(&mut cluster.rows, &lost(away));
    assert_eq!(cluster.round(), ["limit held/free", "limit 90/free"]);
}
