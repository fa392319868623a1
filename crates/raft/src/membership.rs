//! Changes of who takes part, and of who leads; the leader alone makes them.

use crate::errors::MembershipError;
use crate::handle::Raft;
use crate::propose::other_leader;
use crate::types::{Node, Types};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use std::collections::BTreeSet;
use tokio::time::{Instant, timeout_at};

impl Raft {
    /// Adds a node that follows without a vote, and answers the index of the entry that did. It has caught up once
    /// `status` shows it near the leader's last entry.
    pub async fn add_learner(&self, node_id: u64, address: String) -> Result<u64, MembershipError> {
        self.committed(self.inner.core.add_learner(node_id, Node { address }, false).await)
    }

    /// Makes exactly these nodes the voters; they must be known as learners or voters. Former voters leave.
    pub async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<u64, MembershipError> {
        self.committed(self.inner.core.change_membership(voters, false).await)
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
            while metrics.borrow_and_update().current_leader != Some(to) {
                if metrics.changed().await.is_err() {
                    return Err(stopped("raft stopped on this node".to_owned()));
                }
            }
            Ok(())
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
