//! A node from its start to its end: store, raft, leadership, services; a raft that died ends the node with its reason.

mod error;
mod grpc;

pub use error::ServeError;

use crate::admin;
use crate::channels::Channels;
use crate::config::{Config, LeadershipConfig, milliseconds};
use crate::disk;
use crate::health;
use crate::leadership::{Leader, Webhook};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::reads::Reads;
use crate::services::{BACKUPS_MAX, CHECKS_AT_ONCE_MAX, LONG_SUBMITS_MAX};
use ferry_objects::Stores;
use ferry_raft::Raft;
use ferry_snapshot::Snapshots;
use ferry_store::Store;
use ferry_store::disk::Pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Memory for the snapshots that are kept open for submits to come: one of 300,000 segments takes some 12 MB.
const SNAPSHOTS_BYTES_MAX: u64 = 64 << 20;
/// How long the transport gets to close its connections once no call is open.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a node until `shutdown` is ready.
///
/// # Errors
/// When the node cannot start, or when it can no longer take part in its cluster.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let server = Server::start(config).await?;
    let stop = server.stop.clone();
    let mut ended = std::pin::pin!(server.wait());
    tokio::select! {
        ended = &mut ended => ended,
        () = shutdown => {
            info!("stopping");
            stop.cancel();
            ended.await
        }
    }
}

/// The open sockets of a node.
#[derive(Debug)]
pub struct Listeners {
    /// For clients and other nodes.
    pub client: TcpListener,
    /// For metrics and health over HTTP.
    pub admin: TcpListener,
}

impl Listeners {
    /// Opens the sockets a configuration names.
    ///
    /// # Errors
    /// When an address is taken, or none of this machine.
    pub async fn bind(config: &Config) -> Result<Self, ServeError> {
        let client = bind("listen", &config.listen).await?;
        let admin = bind("admin-listen", &config.admin_listen).await?;
        Ok(Self { client, admin })
    }
}

async fn bind(key: &'static str, address: &str) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|cause| ServeError::Bind { key, address: address.to_owned(), cause })
}

/// A running node.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin_address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), ServeError>>,
    stall: Stall,
}

/// The end of a node whose disk hangs.
struct Stall {
    pending: oneshot::Receiver<Pending>,
    node: Arc<Node>,
}

impl std::fmt::Debug for Stall {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stall").finish_non_exhaustive()
    }
}

impl Stall {
    fn end(&self, pending: &Pending) -> ServeError {
        abandon(&self.node);
        let folder = self.node.config.data_dir.clone();
        ServeError::DiskStalled { folder, action: pending.action, seconds: pending.elapsed.as_secs() }
    }
}

impl Server {
    /// Starts a node where its configuration says.
    ///
    /// # Errors
    /// When a socket, the data folder or raft refuses.
    pub async fn start(config: Config) -> Result<Self, ServeError> {
        let listeners = Listeners::bind(&config).await?;
        Self::start_on(config, listeners).await
    }

    /// Starts a node on sockets that are open already, so that nodes can know each other's addresses beforehand.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(config: Config, listeners: Listeners) -> Result<Self, ServeError> {
        let address = local_address(&listeners.client, "listen")?;
        let admin_address = local_address(&listeners.admin, "admin-listen")?;
        let webhook = Webhook::of(&config.webhook).map_err(ServeError::Webhook)?;
        let stores = Stores::with_named(&config.stores)?;
        let store = open_store(&config).await?;
        let disk = store.disk.clone();
        let stalled = disk::watch(disk.clone(), config.storage.stall_timeout).map_err(ServeError::Watch)?;
        let (raft, peer_service) = Raft::start(raft_config(&config), store).await?;
        let metrics = Arc::new(Metrics::new()?);
        let leadership = LeadershipConfig::new(&config.leadership);
        let node = Arc::new(Node {
            leader: Leader::start(raft.clone(), leadership, webhook, Arc::clone(&metrics)),
            reads: Reads::new(raft.clone(), config.limits.request_timeout),
            raft,
            snapshots: Snapshots::new(stores, SNAPSHOTS_BYTES_MAX),
            channels: Channels::default(),
            metrics,
            changing: Arc::default(),
            watches: Arc::new(Semaphore::new(config.limits.watches as usize)),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE_MAX)),
            long_submits: Arc::new(Semaphore::new(LONG_SUBMITS_MAX)),
            stopping: CancellationToken::new(),
            config,
        });
        info!(node_id = node.config.id, %address, %admin_address, "node started");
        let stop = CancellationToken::new();
        let calls = TaskTracker::new();
        let (router, reporter) = grpc::router(&node, peer_service, &calls)?;
        let mut background = JoinSet::new();
        background.spawn(health::report(Arc::clone(&node), reporter));
        background.spawn(node.reads.clone().keep_fresh());
        background.spawn(disk::give_way(disk, Arc::clone(&node)));
        let closing = node.stopping.clone();
        let grpc = tokio::spawn(grpc::serve(router, listeners.client, closing.clone()));
        let app = admin::routes(Arc::clone(&node));
        let http = axum::serve(listeners.admin, app).with_graceful_shutdown(closing.cancelled_owned());
        let http = tokio::spawn(async move { http.await });
        let running = Running { node: Arc::clone(&node), calls, grpc, http, background };
        let ended = tokio::spawn(running.until(stop.clone()));
        Ok(Self { address, admin_address, stop, ended, stall: Stall { pending: stalled, node } })
    }

    /// Where clients and other nodes are served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Waits until the node has ended. Wait where the runtime blocks on, not in a task: the threads of tasks may all be
    /// waiting for a disk that hangs.
    ///
    /// # Errors
    /// When it ended by itself, with the reason.
    pub async fn wait(mut self) -> Result<(), ServeError> {
        tokio::select! {
            ended = &mut self.ended => ended.unwrap_or_else(|error| Err(ServeError::Task(error))),
            Ok(pending) = &mut self.stall.pending => Err(self.stall.end(&pending)),
        }
    }

    /// Stops the node; open calls get the configured time to finish.
    ///
    /// # Errors
    /// When it had ended by itself, with the reason.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.stop.cancel();
        self.wait().await
    }
}

