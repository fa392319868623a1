//! Reads: how fresh they are, and what every answer says about that. One read sees one moment of the rows.
//!
//! Invariant: an answer without `ferry-staleness-ms` reflects everything acknowledged before its call.

use crate::deadline;
use crate::status::{LEADER_ID, invalid, of_read};
use ferry_planted::Bug;
use ferry_proto::v1::Consistency;
use ferry_raft::Raft;
use ferry_store::rows::RowsView;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

/// Metadata: the log index at which an answer holds.
pub(crate) const REVISION: &str = "ferry-revision";
/// Metadata of stale reads: the answer was true at some moment this long ago or later.
const STALENESS_MS: &str = "ferry-staleness-ms";
/// Metadata of requests: wait until this log index is applied.
const REVISION_MIN: &str = "ferry-min-revision";
/// How often a node makes sure by itself that it is up to date, so that stale reads can say how old they are.
const FRESHNESS_INTERVAL: Duration = Duration::from_millis(500);
/// A node that was up to date this recently can serve.
const FRESH_MS: u64 = 3_000;
/// How long one such round may take.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens reads on one node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reads {
    raft: Raft,
    timeout: Duration,
    freshness: Arc<Freshness>,
}

/// When this node's rows were last known to be those of the cluster.
struct Freshness {
    began: Instant,
    /// Milliseconds after `began`; zero: never.
    fresh_at_ms: AtomicU64,
    /// False once a round has failed and the last good one is too long ago: nothing that happens reaches this node.
    in_touch: watch::Sender<bool>,
}

impl Freshness {
    fn note(&self, at: Instant) {
        let at_ms = crate::config::milliseconds(at.saturating_duration_since(self.began)).max(1);
        self.fresh_at_ms.fetch_max(at_ms, Ordering::Relaxed);
        self.in_touch.send_if_modified(|in_touch| !std::mem::replace(in_touch, true));
    }

    fn note_failure(&self) {
        if self.age_ms() >= FRESH_MS {
            self.in_touch.send_if_modified(|in_touch| std::mem::replace(in_touch, false));
        }
    }

    fn age_ms(&self) -> u64 {
        match self.fresh_at_ms.load(Ordering::Relaxed) {
            0 => u64::MAX,
            at_ms => crate::config::milliseconds(self.began.elapsed()).saturating_sub(at_ms),
        }
    }
}

/// The rows at one moment, and what the answer will say about it.
pub(crate) struct Reading {
    pub(crate) view: RowsView,
    pub(crate) stamp: Stamp,
}

impl Reading {
    /// An answer that says when it holds; none where the rows could not be read.
    pub(crate) fn answer<T>(&self, message: T) -> Result<Response<T>, Status> {
        self.check()?;
        Ok(self.stamp.answer(message))
    }

    /// A refusal that says when it holds.
    pub(crate) fn refusal(&self, status: Status) -> Status {
        self.check().err().unwrap_or_else(|| self.stamp.refusal(status))
    }

    /// A row that cannot be read looks as if it were not there, which nobody may be told.
    pub(crate) fn check(&self) -> Result<(), Status> {
        self.view.check_error().map_err(|error| {
            tracing::error!(%error, "rows cannot be read");
            Status::data_loss(format!("this node cannot read its rows: {error}; ask another node"))
        })
    }
}

/// What an answer says about the moment at which it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) revision: u64,
    leader_id: u64,
    staleness_ms: Option<u64>,
}

impl Reads {
    pub(crate) fn new(raft: Raft, timeout: Duration) -> Self {
        let (fresh_at_ms, in_touch) = (AtomicU64::new(0), watch::Sender::new(true));
        let freshness = Freshness { began: Instant::now(), fresh_at_ms, in_touch };
        Self { raft, timeout, freshness: Arc::new(freshness) }
    }

    /// The deadline of a call on this node.
    pub(crate) fn deadline(&self, metadata: &MetadataMap) -> Instant {
        deadline::for_answer(deadline::of(metadata, self.timeout))
    }

