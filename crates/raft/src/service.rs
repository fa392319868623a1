//! What other nodes of the cluster may ask of this one; nobody else is let in.

use crate::checkpoint;
use crate::gate::Gate;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::read::{RoundError, Rounds};
use crate::types::{Core, Types};
use crate::wire::{self, WireError};
use ferry_proto::internal::v1 as proto;
use ferry_proto::internal::v1::raft_service_server::{RaftService, RaftServiceServer};
use ferry_store::checkpoints::Checkpoints;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::errors::Fatal;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tonic::{Request, Response, Status, Streaming, async_trait};

/// The raft service of one node, to be added to its gRPC server.
#[derive(Clone)]
pub struct PeerService {
    pub(crate) core: Core,
    pub(crate) gate: Gate,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) local_rounds: Rounds,
}

impl std::fmt::Debug for PeerService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PeerService").finish_non_exhaustive()
    }
}

impl PeerService {
    pub(crate) fn into_server(self) -> RaftServiceServer<Self> {
        RaftServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[async_trait]
impl RaftService for PeerService {
    type AppendStream = BoxStream<'static, Result<proto::RaftAppendResponse, Status>>;

    async fn greet(
        &self,
        request: Request<proto::RaftGreetRequest>,
    ) -> Result<Response<proto::RaftGreetResponse>, Status> {
        self.gate.admit_greeting(request.metadata()).await?;
        Ok(Response::new(proto::RaftGreetResponse { folder_id: self.gate.folder_id() }))
    }

    async fn append(
        &self,
        request: Request<Streaming<proto::RaftAppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.gate.admit(request.metadata()).await?;
        let answers = self.core.stream_append(understood(request.into_inner()));
        Ok(Response::new(answers.map(appended).boxed()))
    }

    async fn vote(
        &self,
        request: Request<proto::RaftVoteRequest>,
    ) -> Result<Response<proto::RaftVoteResponse>, Status> {
        self.gate.admit(request.metadata()).await?;
        let request = request.into_inner();
        let pre_vote = request.pre_vote;
        let request = wire::vote_request_from_proto(request).map_err(|error| garbled(&error))?;
        let response = match pre_vote {
            true => self.core.pre_vote(request).await,
            false => self.core.vote(request).await,
        };
        let response = response.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(wire::vote_response_to_proto(&response)))
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::RaftTransferLeaderRequest>,
    ) -> Result<Response<proto::RaftTransferLeaderResponse>, Status> {
        self.gate.admit(request.metadata()).await?;
        let request = wire::transfer_from_proto(request.into_inner()).map_err(|error| garbled(&error))?;
        let answer = self.core.handle_transfer_leader(request).await.map_err(|fatal| stopped(&fatal))?;
        let refusal = answer.err().map(|error| error.to_string()).unwrap_or_default();
        Ok(Response::new(proto::RaftTransferLeaderResponse { refusal }))
    }

    async fn install_checkpoint(
        &self,
        request: Request<Streaming<proto::RaftInstallCheckpointRequest>>,
    ) -> Result<Response<proto::RaftInstallCheckpointResponse>, Status> {
        self.gate.admit(request.metadata()).await?;
        let (vote, snapshot) = checkpoint::receive(request.into_inner(), &self.checkpoints).await?;
        let answer = self.core.install_full_snapshot(vote, snapshot).await.map_err(|fatal| stopped(&fatal))?;
        Ok(Response::new(proto::RaftInstallCheckpointResponse { vote: Some(wire::vote_to_proto(&answer.vote)) }))
    }

    async fn read_index(
        &self,
        request: Request<proto::RaftReadIndexRequest>,
    ) -> Result<Response<proto::RaftReadIndexResponse>, Status> {
        self.gate.admit(request.metadata()).await?;
        match self.local_rounds.join().await {
            Ok(confirmed) => {
                let (term, index) = (confirmed.term, confirmed.index);
                Ok(Response::new(proto::RaftReadIndexResponse { term, index }))
            }
            Err(error @ (RoundError::NotLeader | RoundError::NoLeader)) => {
                Err(Status::failed_precondition(error.to_string()))
            }
            Err(error @ (RoundError::NoQuorum(_) | RoundError::Leader { .. } | RoundError::Stopped)) => {
                Err(Status::unavailable(error.to_string()))
            }
        }
    }
}

/// The requests up to the first that cannot be understood; the stream of answers ends with them.
fn understood(
    requests: Streaming<proto::RaftAppendRequest>,
) -> impl Stream<Item = AppendEntriesRequest<Types>> + Send + 'static {
    requests.scan((), |(), request| {
        let request = match request {
            Ok(request) => wire::append_from_proto(request),
            Err(status) => {
                tracing::debug!(%status, "a stream of entries ended");
                return std::future::ready(None);
            }
        };
        std::future::ready(request.inspect_err(|error| tracing::error!(%error, "entries cannot be read")).ok())
    })
}

fn appended(result: Result<StreamAppendResult<Types>, Fatal<Types>>) -> Result<proto::RaftAppendResponse, Status> {
    result.map(|result| wire::appended_to_proto(&result)).map_err(|fatal| stopped(&fatal))
}

fn garbled(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(fatal: &Fatal<Types>) -> Status {
    Status::unavailable(format!("raft has stopped on this node: {fatal}"))
}
