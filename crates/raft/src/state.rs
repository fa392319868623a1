//! openraft's state machine on the store's rows: an entry's changes and its place in the log are written together,
//! and answers go out only after that. An error of the disk stops raft on this node.

use crate::checkpoint::{self, Builder, Image};
use crate::types::{Answers, Batch, Entry, LogId, Payload, StoredMembership, Types};
use crate::wire;
use ferry_store::checkpoints::Checkpoints;
use ferry_store::codec;
use ferry_store::rows::Rows;
use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot, SnapshotMeta};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub(crate) type Meta = SnapshotMeta<crate::types::CommittedLeaderId, u64, crate::types::Node>;
pub(crate) type ImageSnapshot = Snapshot<crate::types::CommittedLeaderId, u64, crate::types::Node, Image>;

/// Whoever runs the node is warned of an entry that takes so long to apply, waiting for a flush of the rows included.
const SLOW_APPLY: Duration = Duration::from_millis(500);

/// The last entry applied on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Applied {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// How long this node took to apply entries since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyTimes {
    /// Entries that were applied.
    pub entries: u64,
    /// The time for all of them.
    pub total: Duration,
    /// The time for the one that took longest.
    pub longest: Duration,
}

/// Tells whoever waits how far this node has applied the log.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    applied: watch::Sender<Applied>,
    index: watch::Sender<u64>,
    /// Bytes of the entries that are in the rows but in no checkpoint: a restart may have to apply them again.
    replay_bytes: watch::Sender<u64>,
    /// Checkpoints of other nodes that became this node's rows since it started.
    installed: watch::Sender<u64>,
    apply_times: watch::Sender<ApplyTimes>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            applied: watch::Sender::new(Applied::default()),
            index: watch::Sender::new(0),
            replay_bytes: watch::Sender::new(0),
            installed: watch::Sender::new(0),
            apply_times: watch::Sender::new(ApplyTimes::default()),
        }
    }

    pub(crate) fn reached(&self, log_id: LogId) {
        self.applied.send_replace(Applied { term: log_id.leader_id.term, index: log_id.index });
        self.index.send_replace(log_id.index);
    }

    pub(crate) fn applied(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    pub(crate) fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    pub(crate) fn replay_bytes(&self) -> u64 {
        *self.replay_bytes.borrow()
    }

    pub(crate) fn watch_replay_bytes(&self) -> watch::Receiver<u64> {
        self.replay_bytes.subscribe()
    }

    /// Entries of so many bytes are in the rows and in no checkpoint yet.
    pub(crate) fn uncovered(&self, bytes: usize) {
        self.replay_bytes.send_modify(|all| *all = all.saturating_add(bytes as u64));
    }

    /// A checkpoint has these of the counted bytes.
    pub(crate) fn covered(&self, bytes: u64) {
        self.replay_bytes.send_modify(|all| *all = all.saturating_sub(bytes));
    }

    pub(crate) fn apply_times(&self) -> ApplyTimes {
        *self.apply_times.borrow()
    }

    fn entry_took(&self, time: Duration) {
        self.apply_times.send_modify(|times| {
            times.entries += 1;
            times.total += time;
            times.longest = times.longest.max(time);
        });
    }

    pub(crate) fn installed(&self) -> u64 {
        *self.installed.borrow()
    }

    fn checkpoint_installed(&self) {
        self.replay_bytes.send_replace(0);
        self.installed.send_modify(|count| *count += 1);
    }
}

/// The highest id that any node had, up to the last membership that is applied; it only grows.
pub(crate) fn node_id_highest(rows: &Rows) -> io::Result<u64> {
    let kept = rows.membership().map_err(io::Error::other)?;
    kept.map_or(Ok(0), |bytes| wire::node_id_highest_from_bytes(&bytes)).map_err(io::Error::other)
}

/// The rows of this node as openraft sees them.
pub(crate) struct StateMachine {
    rows: Arc<Rows>,
    checkpoints: Checkpoints,
    progress: Progress,
}

impl StateMachine {
    pub(crate) fn new(rows: Arc<Rows>, checkpoints: Checkpoints, progress: Progress) -> io::Result<Self> {
        let state = Self { rows, checkpoints, progress };
        if let Some(log_id) = state.last_applied()? {
            state.progress.reached(log_id);
        }
        Ok(state)
    }

    fn last_applied(&self) -> io::Result<Option<LogId>> {
        let marker = self.rows.applied().map_err(io::Error::other)?;
        marker.map(|bytes| wire::log_id_from_bytes(&bytes)).transpose().map_err(io::Error::other)
    }

    fn membership(&self) -> io::Result<StoredMembership> {
        let stored = self.rows.membership().map_err(io::Error::other)?;
        let stored = stored.map(|bytes| wire::stored_membership_from_bytes(&bytes)).transpose();
        Ok(stored.map_err(io::Error::other)?.unwrap_or_default())
    }

    /// Applies one entry: its commands in order, each to what the one before it left.
    pub(crate) fn apply_entry(&self, entry: Entry) -> io::Result<Answers> {
        let marker = (entry.log_id.index, wire::log_id_to_bytes(entry.log_id));
        let (membership, batch) = match entry.payload {
            Payload::Blank => (None, None),
            Payload::Normal(batch) => (None, Some(batch)),
            Payload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership);
                (Some(wire::kept_membership_to_bytes(&stored, node_id_highest(&self.rows)?)), None)
            }
        };
        let revision = entry.log_id.index;
        let (stamp, commands) = match &batch {
            Some(Batch(bytes)) => codec::decode_batch(bytes).map_err(io::Error::other)?,
            None => Default::default(),
        };
        let written = self.rows.write(marker, membership, |tables| {
            commands.iter().map(|command| ferry_machine::apply(tables, command, stamp, revision)).collect()
        });
        self.progress.uncovered(batch.map_or(0, |Batch(bytes)| bytes.len()));
        written.map_err(io::Error::other)
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied()?, self.membership()?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let log_id = entry.log_id;
            let began = Instant::now();
            let answers = self.apply_entry(entry)?;
            let took = began.elapsed();
            self.progress.entry_took(took);
            if took >= SLOW_APPLY {
                let took_ms = took.as_millis();
                tracing::warn!(index = log_id.index, took_ms, "an entry took long to apply: what came after it waited");
            }
            self.progress.reached(log_id);
            if let Some(responder) = responder {
                responder.send(answers);
            }
            // A long replay must not keep a thread from heartbeats.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { checkpoints: self.checkpoints.clone(), progress: self.progress.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &Meta, image: Image) -> io::Result<()> {
        let Some(checkpoint) = image else { return Ok(()) };
        let checkpoints = self.checkpoints.clone();
        let (index, bytes) =
            (checkpoint.manifest().index, checkpoint.manifest().files.iter().map(|file| file.size_bytes).sum::<u64>());
        let installed = tokio::task::spawn_blocking(move || checkpoints.install(&checkpoint)).await;
        installed.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.progress.checkpoint_installed();
        tracing::info!(index, bytes, "a checkpoint of another node was installed");
        if let Some(log_id) = self.last_applied()? {
            self.progress.reached(log_id);
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<ImageSnapshot>> {
        self.checkpoints.current().map(checkpoint::snapshot_of).transpose()
    }
}
