//! A worker that speaks the session protocol and touches no file: it claims every attempt at once, and reports it when it
//! may.

use anyhow::{Context, bail};
use ferry_client::Client;
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{self, SessionRequest, SessionResponse};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// What every segment is said to have.
const ROWS: i64 = 10;
const BYTES: u64 = 1_000;
const MANIFEST: v1::ManifestPin = v1::ManifestPin { size_bytes: 4_000, crc32c: 0x1234_5678 };
const PARTITION: i64 = 7;
/// Messages to the leader on their way.
const MESSAGES_AHEAD: usize = 1_024;
/// Claims on their way: all workers of a benchmark together stay below what a leader lets wait.
const CLAIMS_AHEAD: usize = 128;

/// A running worker; it ends when dropped.
pub(crate) struct Worker {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What a worker has done so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Attempts whose claim was answered.
    pub(crate) claimed: usize,
    /// From each report of a copy to its acknowledgement.
    pub(crate) latencies: Vec<Duration>,
    /// When the first of these acknowledgements came, and the last one.
    pub(crate) acknowledged_at: Option<(Instant, Instant)>,
    /// Why its session ended.
    failure: Option<String>,
}

impl Worker {
    /// Opens a session with the leader, which `client` must ask. As many reports as `at_once` says are on their way
    /// together: none are made while that is zero.
    pub(crate) async fn start(
        client: &Client,
        name: &str,
        slots: u32,
        at_once: watch::Receiver<usize>,
    ) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let session = open(client, name, slots).await?;
        let working = Working {
            session,
            assigned: VecDeque::new(),
            claiming: HashMap::new(),
            claimed: VecDeque::new(),
            reported: HashMap::new(),
            at_once,
            seen: Arc::clone(&seen),
        };
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let ended = working.run().await;
            lock(&noted).failure = ended.err().map(|error| format!("{error:#}"));
        });
        Ok(Self { task, seen })
    }

    /// What it has done; fails when its session has ended.
    pub(crate) fn seen(&self) -> anyhow::Result<MutexGuard<'_, Seen>> {
        let seen = lock(&self.seen);
        match &seen.failure {
            Some(failure) => bail!("a worker lost its session: {failure}"),
            None => Ok(seen),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    say: mpsc::Sender<SessionRequest>,
    hear: Streaming<SessionResponse>,
    heartbeat_interval: Duration,
    sequence: u64,
}

async fn open(client: &Client, name: &str, slots: u32) -> anyhow::Result<Session> {
    let (say, said) = mpsc::channel(MESSAGES_AHEAD);
    let incarnation = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_nanos())?;
    let hello = v1::Hello { name: name.to_owned(), incarnation, slots, ..v1::Hello::default() };
    say.send(SessionRequest { message: Some(Say::Hello(hello)) }).await?;
    let channel = client.channel(&client.current_endpoint())?;
    let mut hear = WorkerServiceClient::new(channel).session(ReceiverStream::new(said)).await?.into_inner();
    match hear.message().await? {
        Some(SessionResponse { message: Some(Hear::Welcome(welcome)) }) => {
            let heartbeat_interval = Duration::from_millis(welcome.heartbeat_interval_ms);
            Ok(Session { say, hear, heartbeat_interval, sequence: 0 })
        }
        other => bail!("a worker was not welcomed but answered with {other:?}"),
    }
}

impl Session {
    async fn send(&self, message: Say) -> anyhow::Result<()> {
        self.say.send(SessionRequest { message: Some(message) }).await.context("the session has ended")
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        self.sequence += 1;
        self.send(Say::Heartbeat(v1::Heartbeat { sequence: self.sequence })).await
    }
}

struct Working {
    session: Session,
    assigned: VecDeque<v1::Assign>,
    /// Attempts whose claim is on its way, by task.
    claiming: HashMap<i64, v1::Assign>,
    /// Attempts that may be reported.
    claimed: VecDeque<v1::Assign>,
    /// When an attempt was reported that is not acknowledged, and what it did, by task.
    reported: HashMap<i64, (Instant, v1::TaskWork)>,
    at_once: watch::Receiver<usize>,
    seen: Arc<Mutex<Seen>>,
}

