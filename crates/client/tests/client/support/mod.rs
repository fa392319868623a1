//! Nodes in this process: real gRPC servers on loopback whose answers a test writes down beforehand.

use ferry_proto::v1::allocator_service_server::{AllocatorService, AllocatorServiceServer};
use ferry_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use ferry_proto::v1::{
    AddNodeRequest, AddNodeResponse, AllocateIdsRequest, AllocateIdsResponse, BackupRequest, BackupResponse,
    CheckInvariantsRequest, CheckInvariantsResponse, GetStatusRequest, GetStatusResponse, IdMapping, RemoveNodeRequest,
    RemoveNodeResponse, TransferLeadershipRequest, TransferLeadershipResponse, WatchEventsResponse, WatchJobResponse,
    job_service_server,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

mod job_service;

/// What a node does with one call.
pub(crate) enum Reply {
    /// Answers, at this revision.
    At(u64),
    /// Refuses.
    Status(Status),
    /// Never answers.
    Silence,
    /// A watch: these updates, then the given end.
    Updates(Vec<WatchJobResponse>, End),
    /// A watch of events: these responses, then the given end.
    Events(Vec<WatchEventsResponse>, End),
}

/// How a watch ends.
pub(crate) enum End {
    /// With the stream.
    Closed,
    /// With a status.
    Status(Status),
}

/// What a node was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) min_revision: Option<u64>,
    /// Of a watch of events, where it is to begin.
    pub(crate) request_id: String,
}

/// A node whose answers are written down; without any it answers at revision 1.
#[derive(Clone, Default)]
pub(crate) struct Node {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    received: Arc<Mutex<Vec<Vec<IdMapping>>>>,
    status: Arc<Mutex<GetStatusResponse>>,
}

impl Node {
    /// Starts a node and says where it is.
    pub(crate) async fn start(replies: Vec<Reply>) -> (Self, String) {
        let node = Self { replies: Arc::new(Mutex::new(replies.into())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("a bound port");
        let server = tonic::transport::Server::builder()
            .add_service(AllocatorServiceServer::new(node.clone()))
            .add_service(ClusterServiceServer::new(node.clone()))
            .add_service(job_service_server::JobServiceServer::new(node.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (node, address.to_string())
    }

    pub(crate) fn knows(&self, nodes: Vec<(u64, String)>) {
        let nodes = nodes.into_iter().map(|(id, address)| ferry_proto::v1::Node { id, address, ..Default::default() });
        self.status.lock().expect("no test panics with it").nodes = nodes.collect();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    /// The mappings of each stream that came to its end.
    pub(crate) fn streams(&self) -> Vec<Vec<IdMapping>> {
        self.received.lock().expect("no test panics with it").clone()
    }

    fn received(&self, mappings: Vec<IdMapping>) {
        self.received.lock().expect("no test panics with it").push(mappings);
    }

    fn next(&self) -> Reply {
        self.replies.lock().expect("no test panics with it").pop_front().unwrap_or(Reply::At(1))
    }

    fn note<Q>(&self, request: &Request<Q>, request_id: &str) {
        let min_revision = request.metadata().get("ferry-min-revision");
        let min_revision = min_revision.map(|value| value.to_str().expect("text").parse().expect("a number"));
        let asked = Asked { min_revision, request_id: request_id.to_owned() };
        self.asked.lock().expect("no test panics with it").push(asked);
    }

    async fn answer<Q, R>(&self, request: &Request<Q>, request_id: &str, response: R) -> Result<Response<R>, Status> {
        self.note(request, request_id);
        match self.next() {
            Reply::At(revision) => {
                let mut response = Response::new(response);
                response.metadata_mut().insert("ferry-revision", MetadataValue::from(revision));
                Ok(response)
            }
            Reply::Status(status) => Err(status),
            Reply::Silence => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Err(Status::internal("a test lasted too long"))
            }
            Reply::Updates(..) | Reply::Events(..) => Err(Status::internal("this call is no watch")),
        }
    }
}

#[tonic::async_trait]
impl AllocatorService for Node {
    async fn allocate_ids(
        &self,
        request: Request<AllocateIdsRequest>,
    ) -> Result<Response<AllocateIdsResponse>, Status> {
        let count = request.get_ref().count;
        self.answer(&request, "", AllocateIdsResponse { first_id: 7, count }).await
    }
}

#[tonic::async_trait]
impl ClusterService for Node {
    type BackupStream = tokio_stream::Empty<Result<BackupResponse, Status>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented("no test asks for a backup"))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.status.lock().expect("no test panics with it").clone()))
    }

    async fn check_invariants(
        &self,
        request: Request<CheckInvariantsRequest>,
    ) -> Result<Response<CheckInvariantsResponse>, Status> {
        self.answer(&request, "", CheckInvariantsResponse::default()).await
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Result<Response<AddNodeResponse>, Status> {
        self.answer(&request, "", AddNodeResponse::default()).await
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Result<Response<RemoveNodeResponse>, Status> {
        self.answer(&request, "", RemoveNodeResponse::default()).await
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        self.answer(&request, "", TransferLeadershipResponse::default()).await
    }
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("a bound port").to_string()
}
