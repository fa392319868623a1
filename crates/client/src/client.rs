//! The client itself: cheap to clone, shared by any number of tasks, all of which see one rising revision.

use crate::nodes::Nodes;
use crate::{Error, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::transport::Channel;

/// Asks a cluster. Clones share their connections and what they have seen.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) nodes: Nodes,
    pub(crate) options: Options,
    /// The highest revision of any answer so far.
    revision: AtomicU64,
}

impl Client {
    /// A client of the cluster whose nodes are at `endpoints` (`host:port` each). It connects at its first call, so a
    /// runtime of tokio must be there, but no node yet.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>, options: Options) -> Result<Self, Error> {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        let nodes = Nodes::new(endpoints, &options)?;
        Ok(Self { shared: Arc::new(Shared { nodes, options, revision: AtomicU64::new(0) }) })
    }

    /// The addresses the client was made with.
    pub fn endpoints(&self) -> &[String] {
        self.shared.nodes.given()
    }

    /// The address that is asked next.
    pub fn current_endpoint(&self) -> String {
        self.shared.nodes.current().endpoint
    }

    /// Asks another node from now on, unless that has happened since `endpoint` was current.
    pub fn leave_endpoint(&self, endpoint: &str) {
        self.shared.nodes.leave(endpoint);
    }

    /// The channel to a node by its address, for calls this client has no method for, like a worker's session.
    pub fn channel(&self, address: &str) -> Result<Channel, Error> {
        self.shared.nodes.channel(address)
    }

    /// The highest revision this client has seen; no later answer is older.
    pub fn revision(&self) -> u64 {
        self.shared.revision.load(Ordering::Acquire)
    }

    pub(crate) fn saw_revision(&self, revision: u64) {
        self.shared.revision.fetch_max(revision, Ordering::AcqRel);
    }
}
