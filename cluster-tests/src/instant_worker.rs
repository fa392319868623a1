//! Workers that speak the session protocol and report at once, without touching a file: what is left is the
//! coordinator's own work.

use crate::eventually;
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{self, SessionRequest, SessionResponse};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Rows of each segment, as these workers report them.
pub const ROWS: i64 = 10;
/// Bytes of each segment, likewise.
pub const BYTES: u64 = 1_000;
/// Messages to the leader on their way.
const MESSAGES_AHEAD: usize = 1_024;

/// What instant workers are to do; shared by all of them.
#[derive(Debug, Default)]
pub struct Orders {
    /// Tasks of a job that are done before one fails for good; a job that is not named never fails.
    fails_after: std::sync::Mutex<HashMap<i64, i64>>,
    /// Tasks of a job that are done before nothing is said of any more; a job that is not named never stops.
    stops_after: std::sync::Mutex<HashMap<i64, i64>>,
    /// Clean-ups that were done.
    clean_ups: AtomicI64,
}

impl Orders {
    /// From now on a job fails for good after so many of its tasks.
    ///
    /// # Panics
    /// When a worker panicked.
    pub fn fail_after(&self, job_id: i64, tasks: i64) {
        self.fails_after.lock().expect("no worker panics").insert(job_id, tasks);
    }

    /// From now on a job stands still after so many of its tasks, until it is canceled.
    ///
    /// # Panics
    /// When a worker panicked.
    pub fn stop_after(&self, job_id: i64, tasks: i64) {
        self.stops_after.lock().expect("no worker panics").insert(job_id, tasks);
    }

    /// Clean-ups that were done so far.
    #[must_use]
    pub fn clean_ups(&self) -> i64 {
        self.clean_ups.load(Ordering::Relaxed)
    }

    fn fails(&self, job_id: i64) -> bool {
        has_come(&self.fails_after, job_id)
    }

    fn stops(&self, job_id: i64) -> bool {
        has_come(&self.stops_after, job_id)
    }
}

/// Counts a task of a job, and tells whether the order has come.
fn has_come(after: &std::sync::Mutex<HashMap<i64, i64>>, job_id: i64) -> bool {
    after.lock().expect("no worker panics").get_mut(&job_id).is_some_and(|left| {
        *left -= 1;
        *left < 0
    })
}

/// A running worker; it ends when dropped.
#[derive(Debug)]
pub struct InstantWorker(JoinHandle<()>);

impl Drop for InstantWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl InstantWorker {
    /// Starts one that finds the leader among these nodes, again whenever it has lost it.
    #[must_use]
    pub fn start(nodes: BTreeMap<u64, Channel>, name: &str, slots: u32, orders: Arc<Orders>) -> Self {
        let hello = v1::Hello { name: name.to_owned(), incarnation: 1, slots, ..v1::Hello::default() };
        Self(tokio::spawn(run(nodes, hello, orders)))
    }
}

async fn run(nodes: BTreeMap<u64, Channel>, hello: v1::Hello, orders: Arc<Orders>) {
    let mut runs = HashMap::new();
    loop {
        let mut session = open(&nodes, &hello, &runs).await;
        session.work(&mut runs, &orders).await;
    }
}

/// What a worker has and was not acknowledged, by task and attempt.
type Runs = HashMap<(i64, u32), v1::Assign>;

struct Session {
    say: mpsc::Sender<SessionRequest>,
    hear: Streaming<SessionResponse>,
    heartbeat: Duration,
    sequence: u64,
}

async fn open(nodes: &BTreeMap<u64, Channel>, hello: &v1::Hello, runs: &Runs) -> Session {
    eventually("a leader takes a worker's session", || async {
        for channel in nodes.values() {
            let (say, said) = mpsc::channel(MESSAGES_AHEAD);
            let running = runs.keys().map(|(task_id, attempt)| v1::Attempt { task_id: *task_id, attempt: *attempt });
            let hello = v1::Hello { running: running.collect(), ..hello.clone() };
            say.send(request(Say::Hello(hello))).await.ok()?;
            let session = WorkerServiceClient::new(channel.clone()).session(ReceiverStream::new(said)).await;
            let Ok(session) = session else { continue };
            let mut hear = session.into_inner();
            if let Ok(Some(SessionResponse { message: Some(Hear::Welcome(welcome)) })) = hear.message().await {
                let heartbeat = Duration::from_millis(welcome.heartbeat_interval_ms);
                return Some(Session { say, hear, heartbeat, sequence: 0 });
            }
        }
        None
    })
    .await
}

