//! What a node knows of itself and of its cluster at this moment; figures of other nodes exist on the leader alone.

use crate::state::{ApplyTimes, Progress};
use crate::types::Metrics;
use openraft::ServerState;
use openraft::async_runtime::Instant as _;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node does in raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows without a vote.
    Learner,
    /// Raft has stopped.
    Stopped,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached.
    pub address: String,
    /// Whether it votes; a learner does not.
    pub voter: bool,
    /// The last entry it is known to hold; on the leader only.
    pub matched_index: Option<u64>,
    /// How long ago it was last heard from; on the leader only.
    pub heard: Option<Duration>,
}

/// What a node knows at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node_id: u64,
    /// The cluster, once it is known.
    pub cluster_id: Option<u64>,
    /// The leader, as far as this node knows.
    pub leader: Option<(u64, String)>,
    /// The highest term this node knows.
    pub term: u64,
    /// What this node does.
    pub role: Role,
    /// The last entry of its log.
    pub last_log_index: Option<u64>,
    /// The last entry it knows to be committed.
    pub committed_index: Option<u64>,
    /// The last entry applied to its rows.
    pub applied_index: u64,
    /// The last entry in its newest checkpoint.
    pub checkpoint_index: Option<u64>,
    /// Entries up to this one are gone from its log.
    pub purged_index: Option<u64>,
    /// Checkpoints of other nodes that became its rows since it started.
    pub checkpoints_installed: u64,
    /// How long it took to apply entries since it started.
    pub apply_times: ApplyTimes,
    /// Every node, this one included.
    pub members: BTreeMap<u64, Member>,
    /// Why raft has stopped on this node, if it has.
    pub stopped: Option<String>,
}

pub(crate) fn status(metrics: &Metrics, progress: &Progress, cluster_id: Option<u64>) -> Status {
    Status {
        node_id: metrics.id,
        cluster_id,
        leader: crate::read::leader_of(metrics),
        term: metrics.current_term,
        role: role(metrics),
        last_log_index: metrics.last_log_index,
        committed_index: metrics.cluster_committed.map(|log_id| log_id.index),
        applied_index: *progress.index().borrow(),
        checkpoint_index: metrics.snapshot.map(|log_id| log_id.index),
        purged_index: metrics.purged.map(|log_id| log_id.index),
        checkpoints_installed: progress.installed(),
        apply_times: progress.apply_times(),
        members: members(metrics),
        stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}

fn role(metrics: &Metrics) -> Role {
    match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn members(metrics: &Metrics) -> BTreeMap<u64, Member> {
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let member = |id: u64, address: &str| Member {
        address: address.to_owned(),
        voter: voters.contains(&id),
        matched_index: matched(metrics, id),
        heard: heard(metrics, id),
    };
    membership.nodes().map(|(id, node)| (*id, member(*id, &node.address))).collect()
}

fn matched(metrics: &Metrics, id: u64) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    if id == metrics.id {
        return metrics.last_log_index;
    }
    replication.get(&id)?.map(|log_id| log_id.index)
}

fn heard(metrics: &Metrics, id: u64) -> Option<Duration> {
    let heartbeat = metrics.heartbeat.as_ref()?;
    if id == metrics.id {
        return Some(Duration::ZERO);
    }
    heartbeat.get(&id)?.map(|instant| instant.elapsed())
}
