//! The client address: the public services behind the gateway, raft's own service, health and reflection.

use super::ServeError;
use crate::forward::Forwarder;
use crate::gateway::GatewayLayer;
use crate::node::Node;
use crate::services::Services;
use ferry_proto::internal::v1::raft_service_server::RaftServiceServer;
use ferry_proto::v1::allocator_service_server::AllocatorServiceServer;
use ferry_proto::v1::cluster_service_server::ClusterServiceServer;
use ferry_proto::v1::job_service_server::JobServiceServer;
use ferry_proto::v1::segment_service_server::SegmentServiceServer;
use ferry_proto::v1::worker_service_server::WorkerServiceServer;
use ferry_raft::PeerService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

/// Clients that vanished without a word are noticed by this, and what they held is freed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// What one connection may have sent and not yet heard to be read, over all of its calls: sixteen times what one call
/// may, so that a streamed submit which waits for the log leaves the others room.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Services that reflection lists.
const LISTED: [&str; 6] = [
    "ferry.v1.JobService",
    "ferry.v1.SegmentService",
    "ferry.v1.AllocatorService",
    "ferry.v1.WorkerService",
    "ferry.v1.ClusterService",
    "grpc.health.v1.Health",
];

/// The services of a node, ready to be served.
pub(super) type Routes = Router<Stack<GatewayLayer, Identity>>;

pub(super) fn router(
    node: &Arc<Node>,
    peers: RaftServiceServer<PeerService>,
    calls: &TaskTracker,
) -> Result<(Routes, HealthReporter), ServeError> {
    let message_bytes_max = usize::try_from(node.config.limits.request_message.0).unwrap_or(usize::MAX);
    let forwarder = Forwarder {
        raft: node.raft.clone(),
        node_id: node.config.id,
        channels: node.channels.clone(),
        timeout: node.config.limits.request_timeout,
        message_bytes_max,
    };
    let gateway = GatewayLayer { forwarder, metrics: Arc::clone(&node.metrics), calls: calls.clone() };
    let (reporter, health) = tonic_health::server::health_reporter();
    let services = Services(Arc::clone(node));
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_INTERVAL))
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .layer(gateway)
        .add_service(peers)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(JobServiceServer::new(services.clone()).max_decoding_message_size(message_bytes_max))
        .add_service(SegmentServiceServer::new(services.clone()).max_decoding_message_size(message_bytes_max))
        .add_service(AllocatorServiceServer::new(services.clone()).max_decoding_message_size(message_bytes_max))
        .add_service(WorkerServiceServer::new(services.clone()).max_decoding_message_size(message_bytes_max))
        .add_service(ClusterServiceServer::new(services).max_decoding_message_size(message_bytes_max));
    Ok((router, reporter))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(ferry_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    LISTED.into_iter().fold(builder, |builder, name| builder.with_service_name(name))
}

/// Serves until told to stop; connections that are open then are told to go.
pub(super) async fn serve(
    router: Routes,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await
}
