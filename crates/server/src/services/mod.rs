//! The gRPC services, one file each: wire -> checked command or read -> wire, and nothing else.

mod backup;
mod cluster;
mod digest;
mod events;
mod ids;
mod jobs;
mod membership;
mod news;
mod segments;
mod submit_stream;
mod tasks;
mod watch;
mod workers;

pub(crate) use backup::BACKUPS_MAX;
pub(crate) use cluster::CHECKS_AT_ONCE_MAX;
pub(crate) use jobs::LONG_SUBMITS_MAX;

use crate::node::Node;
use std::sync::Arc;

/// Serves every method of the public API from one node.
#[derive(Clone)]
pub(crate) struct Services(pub(crate) Arc<Node>);

impl std::ops::Deref for Services {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}
