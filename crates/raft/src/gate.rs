//! Who may talk to whom: every request between nodes names its target and its cluster, and strangers are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

/// Metadata: the id of the node a request is meant for.
const TO_NODE: &str = "ferry-to-node";
/// Metadata: the sender's cluster, left out while it does not know one.
const CLUSTER_ID: &str = "ferry-cluster-id";
/// No cluster is known yet; never the id of one.
const UNKNOWN: u64 = 0;

/// What this node knows of its cluster; cheap to clone, all clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Known>);

#[derive(Debug)]
struct Known {
    node_id: u64,
    /// From the rows or the node file: this node's cluster for ever.
    own: AtomicU64,
    /// From the first request that named one, while `own` is unknown: a voter that did not yet apply the entry that
    /// names the cluster must still be able to stand for election among those that did. Never written to disk.
    heard: AtomicU64,
}

impl Gate {
    pub(crate) fn new(node_id: u64, cluster_id: Option<u64>) -> Self {
        let own = AtomicU64::new(cluster_id.unwrap_or(UNKNOWN));
        Self(Arc::new(Known { node_id, own, heard: AtomicU64::new(UNKNOWN) }))
    }

    /// This node's cluster, once it is certain.
    pub(crate) fn cluster_id(&self) -> Option<u64> {
        Some(self.0.own.load(Ordering::Acquire)).filter(|id| *id != UNKNOWN)
    }

    /// The rows name the cluster.
    pub(crate) fn learn(&self, cluster_id: u64) {
        self.0.own.store(cluster_id, Ordering::Release);
    }

    /// A request for `target`, with what the target wants to know of us.
    pub(crate) fn request<T>(&self, target: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TO_NODE, number(target));
        let heard = self.0.heard.load(Ordering::Acquire);
        let cluster_id = self.cluster_id().unwrap_or(heard);
        if cluster_id != UNKNOWN {
            request.metadata_mut().insert(CLUSTER_ID, number(cluster_id));
        }
        request
    }

    /// Lets a peer's request in, or says why not.
    pub(crate) fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let target = read(metadata, TO_NODE)?.ok_or_else(|| missing(TO_NODE))?;
        if target != self.0.node_id {
            let message = format!(
                "this is node {}, not node {target}: correct the address of node {target} in the membership",
                self.0.node_id
            );
            return Err(Status::failed_precondition(message));
        }
        let sender = read(metadata, CLUSTER_ID)?;
        match self.cluster_id() {
            Some(own) if sender == Some(own) => Ok(()),
            Some(own) => Err(stranger(own, sender)),
            None => self.hear(sender),
        }
    }

    fn hear(&self, sender: Option<u64>) -> Result<(), Status> {
        let Some(sender) = sender else { return Ok(()) };
        match self.0.heard.compare_exchange(UNKNOWN, sender, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(heard) if heard == sender => Ok(()),
            Err(heard) => Err(stranger(heard, Some(sender))),
        }
    }
}

fn number(value: u64) -> MetadataValue<Ascii> {
    MetadataValue::from(value)
}

fn read(metadata: &MetadataMap, key: &'static str) -> Result<Option<u64>, Status> {
    let Some(value) = metadata.get(key) else { return Ok(None) };
    let value = value.to_str().ok().and_then(|text| text.parse().ok());
    value.map(Some).ok_or_else(|| Status::invalid_argument(format!("metadata {key} is no number")))
}

fn missing(key: &str) -> Status {
    Status::invalid_argument(format!("metadata {key} is missing: only nodes of the cluster call this service"))
}

fn stranger(own: u64, sender: Option<u64>) -> Status {
    let sender = sender.map_or_else(|| "no cluster yet".to_owned(), |id| format!("cluster {id:016x}"));
    Status::failed_precondition(format!(
        "this node belongs to cluster {own:016x}, the sender to {sender}: check the addresses and the data folders"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn admitted(from: &Gate, target: u64, to: &Gate) -> Result<(), Code> {
        to.admit(from.request(target, ()).metadata()).map_err(|status| status.code())
    }

    #[test]
    fn nodes_of_one_cluster_talk_and_strangers_are_refused() {
        let (one, two, foreign) = (Gate::new(1, Some(77)), Gate::new(2, Some(77)), Gate::new(1, Some(78)));
        assert_eq!(admitted(&one, 2, &two), Ok(()));
        assert_eq!(admitted(&foreign, 2, &two), Err(Code::FailedPrecondition));
        assert_eq!(admitted(&Gate::new(3, None), 2, &two), Err(Code::FailedPrecondition));
    }

    #[test]
    fn a_request_for_another_node_is_refused() {
        let (one, two) = (Gate::new(1, Some(77)), Gate::new(2, Some(77)));
        assert_eq!(admitted(&one, 3, &two), Err(Code::FailedPrecondition));
        assert_eq!(two.admit(&MetadataMap::new()).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn a_node_without_a_cluster_hears_of_one_and_then_names_it_itself() {
        let (new, member, foreign) = (Gate::new(1, None), Gate::new(2, Some(77)), Gate::new(3, Some(78)));
        assert_eq!(admitted(&Gate::new(3, None), 1, &new), Ok(()));
        assert_eq!(admitted(&member, 1, &new), Ok(()));
        assert_eq!(admitted(&new, 2, &member), Ok(()));
        assert_eq!(admitted(&foreign, 1, &new), Err(Code::FailedPrecondition));
        assert_eq!(new.cluster_id(), None);
        new.learn(77);
        assert_eq!(new.cluster_id(), Some(77));
    }
}
