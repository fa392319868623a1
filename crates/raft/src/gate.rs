//! Who may talk to whom: every request between nodes names both, their folders and the sender's cluster. Strangers are
//! refused, and so is a node that came back with another folder: what it voted and acknowledged is gone.
//!
//! Invariant: nothing of a peer is let in or counted before its folder is on this node's disk.

use ferry_store::node::{Identity, NodeError, NodeFile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

/// Metadata: the id of the node a request is meant for.
const TO_NODE: &str = "ferry-to-node";
/// Metadata: the folder that the sender met that node with; only a greeting leaves it out.
const TO_FOLDER: &str = "ferry-to-folder";
/// Metadata: the sender's id.
const FROM_NODE: &str = "ferry-from-node";
/// Metadata: the sender's folder.
const FROM_FOLDER: &str = "ferry-from-folder";
/// Metadata: the sender's cluster, left out while it does not know one.
const CLUSTER_ID: &str = "ferry-cluster-id";
/// Metadata of a refusal: the sender is the node with this id, and came back with another folder.
const OTHER_FOLDER: &str = "ferry-other-folder";
/// No cluster is known yet; never the id of one.
const UNKNOWN: u64 = 0;

/// What this node knows of its cluster; cheap to clone, all clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Known>);

#[derive(Debug)]
struct Known {
    node_id: u64,
    folder_id: u64,
    /// From the rows or the node file: this node's cluster for ever.
    own: AtomicU64,
    /// From the first request that named one, while `own` is unknown: a voter that did not yet apply the entry that
    /// names the cluster must still be able to stand for election among those that did. Never written to disk.
    heard: AtomicU64,
    file: Arc<NodeFile>,
    /// The peers in the node file and their folders: what every request asks for must not wait for the disk.
    met: RwLock<BTreeMap<u64, u64>>,
    /// Held while a peer is written down, so that the others wait without a thread.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Peers that came back with another folder, of which the log speaks once.
    replaced: Mutex<BTreeSet<u64>>,
    /// Why this node must end, if it must.
    ended: watch::Sender<Option<String>>,
}

impl Gate {
    pub(crate) fn new(file: Arc<NodeFile>) -> Self {
        let Identity { cluster_id, node_id, folder_id } = file.identity();
        Self(Arc::new(Known {
            node_id,
            folder_id,
            own: AtomicU64::new(cluster_id),
            heard: AtomicU64::new(UNKNOWN),
            met: RwLock::new(file.peers()),
            file,
            writing: Arc::default(),
            replaced: Mutex::default(),
            ended: watch::Sender::new(None),
        }))
    }

    /// This node's cluster, once it is certain.
    pub(crate) fn cluster_id(&self) -> Option<u64> {
        Some(self.0.own.load(Ordering::Acquire)).filter(|id| *id != UNKNOWN)
    }

    /// The rows name the cluster.
    pub(crate) fn learn(&self, cluster_id: u64) {
        self.0.own.store(cluster_id, Ordering::Release);
    }

    /// This node's folder.
    pub(crate) fn folder_id(&self) -> u64 {
        self.0.folder_id
    }

    /// The folder of a peer that was met.
    pub(crate) fn folder_of(&self, peer: u64) -> Option<u64> {
        self.0.met.read().unwrap_or_else(PoisonError::into_inner).get(&peer).copied()
    }

    /// A request for the peer that was met with this folder.
    pub(crate) fn request<T>(&self, target: u64, folder_id: u64, message: T) -> Request<T> {
        let mut request = self.greeting(target, message);
        request.metadata_mut().insert(TO_FOLDER, number(folder_id));
        request
    }

    /// A request for a peer that is yet to be met, with what it wants to know of this node.
    pub(crate) fn greeting<T>(&self, target: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(TO_NODE, number(target));
        metadata.insert(FROM_NODE, number(self.0.node_id));
        metadata.insert(FROM_FOLDER, number(self.0.folder_id));
        let heard = self.0.heard.load(Ordering::Acquire);
        let cluster_id = self.cluster_id().unwrap_or(heard);
        if cluster_id != UNKNOWN {
            metadata.insert(CLUSTER_ID, number(cluster_id));
        }
        request
    }

    /// Lets a peer's request in, or says why not.
    pub(crate) async fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let (sender, folder_id) = self.sender(metadata)?;
        if required(metadata, TO_FOLDER)? != self.0.folder_id {
            // The sender met this node with a folder that is lost.
            let reason = NodeError::OtherFolder { node_id: self.0.node_id }.to_string();
            self.end(&reason);
            return Err(Status::failed_precondition(reason));
        }
        self.meet(sender, folder_id).await
    }

    /// Lets a peer's greeting in: the same, but that the peer need not have met this node.
    pub(crate) async fn admit_greeting(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let (sender, folder_id) = self.sender(metadata)?;
        self.meet(sender, folder_id).await
    }

    /// Writes down a peer's folder before anything of it counts. A peer with another folder than before is refused.
    pub(crate) async fn meet(&self, peer: u64, folder_id: u64) -> Result<(), Status> {
        if self.known(peer, folder_id)? {
            return Ok(());
        }
        let turn = self.0.writing.clone().lock_owned().await;
        let gate = self.clone();
        // What is written is known even if whoever asked has given up: on a slow disk nobody would be met otherwise.
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            gate.0.file.meet(peer, folder_id)?;
            gate.0.met.write().unwrap_or_else(PoisonError::into_inner).insert(peer, folder_id);
            Ok(())
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NodeError::OtherFolder { node_id })) => Err(self.replaced(node_id)),
            Ok(Err(error)) => {
                self.end(&error.to_string());
                Err(Status::unavailable(error.to_string()))
            }
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }

    /// Looks whether it was this node that a peer refused for its folder: then it must end.
    pub(crate) fn heed(&self, refusal: &Status) {
        if read(refusal.metadata(), OTHER_FOLDER).is_ok_and(|node_id| node_id == Some(self.0.node_id)) {
            self.end(refusal.message());
        }
    }

    /// Ends when this node must, and says why.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.0.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives as long as this value.
            None => std::future::pending().await,
        }
    }

    /// Who sends a request to this node, as far as that can be said without the disk.
    fn sender(&self, metadata: &MetadataMap) -> Result<(u64, u64), Status> {
        let target = required(metadata, TO_NODE)?;
        if target != self.0.node_id {
            let message = format!(
                "this is node {}, not node {target}: correct the address of node {target} in the membership",
                self.0.node_id
            );
            return Err(Status::failed_precondition(message));
        }
        if let Some(reason) = self.0.ended.borrow().as_deref() {
            return Err(Status::unavailable(reason));
        }
        let (own, theirs) = (self.cluster_id(), read(metadata, CLUSTER_ID)?);
        match (own, theirs) {
            (Some(own), Some(theirs)) if own != theirs => return Err(stranger(own, Some(theirs))),
            (None, Some(theirs)) => self.hear(theirs)?,
            (_, _) => {}
        }
        let (sender, folder_id) = (required(metadata, FROM_NODE)?, required(metadata, FROM_FOLDER)?);
        // One that came back knows no cluster, and is to hear the reason rather than that it is a stranger.
        self.known(sender, folder_id)?;
        match (own, theirs) {
            (Some(own), None) => Err(stranger(own, None)),
            (_, _) => Ok((sender, folder_id)),
        }
    }

    /// Whether a peer was met with this folder; one that was met with another is refused.
    fn known(&self, peer: u64, folder_id: u64) -> Result<bool, Status> {
        match self.folder_of(peer) {
            Some(known) if known == folder_id => Ok(true),
            Some(_) => Err(self.replaced(peer)),
            None => Ok(false),
        }
    }

    /// A cluster that this node belongs to if it belongs to one: named in requests before it is written down.
    pub(crate) fn hear(&self, cluster_id: u64) -> Result<(), Status> {
        match self.0.heard.compare_exchange(UNKNOWN, cluster_id, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(heard) if heard == cluster_id => Ok(()),
            Err(heard) => Err(stranger(heard, Some(cluster_id))),
        }
    }

    /// Refuses a peer that came back with another folder.
    fn replaced(&self, peer: u64) -> Status {
        let message = NodeError::OtherFolder { node_id: peer }.to_string();
        if self.0.replaced.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
            tracing::error!(peer, "a node is refused: {message}");
        }
        let mut status = Status::failed_precondition(message);
        status.metadata_mut().insert(OTHER_FOLDER, number(peer));
        status
    }

    fn end(&self, reason: &str) {
        self.0.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            if is_first {
                *ended = Some(reason.to_owned());
            }
            is_first
        });
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

