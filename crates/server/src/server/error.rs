//! Why a node did not start, or ended by itself; each names what to look at.

use std::path::PathBuf;

/// Why a node did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket.
    #[error("cannot listen on {address} (`{key}`): {cause}; choose an address of this machine that is free")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The data folder.
    #[error(transparent)]
    Store(#[from] ferry_store::OpenError),
    /// Consensus does not start.
    #[error(transparent)]
    Raft(#[from] ferry_raft::StartError),
    /// Consensus ended while the node ran; what it would still answer could not be trusted.
    #[error("this node can no longer take part in its cluster and ends: {reason}")]
    RaftStopped {
        /// The cause.
        reason: String,
    },
    /// The disk hangs: what waits for it cannot even be stopped.
    #[error(
        "the disk under {} does not answer: {action} has taken {seconds} s (`storage.stall-timeout`), so this node can remember nothing and ends; look at the disk and its mount, then start the node again",
        folder.display()
    )]
    DiskStalled {
        /// The data folder.
        folder: PathBuf,
        /// What was asked of the disk.
        action: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// Nobody would notice a disk that hangs.
    #[error("no thread can be had that watches over the disk: {0}; raise the limits of the service, then start again")]
    Watch(std::io::Error),
    /// The metrics cannot be made.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The webhook.
    #[error("the webhook cannot be set up: {0}; see `webhook.url`, and the certificates of this machine")]
    Webhook(reqwest::Error),
    /// A setting of an object store.
    #[error(transparent)]
    Stores(#[from] ferry_objects::SettingsError),
    /// The descriptors of the API cannot be served.
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The gRPC transport.
    #[error("the gRPC transport failed: {0}")]
    Grpc(tonic::transport::Error),
    /// The admin address.
    #[error("the admin address failed: {0}")]
    Admin(std::io::Error),
    /// A socket is no longer served.
    #[error("the socket of `{key}` was closed while the node ran: start the node again")]
    ListenerClosed {
        /// The configuration's key.
        key: &'static str,
    },
    /// A part of the node broke.
    #[error("a part of the node broke: {0}; this is a bug in Ferry, please report it with the log")]
    Task(tokio::task::JoinError),
}
