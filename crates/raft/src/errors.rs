//! What can go wrong, one enum per operation; each says what the caller can do next.

use ferry_machine::outcome::Rejection;

/// The leader as far as it is known: its id and its address.
pub type Leader = Option<(u64, String)>;

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The timing or sizes make no sense.
    #[error("the raft settings make no sense: {0}")]
    Config(String),
    /// The node is not one of its own peers.
    #[error("node {node_id} is not among its peers ({peers}): name every first voter, this node included")]
    NotAmongPeers {
        /// The node.
        node_id: u64,
        /// The peers it was given.
        peers: String,
    },
    /// What is on disk cannot be used.
    #[error("raft cannot start from what is on disk: {0}")]
    Disk(String),
}

/// A proposal was not applied, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was committed, and the machine said no; or no entry could hold it.
    #[error("{rejection}")]
    Rejected {
        /// Why.
        rejection: Rejection,
        /// The rejection holds as of this revision: the index of its entry.
        index: u64,
    },
    /// Nothing was appended: this node does not lead (any more).
    #[error("this node does not lead: {}", hint(.leader))]
    NotLeader {
        /// Who does.
        leader: Leader,
    },
    /// It may or may not be applied, now or later.
    #[error("the outcome is unknown ({reason}): ask again with the same request id, or read what became of it")]
    Unknown {
        /// What happened.
        reason: &'static str,
    },
    /// Nothing was appended: too many proposals wait already.
    #[error("too many proposals wait on this node: try again in a moment")]
    Overloaded,
    /// Raft has stopped on this node; the process is about to end.
    #[error("raft has stopped on this node: try another one")]
    Stopped,
}

/// No read index was found in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader was reached that a quorum confirms.
    #[error("no read index in time ({reason}): try again, or read stale")]
    Unavailable {
        /// What the last attempt met.
        reason: String,
    },
    /// The index is known but not applied here in time.
    #[error("index {index} is not applied on this node in time, it has {applied}: try again, or another node")]
    Behind {
        /// What was to be applied.
        index: u64,
        /// What is.
        applied: u64,
    },
    /// Raft has stopped on this node; the process is about to end.
    #[error("raft has stopped on this node: try another one")]
    Stopped,
}

/// A leadership is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// It is over.
    #[error("the leadership of term {term} is over")]
    Lost {
        /// Which.
        term: u64,
    },
    /// No quorum answered; it may be over.
    #[error("the leadership is not confirmed ({reason}): nothing may be promised on it")]
    Unconfirmed {
        /// What happened.
        reason: String,
    },
}

/// A change of the membership or of the leader was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This node does not lead.
    #[error("this node does not lead: {}", hint(.leader))]
    NotLeader {
        /// Who does.
        leader: Leader,
    },
    /// It cannot be made.
    #[error("the membership cannot be changed so: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// It may or may not have been made.
    #[error("the outcome is unknown ({reason}): look at the status of the cluster before trying again")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

fn hint(leader: &Leader) -> String {
    match leader {
        Some((id, address)) => format!("ask node {id} at {address}"),
        None => "no leader is known, try again in a moment".to_owned(),
    }
}