impl Session {
    /// Works until the session ends.
    async fn work(&mut self, runs: &mut Runs, orders: &Orders) {
        let mut heartbeats = tokio::time::interval(self.heartbeat);
        // What an earlier session left open is said again.
        for assign in runs.values() {
            self.begin(assign).await;
        }
        loop {
            tokio::select! {
                _ = heartbeats.tick() => {
                    self.sequence += 1;
                    self.send(Say::Heartbeat(v1::Heartbeat { sequence: self.sequence })).await;
                }
                heard = self.hear.message() => match heard {
                    Ok(Some(SessionResponse { message: Some(message) })) => self.on(message, runs, orders).await,
                    Ok(Some(SessionResponse { message: None })) => {}
                    Ok(None) | Err(_) => return,
                }
            }
        }
    }

    async fn on(&self, message: Hear, runs: &mut Runs, orders: &Orders) {
        match message {
            Hear::Assign(assign) => {
                let attempt = assign.attempt.expect("an assignment names its attempt");
                orders.clean_ups.fetch_add(i64::from(assign.work() == v1::TaskWork::CleanUp), Ordering::Relaxed);
                self.begin(&assign).await;
                runs.insert((attempt.task_id, attempt.attempt), assign);
            }
            Hear::Claimed(claimed) => {
                let attempt = claimed.attempt.expect("a claim names its attempt");
                let Some(assign) = runs.get(&(attempt.task_id, attempt.attempt)) else { return };
                if !orders.stops(assign.job_id) {
                    self.result(attempt, outcome(assign, orders.fails(assign.job_id))).await;
                }
            }
            Hear::Acknowledged(v1::Acknowledged { attempt: Some(attempt) }) => {
                runs.remove(&(attempt.task_id, attempt.attempt));
            }
            Hear::Drop(v1::Drop { attempt: Some(attempt) }) => {
                runs.remove(&(attempt.task_id, attempt.attempt));
                self.send(Say::Dropped(v1::Dropped { attempt: Some(attempt), writes_for_ms: 0 })).await;
            }
            Hear::Acknowledged(_)
            | Hear::Drop(_)
            | Hear::Welcome(_)
            | Hear::Leader(_)
            | Hear::Renewed(_)
            | Hear::Limit(_)
            | Hear::WritesBegun(_) => {}
        }
    }

    async fn begin(&self, assign: &v1::Assign) {
        if let (v1::TaskWork::CleanUp, Some(attempt)) = (assign.work(), assign.attempt) {
            return self.result(attempt, v1::result::Outcome::CleanedUp(v1::CleanedUp {})).await;
        }
        let total_bytes = BYTES * assign.id_mappings.len() as u64;
        // A manifest that nobody read is the same at every attempt.
        let manifests = vec![v1::ManifestPin::default(); assign.id_mappings.len()];
        self.send(Say::Claim(v1::Claim { attempt: assign.attempt, total_bytes, manifests })).await;
    }

    async fn result(&self, attempt: v1::Attempt, outcome: v1::result::Outcome) {
        self.send(Say::Result(v1::Result { attempt: Some(attempt), outcome: Some(outcome), writes_for_ms: 0 })).await;
    }

    /// A session that has ended is noticed where it is heard.
    async fn send(&self, message: Say) {
        let _ = self.say.send(request(message)).await;
    }
}

fn outcome(assign: &v1::Assign, fails: bool) -> v1::result::Outcome {
    if fails {
        let kind = v1::FailureKind::Permanent.into();
        return v1::result::Outcome::Failure(v1::Failure { kind, reason: "the object a/b/c is missing".to_owned() });
    }
    if assign.work() == v1::TaskWork::Publish {
        return v1::result::Outcome::Published(v1::Published {});
    }
    let copied = |mapping: &v1::IdMapping| v1::CopiedSegment {
        target_segment_id: mapping.target_segment_id,
        partition_id: 7,
        num_of_rows: ROWS,
        size_bytes: BYTES,
    };
    v1::result::Outcome::Copied(v1::Copied { segments: assign.id_mappings.iter().map(copied).collect() })
}

fn request(message: Say) -> SessionRequest {
    SessionRequest { message: Some(message) }
}
