//! openraft's network on the connections to the peers: every request is bounded in size and time.

use crate::append::{self, Appended};
use crate::checkpoint::{self, Image};
use crate::peers::{Lane, Peer, Peers};
use crate::state::ImageSnapshot;
use crate::types::{Node, Types, Vote};
use crate::wire;
use ferry_proto::internal::v1 as proto;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use std::future::Future;
use std::time::Duration;
use tonic::{Response, Status};

/// First and longest wait before a peer that did not answer is tried again.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(200);

/// Makes the network to each peer.
pub(crate) struct Network {
    pub(crate) node_id: u64,
    pub(crate) peers: Peers,
}

impl Network {
    fn to(&self, lane: Lane, target: u64, node: &Node) -> PeerNetwork {
        let peer = self.peers.get(lane, target, &node.address);
        let control = self.peers.get(Lane::Control, target, &node.address);
        PeerNetwork { node_id: self.node_id, peer, control }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &Node) -> PeerNetwork {
        self.to(Lane::Log, target, node)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Node) -> PeerNetwork {
        self.to(Lane::Control, target, node)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Node) -> PeerNetwork {
        self.to(Lane::Checkpoint, target, node)
    }
}

/// The network to one peer.
pub(crate) struct PeerNetwork {
    node_id: u64,
    /// For what this network was made for.
    peer: Peer,
    /// For votes and transfers, which must not wait behind entries.
    control: Peer,
}

impl PeerNetwork {
    /// A request with one answer.
    async fn ask<T>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RPCError<Types>> {
        match tokio::time::timeout(option.hard_ttl(), answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(append::rpc_error(&status)),
            Err(_) => {
                let (id, target, timeout) = (self.node_id, self.peer.id, option.hard_ttl());
                Err(RPCError::Timeout(Timeout { action, id, target, timeout }))
            }
        }
    }

    async fn ask_for_vote(
        &self,
        request: VoteRequest<Types>,
        option: &RPCOption,
        pre_vote: bool,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = wire::vote_request_to_proto(&request, pre_vote);
        let answer = async { self.control.client.clone().vote(self.control.request(message).await?).await };
        let response = self.ask(RPCTypes::Vote, option, answer).await?;
        wire::vote_response_from_proto(response).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

impl RaftNetworkV2<Types> for PeerNetwork {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let one = Box::pin(futures::stream::once(async { request }));
        let exchange = async { append::exchange(&self.peer, self.node_id, one).await?.next().await.transpose() };
        match tokio::time::timeout(option.hard_ttl(), exchange).await {
            Ok(Ok(Some(answer))) => Ok(answer.into()),
            Ok(Ok(None)) => Err(RPCError::Network(NetworkError::from_string("the peer gave no answer"))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(append::timed_out(&self.peer, self.node_id)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(append::exchange(&self.peer, self.node_id, input))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(request, &option, false).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(request, &option, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: ImageSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Some(image) = snapshot.snapshot else {
            return Err(Unreachable::from_string("nothing was applied yet, so there is no checkpoint to send").into());
        };
        let parts = checkpoint::parts(vote, image);
        let answer = async { self.peer.client.clone().install_checkpoint(self.peer.request(parts).await?).await };
        let answer = tokio::select! {
            answer = tokio::time::timeout(option.hard_ttl(), answer) => answer,
            closed = cancel => return Err(closed.into()),
        };
        let proto::RaftInstallCheckpointResponse { vote } = match answer {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(append::rpc_error(&status).into()),
            Err(_) => {
                let (id, target, timeout) = (self.node_id, self.peer.id, option.hard_ttl());
                return Err(Timeout { action: RPCTypes::InstallSnapshot, id, target, timeout }.into());
            }
        };
        let vote = wire::vote_from_proto(vote).map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let message = wire::transfer_to_proto(&request);
        let answer = async { self.control.client.clone().transfer_leader(self.control.request(message).await?).await };
        let answer = self.ask(RPCTypes::TransferLeader, &option, answer).await?;
        match answer.refusal.is_empty() {
            true => Ok(Ok(())),
            // Which of openraft's two reasons it was changes nothing: the leader stays, or is voted out.
            false => Err(RPCError::Unreachable(Unreachable::from_string(answer.refusal))),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let waits = std::iter::successors(Some(BACKOFF_FIRST), |wait| Some((*wait * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(waits))
    }
}
