//! Changes of who takes part, and of who leads; the leader alone makes them, and each changes one node, so that a
//! change begun by a former leader is ended, never undone, by the next.

use crate::errors::MembershipError;
use crate::handle::Raft;
use crate::propose::other_leader;
use crate::state::node_id_highest;
use crate::status::Member;
use crate::types::Metrics;
use crate::types::{Node, Types};
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A node that lacks no more entries than this holds nobody up when it votes or leads.
const LAG_ENTRIES_MAX: u64 = 100;
/// A node that was silent for this many of the longest election timeouts is taken for dead.
const SILENT_ELECTIONS: u32 = 2;

impl Raft {
    /// Adds a node that follows without a vote, and answers the index of the entry that did. It has caught up once
    /// `status` shows it near the leader's last entry.
    pub async fn add_learner(&self, node_id: u64, address: String) -> Result<u64, MembershipError> {
        self.committed(self.inner.core.add_learner(node_id, Node { address }, false).await)
    }

    /// Waits until a node holds nearly all that the leader holds. False: it does not by the deadline, or this node
    /// leads no more.
    pub async fn caught_up(&self, node_id: u64, deadline: Instant) -> bool {
        let mut metrics = self.inner.core.metrics();
        let caught_up = async {
            loop {
                let lag = lag(&metrics.borrow_and_update(), node_id);
                if lag.is_none_or(|entries| entries <= LAG_ENTRIES_MAX) {
                    return lag.is_some();
                }
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        timeout_at(deadline, caught_up).await.unwrap_or(false)
    }

    /// Gives a learner its vote. Again for a voter, it ends a change that was left half-way and is no change otherwise.
    pub async fn add_voter(&self, node_id: u64) -> Result<(), MembershipError> {
        if self.settled_voters().is_some_and(|voters| voters.contains(&node_id)) {
            return Ok(());
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node_id]))).await
    }

    /// Removes a voter or a learner; it is no member any more then.
    pub async fn remove_member(&self, node_id: u64) -> Result<(), MembershipError> {
        let ids = BTreeSet::from([node_id]);
        match self.status().members.get(&node_id) {
            Some(Member { voter: true, .. }) => self.change(ChangeMembers::RemoveVoters(ids)).await,
            Some(Member { voter: false, .. }) => self.change(ChangeMembers::RemoveNodes(ids)).await,
            None => Ok(()),
        }
    }

    /// The lowest id that a new node can have: ids only grow, so that no former member's is ever used again. The leader
    /// has applied what it needs for this before it leads.
    pub fn next_node_id(&self) -> Result<u64, MembershipError> {
        let highest = node_id_highest(&self.inner.rows);
        let highest = highest.map_err(|error| MembershipError::Unknown { reason: error.to_string() })?;
        let members = self.status().members.into_keys();
        Ok(members.fold(highest, u64::max).saturating_add(1))
    }

    async fn change(&self, change: ChangeMembers<u64, Node>) -> Result<(), MembershipError> {
        self.committed(self.inner.core.change_membership(change, false).await).map(|_| ())
    }

    /// The voters, unless a change of them is half-way.
    fn settled_voters(&self) -> Option<BTreeSet<u64>> {
        let metrics = self.inner.core.metrics().borrow_watched().clone();
        match metrics.membership_config.membership().get_joint_config().as_slice() {
            [voters] => Some(voters.clone()),
            _ => None,
        }
    }

    /// The voter that can best take over from this node, which leads: it was heard a moment ago and lacks little.
    #[must_use]
    pub fn successor(&self) -> Option<u64> {
        let status = self.status();
        let able = status.members.iter().filter(|(id, member)| **id != status.node_id && member.voter);
        let able = able.filter(|(id, _)| self.may_lead(**id));
        able.max_by_key(|(_, member)| (member.matched_index, std::cmp::Reverse(member.heard))).map(|(id, _)| *id)
    }

    /// Whether a voter could lead at once: it was heard a moment ago and lacks little.
    #[must_use]
    pub fn may_lead(&self, node_id: u64) -> bool {
        let metrics = self.inner.core.metrics().borrow_watched().clone();
        let silent_max = Duration::from_millis(self.inner.config.election_max_ms) * SILENT_ELECTIONS;
        let heard = self.status().members.get(&node_id).and_then(|member| member.heard);
        heard.is_some_and(|ago| ago < silent_max) && lag(&metrics, node_id).is_some_and(|lag| lag <= LAG_ENTRIES_MAX)
    }

    /// Hands the leadership to a voter and waits until this node sees it lead.
    pub async fn transfer_leader(&self, to: u64, deadline: Instant) -> Result<(), MembershipError> {
        let mut metrics = self.inner.core.metrics();
        {
            let now = metrics.borrow_and_update();
            if now.current_leader == Some(to) {
                return Ok(());
            }
            if !now.membership_config.voter_ids().any(|id| id == to) {
                return Err(MembershipError::Refused { reason: format!("node {to} is no voter") });
            }
            if !now.state.is_leader() {
                drop(now);
                return Err(MembershipError::NotLeader { leader: other_leader(&self.inner.core) });
            }
        }
        let stopped = |reason: String| MembershipError::Unknown { reason };
        self.inner.core.trigger().transfer_leader(to).await.map_err(|fatal| stopped(fatal.to_string()))?;
        let leads = async {
            loop {
                match metrics.borrow_and_update().current_leader {
                    Some(leader) if leader == to => return Ok(()),
                    Some(leader) if leader != *self.inner.core.node_id() => {
                        return Err(MembershipError::Refused { reason: format!("node {leader} was elected instead") });
                    }
                    _ => {}
                }
                if metrics.changed().await.is_err() {
                    return Err(stopped("raft stopped on this node".to_owned()));
                }
            }
        };
        timeout_at(deadline, leads).await.unwrap_or_else(|_| Err(stopped(format!("node {to} does not lead yet"))))
    }

    fn committed(
        &self,
        result: Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>,
    ) -> Result<u64, MembershipError> {
        match result {
            Ok(response) => Ok(response.log_id.index),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                Err(MembershipError::NotLeader { leader: other_leader(&self.inner.core) })
            }
            Err(RaftError::APIError(error @ ClientWriteError::LogEntryDiscarded(_))) => {
                Err(MembershipError::Unknown { reason: error.to_string() })
            }
            Err(RaftError::APIError(
                error @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)),
            )) => Err(MembershipError::Refused { reason: error.to_string() }),
            Err(RaftError::Fatal(fatal)) => Err(MembershipError::Unknown { reason: fatal.to_string() }),
        }
    }
}

/// The entries that a node lacks, as this node knows while it leads.
fn lag(metrics: &Metrics, node_id: u64) -> Option<u64> {
    let matched = metrics.replication.as_ref()?.get(&node_id)?.map(|log_id| log_id.index + 1);
    Some(metrics.last_log_index.map_or(0, |last| last + 1).saturating_sub(matched.unwrap_or(0)))
}