    /// Opens a read as fresh as the request wants it.
    pub(crate) async fn open(&self, consistency: i32, metadata: &MetadataMap) -> Result<Reading, Status> {
        let consistency = Consistency::try_from(consistency)
            .map_err(|_| invalid("consistency", format!("is {consistency}, which is none: see enum Consistency")))?;
        let deadline = self.deadline(metadata);
        if let Some(revision) = revision_min(metadata)?
            && !ferry_planted::is(Bug::MinRevisionIgnored)
        {
            self.wait_applied(revision, deadline).await?;
        }
        match consistency {
            Consistency::Unspecified | Consistency::Linearizable => {
                if ferry_planted::is(Bug::StaleReadAsLinearizable) {
                    return Ok(self.read(None));
                }
                self.confirm(deadline).await?;
                Ok(self.read(None))
            }
            Consistency::Stale => {
                let age_ms = self.freshness.age_ms();
                Ok(self.read(Some(age_ms)))
            }
        }
    }

    /// Whether a leader confirmed a moment ago that this node is up to date: only then can it serve.
    pub(crate) fn is_fresh(&self) -> bool {
        self.freshness.age_ms() < FRESH_MS
    }

    /// Ends once this node has lost touch with the cluster: whoever waits here for news would wait in vain.
    pub(crate) async fn out_of_touch(&self) {
        // The sender lives as long as `self`.
        let _ = self.freshness.in_touch.subscribe().wait_for(|in_touch| !in_touch).await;
    }

    /// The rows as they are on this node after a change that it has applied itself.
    pub(crate) fn after_write(&self) -> Reading {
        self.read(None)
    }

    /// What an answer without rows says.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp_at(self.raft.applied_index(), None)
    }

    fn read(&self, staleness_ms: Option<u64>) -> Reading {
        let view = self.raft.view();
        let stamp = self.stamp_at(view.applied_index().unwrap_or(0), staleness_ms);
        Reading { view, stamp }
    }

    fn stamp_at(&self, revision: u64, staleness_ms: Option<u64>) -> Stamp {
        Stamp { revision, leader_id: self.leader_id().unwrap_or(0), staleness_ms }
    }

    fn leader_id(&self) -> Option<u64> {
        self.raft.leader().map(|(id, _)| id)
    }

    /// A read index, applied here.
    async fn confirm(&self, deadline: Instant) -> Result<(), Status> {
        let asked = Instant::now();
        self.raft.read_index(deadline).await.map_err(|error| of_read(&error, self.leader_id()))?;
        self.freshness.note(asked);
        Ok(())
    }

    async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), Status> {
        let applied = self.raft.wait_applied(index, deadline).await;
        applied.map(|_| ()).map_err(|error| of_read(&error, self.leader_id()))
    }

    /// Keeps the age of this node's rows known; runs until the node stops.
    pub(crate) async fn keep_fresh(self) {
        loop {
            // A failed round leaves the age growing, which is what it is for.
            if self.confirm(Instant::now() + FRESHNESS_TIMEOUT).await.is_err() {
                self.freshness.note_failure();
            }
            tokio::time::sleep(FRESHNESS_INTERVAL).await;
        }
    }
}

fn revision_min(metadata: &MetadataMap) -> Result<Option<u64>, Status> {
    let Some(value) = metadata.get(REVISION_MIN) else { return Ok(None) };
    let revision = value.to_str().ok().and_then(|text| text.parse().ok());
    revision.map(Some).ok_or_else(|| invalid(REVISION_MIN, "is no number: send a ferry-revision that was answered"))
}

impl Stamp {
    /// An answer that says when it holds.
    pub(crate) fn answer<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        self.write(response.metadata_mut());
        response
    }

    /// A refusal that says when it holds.
    pub(crate) fn refusal(&self, mut status: Status) -> Status {
        self.write(status.metadata_mut());
        status
    }

    /// A refusal as of a certain entry of the log.
    pub(crate) fn at(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    fn write(&self, metadata: &mut MetadataMap) {
        metadata.insert(REVISION, MetadataValue::from(self.revision));
        if self.leader_id != 0 {
            metadata.insert(LEADER_ID, MetadataValue::from(self.leader_id));
        }
        if let Some(staleness_ms) = self.staleness_ms {
            metadata.insert(STALENESS_MS, MetadataValue::from(staleness_ms));
        }
    }
}