impl Working {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut heartbeats = tokio::time::interval(self.session.heartbeat_interval);
        loop {
            tokio::select! {
                _ = heartbeats.tick() => self.session.renew().await?,
                heard = self.session.hear.message() => {
                    let heard = heard?.context("the session has ended")?;
                    self.on(heard)?;
                }
                // Whoever does not change it any more leaves it as it is.
                Ok(()) = self.at_once.changed() => {}
            }
            self.claim().await?;
            self.report().await?;
        }
    }

    fn on(&mut self, heard: SessionResponse) -> anyhow::Result<()> {
        match heard.message.context("a message of the leader is empty")? {
            Hear::Assign(assign) => self.assigned.push_back(assign),
            Hear::Claimed(claimed) => {
                let task = task_of(claimed.attempt);
                let assign = self.claiming.remove(&task).context("a claim was answered that was not made")?;
                self.claimed.push_back(assign);
                lock(&self.seen).claimed += 1;
            }
            Hear::Acknowledged(acknowledged) => {
                let reported = self.reported.remove(&task_of(acknowledged.attempt));
                if let Some((reported_at, v1::TaskWork::Copy)) = reported {
                    let now = Instant::now();
                    let mut seen = lock(&self.seen);
                    seen.latencies.push(now - reported_at);
                    seen.acknowledged_at = Some((seen.acknowledged_at.map_or(now, |(first, _)| first), now));
                }
            }
            // The rows of a report that has just been applied have no lease any more: its acknowledgement follows.
            Hear::Drop(drop) if self.reported.contains_key(&task_of(drop.attempt)) => {}
            Hear::Drop(drop) => bail!("the leader does not want attempt {:?} any more", drop.attempt),
            Hear::Leader(leader) => bail!("node {} leads now", leader.leader_id),
            Hear::Welcome(_) | Hear::Renewed(_) | Hear::Limit(_) | Hear::WritesBegun(_) => {}
        }
        Ok(())
    }

    /// Claims as many as may be on their way.
    async fn claim(&mut self) -> anyhow::Result<()> {
        while self.claiming.len() < CLAIMS_AHEAD
            && let Some(assign) = self.assigned.pop_front()
        {
            let total_bytes = BYTES * assign.id_mappings.len() as u64;
            let manifests = vec![MANIFEST; assign.id_mappings.len()];
            let claim = v1::Claim { attempt: assign.attempt, total_bytes, manifests };
            self.session.send(Say::Claim(claim)).await?;
            self.claiming.insert(task_of(assign.attempt), assign);
        }
        Ok(())
    }

    /// Reports as many as may be on their way.
    async fn report(&mut self) -> anyhow::Result<()> {
        let at_once = *self.at_once.borrow_and_update();
        while self.reported.len() < at_once
            && let Some(assign) = self.claimed.pop_front()
        {
            self.reported.insert(task_of(assign.attempt), (Instant::now(), assign.work()));
            self.session.send(Say::Result(result(&assign))).await?;
        }
        Ok(())
    }
}

fn result(assign: &v1::Assign) -> v1::Result {
    let copied = |mapping: &v1::IdMapping| v1::CopiedSegment {
        target_segment_id: mapping.target_segment_id,
        partition_id: PARTITION,
        num_of_rows: ROWS,
        size_bytes: BYTES,
    };
    let outcome = match assign.work() {
        v1::TaskWork::Publish => v1::result::Outcome::Published(v1::Published {}),
        v1::TaskWork::Copy | v1::TaskWork::CleanUp | v1::TaskWork::Verify | v1::TaskWork::Unspecified => {
            v1::result::Outcome::Copied(v1::Copied { segments: assign.id_mappings.iter().map(copied).collect() })
        }
    };
    v1::Result { attempt: assign.attempt, outcome: Some(outcome), writes_for_ms: 0 }
}

fn task_of(attempt: Option<v1::Attempt>) -> i64 {
    attempt.unwrap_or_default().task_id
}

/// Nothing that holds the lock can panic half-way.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
