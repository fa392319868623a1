//! openraft fixed to our types: one leader per term, entries that are batches of commands, answers per command.

use bytes::Bytes;
use ferry_machine::outcome::{Outcome, Rejection};
use openraft::impls::leader_id_std;
use std::fmt;

openraft::declare_raft_types!(
    /// The types of Ferry's raft.
    pub(crate) Types:
        D = Batch,
        R = Answers,
        NodeId = u64,
        Node = Node,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

/// The commands of one entry and their stamp, as the store's codec writes them: encoded once where they are proposed,
/// decoded once on each node where they are applied, and copied as they are in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Bytes);

impl fmt::Display for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes of commands", self.0.len())
    }
}

/// What each command of an entry came to, in their order; empty for entries that carry none.
pub(crate) type Answers = Vec<Result<Outcome, Rejection>>;

/// Where a node is reached by its peers and by the clients that follow the leader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Node {
    /// Host and port, or a URL.
    pub(crate) address: String,
}

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = <LeaderId as openraft::vote::RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Payload = openraft::EntryPayload<Batch, u64, Node>;
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, Payload>;
pub(crate) type Membership = openraft::Membership<u64, Node>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Node>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
pub(crate) type Core = openraft::Raft<Types, crate::state::StateMachine>;
