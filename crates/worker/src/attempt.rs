//! One attempt of a task, from its assignment to its outcome. It writes nothing before its claim is committed and nothing
//! after its permit has ended; when it returns, nothing of it is running any more.

mod clean_up;
mod copying;
mod publish;
mod uploads;
mod verify;

use crate::bandwidth::{Bandwidths, Limits};
use crate::config::milliseconds;
use crate::copy::{Disks, Meter, PartsBudget};
use crate::failure::Fault;
use crate::leader::Leader;
use crate::metrics::Metrics;
use crate::permit::Permit;
use crate::writes::Writes;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, Claim, ManifestPin, TaskWork};
use ferry_snapshot::Snapshots;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Below a local target: temporary files, one folder per attempt.
const ATTEMPTS_FOLDER: &str = ".ferry/attempts";

/// The key of an attempt's own folder for temporary files below a local target.
fn temporary_folder(key: Key) -> String {
    format!("{ATTEMPTS_FOLDER}/{key}")
}

/// Names an attempt: the task, and the count of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) task_id: i64,
    pub(crate) attempt: u32,
}

impl From<ferry_proto::v1::Attempt> for Key {
    fn from(attempt: ferry_proto::v1::Attempt) -> Key {
        Key { task_id: attempt.task_id, attempt: attempt.attempt }
    }
}

impl From<Key> for ferry_proto::v1::Attempt {
    fn from(key: Key) -> ferry_proto::v1::Attempt {
        ferry_proto::v1::Attempt { task_id: key.task_id, attempt: key.attempt }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.task_id, self.attempt)
    }
}

/// What a running attempt tells the session.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) key: Key,
    /// Tells two runs of one attempt apart.
    pub(crate) run: u64,
    pub(crate) news: News,
}

/// The two things there are to tell; progress is read from the meter.
#[derive(Debug)]
pub(crate) enum News {
    /// The target keys are free, and it asks to write them.
    Claim(Claim),
    /// It has ended.
    Finished {
        /// How.
        outcome: Result<Outcome, Fault>,
        /// How long the store may still carry out what it gave up, in milliseconds.
        writes_for_ms: u64,
    },
}

/// How an attempt reaches the session and is reached by it.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) key: Key,
    pub(crate) run: u64,
    pub(crate) sender: mpsc::UnboundedSender<Report>,
    pub(crate) claimed: oneshot::Receiver<()>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) writes: Writes,
}

impl Reports {
    /// Asks for the targets, and waits until the claim is committed.
    async fn claim(&mut self, total_bytes: u64, manifests: Vec<ManifestPin>, permit: &Permit) -> Result<(), Fault> {
        let claim = Claim { attempt: Some(self.key.into()), total_bytes, manifests };
        let report = Report { key: self.key, run: self.run, news: News::Claim(claim) };
        self.sender.send(report).map_err(|_| Fault::Stopped)?;
        permit.unless_ended(&mut self.claimed).await?.map_err(|_| Fault::Stopped)
    }
}

/// What all attempts of a worker share.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) snapshots: Snapshots,
    pub(crate) leader: Leader,
    pub(crate) bandwidths: Bandwidths,
    pub(crate) budget: PartsBudget,
    pub(crate) disks: Disks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) request_timeout: Duration,
    pub(crate) late_writes: Duration,
    pub(crate) files_at_once: usize,
    pub(crate) read_back: bool,
}

impl Runner {
    /// How long a store may carry out what an attempt that has ended gave up, in milliseconds.
    pub(crate) fn writes_for_ms(&self, writes: &Writes) -> u64 {
        if writes.are_answered() { 0 } else { milliseconds(self.late_writes) }
    }

    /// Runs the attempt to its end.
    pub(crate) async fn run(
        &self,
        assign: Assign,
        limits: Limits,
        permit: Permit,
        reports: Reports,
    ) -> Result<Outcome, Fault> {
        match assign.work() {
            TaskWork::Copy => copying::run(self, &assign, limits, permit, reports).await,
            TaskWork::Publish => publish::run(self, &assign, &limits, &permit, reports).await,
            TaskWork::CleanUp => {
                let turns = limits.turns(&permit);
                clean_up::run(self, &assign, turns, reports.key, &permit, &reports.writes).await
            }
            TaskWork::Verify => verify::run(self, &assign, &limits, &permit, reports).await,
            TaskWork::Unspecified => Err(Fault::Transient(
                "the leader assigned work that this worker does not know; run the same version of both".into(),
            )),
        }
    }
}