fn required(metadata: &MetadataMap, key: &'static str) -> Result<u64, Status> {
    read(metadata, key)?.ok_or_else(|| {
        Status::invalid_argument(format!("metadata {key} is missing: only nodes of the cluster call this service"))
    })
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
    use ferry_store::{Options, Store};
    use futures::FutureExt;
    use tempfile::TempDir;
    use tonic::Code;

    /// A node with a folder of its own.
    struct Node {
        gate: Gate,
        folder: TempDir,
        id: u64,
    }

    impl Node {
        fn new(id: u64, cluster_id: Option<u64>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let gate = Gate::new(Store::open(folder.path(), id, &Options::default()).unwrap().node);
            if let Some(cluster_id) = cluster_id {
                gate.0.file.set_cluster_id(cluster_id).unwrap();
                gate.learn(cluster_id);
            }
            Self { gate, folder, id }
        }

        fn restarted(self) -> Self {
            let Self { folder, id, .. } = self;
            let gate = Gate::new(Store::open(folder.path(), id, &Options::default()).unwrap().node);
            Self { gate, folder, id }
        }

        /// As the service and the connections of two nodes do it.
        async fn greets(&self, other: &Self) -> Result<(), Status> {
            let request = self.gate.greeting(other.id, ());
            other.gate.admit_greeting(request.metadata()).await.inspect_err(|status| self.gate.heed(status))?;
            self.gate.meet(other.id, other.gate.folder_id()).await
        }

        async fn asks(&self, other: &Self) -> Result<(), Code> {
            let folder_id = self.gate.folder_of(other.id).unwrap_or(other.gate.folder_id());
            let request = self.gate.request(other.id, folder_id, ());
            other.gate.admit(request.metadata()).await.map_err(|status| status.code())
        }

        fn end(&self) -> Option<String> {
            self.gate.ended().now_or_never()
        }
    }

    #[tokio::test]
    async fn nodes_of_one_cluster_talk_and_strangers_are_refused() {
        let (one, two, foreign) = (Node::new(1, Some(77)), Node::new(2, Some(77)), Node::new(1, Some(78)));
        assert_eq!(one.asks(&two).await, Ok(()));
        assert_eq!(foreign.asks(&two).await, Err(Code::FailedPrecondition));
        assert_eq!(Node::new(3, None).asks(&two).await, Err(Code::FailedPrecondition));
        assert_eq!((foreign.end(), two.end()), (None, None));
        assert_eq!(two.gate.folder_of(3), None, "a stranger is not met");
    }

    #[tokio::test]
    async fn a_request_for_another_node_and_one_that_names_nobody_are_refused() {
        let (one, two) = (Node::new(1, Some(77)), Node::new(2, Some(77)));
        let astray = one.gate.request(3, two.gate.folder_id(), ());
        assert_eq!(two.gate.admit(astray.metadata()).await.unwrap_err().code(), Code::FailedPrecondition);
        assert_eq!(two.gate.admit(&MetadataMap::new()).await.unwrap_err().code(), Code::InvalidArgument);
        let whole = one.gate.request(2, two.gate.folder_id(), ());
        for key in [TO_NODE, TO_FOLDER, FROM_NODE, FROM_FOLDER] {
            let mut metadata = whole.metadata().clone();
            metadata.remove(key);
            assert_eq!(two.gate.admit(&metadata).await.unwrap_err().code(), Code::InvalidArgument, "{key}");
        }
    }

    #[tokio::test]
    async fn a_node_without_a_cluster_hears_of_one_and_then_names_it_itself() {
        let (new, member, foreign) = (Node::new(1, None), Node::new(2, Some(77)), Node::new(4, Some(78)));
        assert_eq!(Node::new(3, None).asks(&new).await, Ok(()));
        assert_eq!(member.asks(&new).await, Ok(()));
        assert_eq!(new.asks(&member).await, Ok(()));
        assert_eq!(foreign.asks(&new).await, Err(Code::FailedPrecondition));
        assert_eq!(new.gate.cluster_id(), None);
        new.gate.learn(77);
        assert_eq!(new.gate.cluster_id(), Some(77));
    }

    #[tokio::test]
    async fn both_remember_whom_they_met_over_a_restart_and_have_written_it_down_before_they_go_on() {
        let (one, two) = (Node::new(1, None), Node::new(2, None));
        one.greets(&two).await.unwrap();
        assert_eq!(one.gate.0.file.peers(), BTreeMap::from([(2, two.gate.folder_id())]));
        assert_eq!(two.gate.0.file.peers(), BTreeMap::from([(1, one.gate.folder_id())]));
        let (one, two) = (one.restarted(), two.restarted());
        assert_eq!(one.asks(&two).await, Ok(()));
        assert_eq!(two.asks(&one).await, Ok(()));
        // Whoever asks without a greeting is written down all the same.
        let three = Node::new(3, None);
        assert_eq!(three.asks(&one).await, Ok(()));
        assert_eq!(one.gate.0.file.peers()[&3], three.gate.folder_id());
    }

    #[tokio::test]
    async fn a_node_that_comes_back_with_another_folder_is_refused_by_who_met_it_and_ends() {
        let (one, two) = (Node::new(1, Some(77)), Node::new(2, Some(77)));
        one.greets(&two).await.unwrap();
        let one = one.restarted();
        // Wiped it knows no cluster, restored once more it does.
        for cluster_id in [None, Some(77)] {
            let again = Node::new(2, cluster_id);
            let refused = again.greets(&one).await.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            let reason = again.end().expect("it must end");
            assert!(reason.contains("remove-node --id 2"), "{reason}");
            assert_eq!(again.gate.folder_of(1), None, "who refuses is not met");

            let again = Node::new(2, cluster_id);
            assert_eq!(again.asks(&one).await, Err(Code::FailedPrecondition));
            assert_eq!(one.asks(&again).await, Err(Code::FailedPrecondition));
            assert_eq!(again.end(), Some(reason));
            assert_eq!(again.gate.folder_of(1), None, "nothing of the other is let in");
            let nobody = Node::new(3, cluster_id);
            assert_eq!(nobody.asks(&again).await, Err(Code::Unavailable), "it takes part in nothing any more");
        }
        assert_eq!(one.end(), None);
        assert_eq!(one.asks(&two).await, Ok(()), "the one that was met is still heard");
    }
}