fn local_address(listener: &TcpListener, key: &'static str) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(|cause| ServeError::Bind { key, address: "the given socket".to_owned(), cause })
}

async fn open_store(config: &Config) -> Result<Store, ServeError> {
    let (folder, id) = (config.data_dir.clone(), config.id);
    // Half for what is read, half for what is written.
    let half = usize::try_from(config.storage.memory.0 / 2).unwrap_or(usize::MAX);
    let options =
        ferry_store::Options { block_cache_bytes: half, write_buffers_bytes: half, ..ferry_store::Options::default() };
    let opened = tokio::task::spawn_blocking(move || Store::open(&folder, id, &options)).await;
    Ok(opened.map_err(ServeError::Task)??)
}

fn raft_config(config: &Config) -> ferry_raft::Config {
    ferry_raft::Config {
        peers: config.members(),
        heartbeat_ms: milliseconds(config.raft.heartbeat_interval),
        election_min_ms: milliseconds(config.raft.election_timeout_min),
        election_max_ms: milliseconds(config.raft.election_timeout_max),
        checkpoint_every_entries: config.storage.checkpoint_interval_entries,
        log_keep_entries: config.storage.log_keep_entries,
        checkpoint_every_bytes: config.storage.checkpoint_interval_bytes.0,
        propose_timeout_ms: milliseconds(config.limits.request_timeout),
        id_start: config.cluster.id_start,
        ..ferry_raft::Config::new(config.id, config.advertised())
    }
}

/// Everything that runs while the node does.
struct Running {
    node: Arc<Node>,
    calls: TaskTracker,
    grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    http: JoinHandle<std::io::Result<()>>,
    background: JoinSet<()>,
}

impl Running {
    /// Runs until told to stop, or until a part of the node ends by itself.
    async fn until(mut self, stop: CancellationToken) -> Result<(), ServeError> {
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            reason = self.node.raft.stopped() => return Err(self.abandon(ServeError::RaftStopped { reason })),
            ended = &mut self.grpc => Err(grpc_ended(ended)),
            ended = &mut self.http => Err(http_ended(ended)),
        };
        self.close(outcome.is_ok()).await;
        outcome
    }

    fn abandon(&self, reason: ServeError) -> ServeError {
        abandon(&self.node);
        self.grpc.abort();
        self.http.abort();
        reason
    }

    /// A leader that is asked to end hands over; then open calls, then raft, then the connections.
    async fn close(&mut self, asked: bool) {
        if asked {
            disk::hand_over(&self.node.raft).await;
        }
        self.node.stopping.cancel();
        self.calls.close();
        let patience = self.node.config.limits.shutdown_timeout;
        if timeout(patience, self.calls.wait()).await.is_err() {
            warn!(open = self.calls.len(), "calls are broken off");
        }
        self.background.shutdown().await;
        self.node.raft.shutdown().await;
        finish(&mut self.grpc).await;
        finish(&mut self.http).await;
        info!(node_id = self.node.config.id, "node stopped");
    }
}

/// Ends without closing anything: a database that failed would try to write what it still holds, and some builds of
/// RocksDB abort the process where that fails again, before anyone was told why. To clients it is a crash.
fn abandon(node: &Node) {
    std::mem::forget(node.raft.clone());
    node.stopping.cancel();
}

/// Lets a task that was told to end do so, for a moment.
async fn finish<T>(task: &mut JoinHandle<T>) {
    if !task.is_finished() && timeout(CLOSE_TIMEOUT, &mut *task).await.is_err() {
        task.abort();
    }
}

fn grpc_ended(ended: Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>) -> ServeError {
    match ended {
        Ok(Ok(())) => ServeError::ListenerClosed { key: "listen" },
        Ok(Err(error)) => ServeError::Grpc(error),
        Err(error) => ServeError::Task(error),
    }
}

fn http_ended(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> ServeError {
    match ended {
        Ok(Ok(())) => ServeError::ListenerClosed { key: "admin-listen" },
        Ok(Err(error)) => ServeError::Admin(error),
        Err(error) => ServeError::Task(error),
    }
}
