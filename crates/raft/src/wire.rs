//! Raft's own types to protobuf and back, for the wire and for the disk; nothing else converts them.

use crate::types::{Batch, Entry, LogId, Membership, Node, Payload, StoredMembership, Types, Vote};
use ferry_proto::internal::v1 as proto;
use ferry_proto::internal::v1::raft_append_response::Result as AppendResult;
use ferry_proto::internal::v1::raft_entry::Payload as ProtoPayload;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that are not what they should be: damage, or a version that this one does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0}: the bytes are damaged or from a newer version")]
    Bytes(#[from] prost::DecodeError),
    #[error("{0} is missing: the sender is damaged or of another version")]
    Missing(&'static str),
    #[error("the membership makes no sense: {0}")]
    Membership(String),
}

pub(crate) fn log_id_to_proto(log_id: LogId) -> proto::RaftLogId {
    proto::RaftLogId { term: log_id.leader_id.term, index: log_id.index }
}

pub(crate) fn log_id_from_proto(log_id: proto::RaftLogId) -> LogId {
    LogId::new_term_index(log_id.term, log_id.index)
}

pub(crate) fn log_id_to_bytes(log_id: LogId) -> Vec<u8> {
    log_id_to_proto(log_id).encode_to_vec()
}

pub(crate) fn log_id_from_bytes(bytes: &[u8]) -> Result<LogId, WireError> {
    Ok(log_id_from_proto(proto::RaftLogId::decode(bytes)?))
}

pub(crate) fn vote_to_proto(vote: &Vote) -> proto::RaftVote {
    proto::RaftVote { term: vote.leader_id.term, node_id: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from_proto(vote: Option<proto::RaftVote>) -> Result<Vote, WireError> {
    let vote = vote.ok_or(WireError::Missing("vote"))?;
    Ok(match vote.committed {
        true => Vote::new_committed(vote.term, vote.node_id),
        false => Vote::new(vote.term, vote.node_id),
    })
}

pub(crate) fn vote_to_bytes(vote: &Vote) -> Vec<u8> {
    vote_to_proto(vote).encode_to_vec()
}

pub(crate) fn vote_from_bytes(bytes: &[u8]) -> Result<Vote, WireError> {
    vote_from_proto(Some(proto::RaftVote::decode(bytes)?))
}

fn membership_to_proto(membership: &Membership) -> proto::RaftMembership {
    let configs = membership.get_joint_config().iter();
    proto::RaftMembership {
        configs: configs.map(|voters| proto::RaftVoters { node_ids: voters.iter().copied().collect() }).collect(),
        addresses: membership.nodes().map(|(id, node)| (*id, node.address.clone())).collect(),
    }
}

fn membership_from_proto(membership: proto::RaftMembership) -> Result<Membership, WireError> {
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|voters| voters.node_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Node> =
        membership.addresses.into_iter().map(|(id, address)| (id, Node { address })).collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| WireError::Membership(error.to_string()))
}

pub(crate) fn stored_membership_to_proto(stored: &StoredMembership) -> proto::RaftStoredMembership {
    proto::RaftStoredMembership {
        log_id: stored.log_id().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
        node_id_highest: 0,
    }
}

pub(crate) fn stored_membership_from_proto(
    stored: Option<proto::RaftStoredMembership>,
) -> Result<StoredMembership, WireError> {
    let stored = stored.ok_or(WireError::Missing("membership"))?;
    let membership = membership_from_proto(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from_proto), membership))
}

/// What is kept with the rows: the membership, and the highest id that a node of it or of an earlier one had.
pub(crate) fn kept_membership_to_bytes(stored: &StoredMembership, node_id_highest: u64) -> Vec<u8> {
    proto::RaftStoredMembership { node_id_highest, ..stored_membership_to_proto(stored) }.encode_to_vec()
}

/// The highest id that a node had up to a membership that is kept with the rows.
pub(crate) fn node_id_highest_from_bytes(bytes: &[u8]) -> Result<u64, WireError> {
    let kept = proto::RaftStoredMembership::decode(bytes)?;
    let members = kept.membership.unwrap_or_default().addresses.into_keys();
    Ok(members.fold(kept.node_id_highest, u64::max))
}

pub(crate) fn stored_membership_from_bytes(bytes: &[u8]) -> Result<StoredMembership, WireError> {
    stored_membership_from_proto(Some(proto::RaftStoredMembership::decode(bytes)?))
}

pub(crate) fn entry_to_proto(entry: Entry) -> proto::RaftEntry {
    let payload = match entry.payload {
        Payload::Blank => None,
        Payload::Normal(Batch(bytes)) => Some(ProtoPayload::Batch(bytes)),
        Payload::Membership(membership) => Some(ProtoPayload::Membership(membership_to_proto(&membership))),
    };
    proto::RaftEntry { log_id: Some(log_id_to_proto(entry.log_id)), payload }
}

