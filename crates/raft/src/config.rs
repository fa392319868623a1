//! How a node takes part in the cluster; the defaults suit a local network and a loaded machine of two cores.

use openraft::SnapshotPolicy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a node takes part in the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node; an id is never used for another node again.
    pub node_id: u64,
    /// Where the other nodes reach this one.
    pub address: String,
    /// The first voters of a new cluster, this node among them; ignored once the node has a log. Every node of a new
    /// cluster is given the same ones. Empty: the node waits to be added to a cluster.
    pub peers: BTreeMap<u64, String>,
    /// How often a leader shows that it is alive.
    pub heartbeat_ms: u64,
    /// A follower that heard nothing for `election_max_ms` stands for election after a random part of this range.
    pub election_min_ms: u64,
    /// The longest of that range, and the time for which a follower grants nobody else its vote.
    pub election_max_ms: u64,
    /// Entries between two checkpoints: what a restart has to apply again, at most.
    pub checkpoint_every_entries: u64,
    /// The same in bytes of entries, whichever comes first: large entries take long to apply though they are few.
    pub checkpoint_every_bytes: u64,
    /// Entries kept behind a checkpoint: a node that lags by less catches up from the log.
    pub log_keep_entries: u64,
    /// A proposal that is not decided after this long is answered as unknown.
    pub propose_timeout_ms: u64,
    /// In a new cluster, the first id that the cluster hands out itself; the ids below are the callers' own.
    pub id_start: i64,
}

impl Config {
    /// The defaults for a node.
    ///
    /// A gap in writes after the death of a leader lasts its lease (`election_max_ms`) and a random part of the
    /// election range, of which the luckier follower's counts: 400 to 500 ms here, and the few round trips of the election.
    /// A voter that takes longer than `election_min_ms` to sync its vote is not heard, so that is not to be much shorter.
    /// The lease is six heartbeats long. One follower that does not hear the leader elects nobody: those that do hear it
    /// refuse even the question (the pre-vote), so only a leader that stalls for longer than its lease is replaced.
    #[must_use]
    pub fn new(node_id: u64, address: impl Into<String>) -> Self {
        Self {
            node_id,
            address: address.into(),
            peers: BTreeMap::new(),
            heartbeat_ms: 40,
            election_min_ms: 150,
            election_max_ms: 250,
            checkpoint_every_entries: 20_000,
            checkpoint_every_bytes: 64 * 1024 * 1024,
            log_keep_entries: 20_000,
            propose_timeout_ms: 5_000,
            id_start: 1 << 40,
        }
    }

    pub(crate) fn propose_timeout(&self) -> Duration {
        Duration::from_millis(self.propose_timeout_ms)
    }

    /// After this long without an answer, a request to a peer is given up and its connection doubted.
    pub(crate) fn peer_timeout(&self) -> Duration {
        Duration::from_millis(self.election_max_ms.saturating_mul(4).max(2_000))
    }

    pub(crate) fn for_openraft(&self) -> Result<Arc<openraft::Config>, openraft::ConfigError> {
        let config = openraft::Config {
            cluster_name: "ferry".to_owned(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.checkpoint_every_entries.max(1)),
            max_in_snapshot_log_to_keep: self.log_keep_entries,
            // A node that lags further behind than the log reaches gets a checkpoint; one that lags less gets the log.
            replication_lag_threshold: self.log_keep_entries.saturating_add(self.checkpoint_every_entries).max(1),
            max_payload_entries: ENTRIES_PER_APPEND_MAX,
            install_snapshot_timeout: CHECKPOINT_TIMEOUT_MS,
            // Followers may write an entry while the leader still syncs it; whichever quorum has synced it first counts.
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            // A restarted leader stands for election like any other node: one term is never led twice.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        config.validate().map(Arc::new)
    }
}

/// Entries in one request of replication; its bytes are bounded as well (`log::READ_BYTES_MAX`).
const ENTRIES_PER_APPEND_MAX: u64 = 1_024;
/// How long one transfer of a checkpoint may take.
const CHECKPOINT_TIMEOUT_MS: u64 = 10 * 60 * 1_000;