pub(crate) fn entry_from_proto(entry: proto::RaftEntry) -> Result<Entry, WireError> {
    let log_id = log_id_from_proto(entry.log_id.ok_or(WireError::Missing("log_id"))?);
    let payload = match entry.payload {
        None => Payload::Blank,
        Some(ProtoPayload::Batch(bytes)) => Payload::Normal(Batch(bytes)),
        Some(ProtoPayload::Membership(membership)) => Payload::Membership(membership_from_proto(membership)?),
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn entry_to_bytes(entry: Entry) -> Vec<u8> {
    entry_to_proto(entry).encode_to_vec()
}

pub(crate) fn entry_from_bytes(bytes: bytes::Bytes) -> Result<Entry, WireError> {
    entry_from_proto(proto::RaftEntry::decode(bytes)?)
}

pub(crate) fn append_to_proto(request: AppendEntriesRequest<Types>) -> proto::RaftAppendRequest {
    proto::RaftAppendRequest {
        vote: Some(vote_to_proto(&request.vote)),
        previous: request.prev_log_id.map(log_id_to_proto),
        entries: request.entries.into_iter().map(entry_to_proto).collect(),
        committed: request.leader_commit.map(log_id_to_proto),
    }
}

pub(crate) fn append_from_proto(request: proto::RaftAppendRequest) -> Result<AppendEntriesRequest<Types>, WireError> {
    Ok(AppendEntriesRequest {
        vote: vote_from_proto(request.vote)?,
        prev_log_id: request.previous.map(log_id_from_proto),
        entries: request.entries.into_iter().map(entry_from_proto).collect::<Result<_, _>>()?,
        leader_commit: request.committed.map(log_id_from_proto),
    })
}

pub(crate) fn appended_to_proto(result: &StreamAppendResult<Types>) -> proto::RaftAppendResponse {
    let result = match result {
        Ok(last) => AppendResult::Matched(proto::RaftAppendMatched { last: last.map(log_id_to_proto) }),
        Err(StreamAppendError::Conflict(log_id)) => AppendResult::Conflict(log_id_to_proto(*log_id)),
        Err(StreamAppendError::HigherVote(vote)) => AppendResult::HigherVote(vote_to_proto(vote)),
    };
    proto::RaftAppendResponse { result: Some(result) }
}

pub(crate) fn appended_from_proto(response: proto::RaftAppendResponse) -> Result<StreamAppendResult<Types>, WireError> {
    Ok(match response.result.ok_or(WireError::Missing("result"))? {
        AppendResult::Matched(matched) => Ok(matched.last.map(log_id_from_proto)),
        AppendResult::Conflict(log_id) => Err(StreamAppendError::Conflict(log_id_from_proto(log_id))),
        AppendResult::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_proto(Some(vote))?)),
    })
}

pub(crate) fn vote_request_to_proto(request: &VoteRequest<Types>, pre_vote: bool) -> proto::RaftVoteRequest {
    proto::RaftVoteRequest {
        vote: Some(vote_to_proto(&request.vote)),
        last_log_id: request.last_log_id.map(log_id_to_proto),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(crate) fn vote_request_from_proto(request: proto::RaftVoteRequest) -> Result<VoteRequest<Types>, WireError> {
    Ok(VoteRequest {
        vote: vote_from_proto(request.vote)?,
        last_log_id: request.last_log_id.map(log_id_from_proto),
        leadership_transfer: request.leadership_transfer,
    })
}

pub(crate) fn vote_response_to_proto(response: &VoteResponse<Types>) -> proto::RaftVoteResponse {
    proto::RaftVoteResponse {
        vote: Some(vote_to_proto(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.map(log_id_to_proto),
    }
}

pub(crate) fn vote_response_from_proto(response: proto::RaftVoteResponse) -> Result<VoteResponse<Types>, WireError> {
    let vote = vote_from_proto(response.vote)?;
    Ok(VoteResponse::new(vote, response.last_log_id.map(log_id_from_proto), response.granted))
}

pub(crate) fn transfer_to_proto(request: &TransferLeaderRequest<Types>) -> proto::RaftTransferLeaderRequest {
    proto::RaftTransferLeaderRequest {
        from_leader: Some(vote_to_proto(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().copied().map(log_id_to_proto),
    }
}

pub(crate) fn transfer_from_proto(
    request: proto::RaftTransferLeaderRequest,
) -> Result<TransferLeaderRequest<Types>, WireError> {
    let last = request.last_log_id.map(log_id_from_proto);
    Ok(TransferLeaderRequest::new(vote_from_proto(request.from_leader)?, request.to_node_id, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let nodes = [1, 2, 3].map(|id| (id, Node { address: format!("node-{id}:7000") }));
        Membership::new(vec![BTreeSet::from([1, 2])], BTreeMap::from(nodes)).unwrap()
    }

    #[test]
    fn every_kind_of_entry_survives_the_disk() {
        let payloads = [
            Payload::Blank,
            Payload::Normal(Batch(bytes::Bytes::from_static(b"commands"))),
            Payload::Membership(membership()),
        ];
        for payload in payloads {
            let entry = Entry { log_id: LogId::new_term_index(7, 42), payload };
            assert_eq!(entry_from_bytes(entry_to_bytes(entry.clone()).into()).unwrap(), entry);
        }
    }

    #[test]
    fn votes_and_memberships_survive_the_disk() {
        for vote in [Vote::new(3, 2), Vote::new_committed(9, 1)] {
            assert_eq!(vote_from_bytes(&vote_to_bytes(&vote)).unwrap(), vote);
        }
        let stored =
            [StoredMembership::default(), StoredMembership::new(Some(LogId::new_term_index(1, 5)), membership())];
        for stored in stored {
            assert_eq!(stored_membership_from_bytes(&kept_membership_to_bytes(&stored, 9)).unwrap(), stored);
        }
    }

    #[test]
    fn the_highest_id_of_a_node_is_that_of_a_member_or_of_a_former_one() {
        let stored = StoredMembership::new(Some(LogId::new_term_index(1, 5)), membership());
        for (former, highest) in [(0, 3), (2, 3), (9, 9)] {
            assert_eq!(node_id_highest_from_bytes(&kept_membership_to_bytes(&stored, former)), Ok(highest));
        }
    }

    #[test]
    fn an_entry_without_a_log_id_is_refused() {
        let bytes = proto::RaftEntry { log_id: None, payload: None }.encode_to_vec();
        assert_eq!(entry_from_bytes(bytes.into()), Err(WireError::Missing("log_id")));
    }
}
