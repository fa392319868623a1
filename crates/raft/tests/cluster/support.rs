//! Whole clusters in one process: real sockets, real stores, one runtime for each node, so that a node can be killed
//! with all that it runs.

use ferry_machine::command::Command;
use ferry_machine::key::Key;
use ferry_machine::outcome::Outcome;
use ferry_machine::row::{Cluster as ClusterRow, Row};
use ferry_machine::tables::Read;
use ferry_raft::{Config, ProposeError, Proposed, Raft, Term};
use ferry_store::{Options, Store};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;

/// Nothing here waits for a time to pass; this only ends a test that would never end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a state that has no channel to wait on.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// Looks until there is an answer.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

pub(crate) struct Node {
    pub(crate) raft: Raft,
    runtime: Option<Runtime>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Everything the node runs is dropped where it stands; its store is closed when this returns.
        let runtime = self.runtime.take();
        let ended = std::thread::spawn(move || runtime.map(|runtime| runtime.shutdown_timeout(PATIENCE))).join();
        assert!(ended.is_ok(), "the runtime of a node panicked");
    }
}

pub(crate) struct Cluster {
    folders: BTreeMap<u64, TempDir>,
    /// Where each node listens.
    pub(crate) listeners: BTreeMap<u64, String>,
    /// Where the others reach it.
    pub(crate) addresses: BTreeMap<u64, String>,
    pub(crate) nodes: BTreeMap<u64, Node>,
    change: fn(&mut Config),
}

impl Cluster {
    /// Nodes 1 to `count`, not started yet.
    pub(crate) fn planned(count: u64, change: fn(&mut Config)) -> Self {
        let listeners: BTreeMap<u64, String> = (1..=count).map(|id| (id, free_address())).collect();
        let folders = (1..=count).map(|id| (id, tempfile::tempdir().unwrap())).collect();
        Self { folders, addresses: listeners.clone(), listeners, nodes: BTreeMap::new(), change }
    }

    /// Nodes 1 to `count`, running.
    pub(crate) async fn running(count: u64) -> Self {
        let mut cluster = Self::planned(count, |_| {});
        for id in 1..=count {
            cluster.start(id).await;
        }
        cluster
    }

    /// Starts a node, for the first time or again.
    pub(crate) async fn start(&mut self, id: u64) {
        let peers = self.addresses.clone();
        self.start_with_peers(id, peers).await;
    }

    /// Starts a node that knows these peers.
    pub(crate) async fn start_with_peers(&mut self, id: u64, peers: BTreeMap<u64, String>) {
        let mut config = Config { peers, ..Config::new(id, self.addresses[&id].clone()) };
        // Nodes of several tests share two cores: an election for no reason is what to avoid.
        (config.heartbeat_ms, config.election_min_ms, config.election_max_ms) = (100, 500, 1_000);
        (self.change)(&mut config);
        let folder = self.folders[&id].path().to_owned();
        let store = Store::open(&folder, id, &Options::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = self.listeners[&id].clone();
        let started = runtime.spawn(async move {
            let (raft, service) = Raft::start(config, store).await.unwrap();
            let listener = tokio::net::TcpListener::bind(listener).await.unwrap();
            let server = tonic::transport::Server::builder().add_service(service);
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            raft
        });
        let raft = started.await.unwrap();
        self.nodes.insert(id, Node { raft, runtime: Some(runtime) });
    }

    /// Ends a node with everything it runs, in no order.
    pub(crate) fn kill(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap();
    }

    /// Gives a node that does not run an empty folder.
    pub(crate) fn wipe(&mut self, id: u64) {
        self.folders.insert(id, tempfile::tempdir().unwrap());
    }

    /// Waits until a node has written down which folder another one has.
    pub(crate) async fn met(&self, id: u64, other: u64) {
        let path = self.folders[&id].path().join("node.json");
        until(&format!("node {id} has met node {other}"), || async {
            let content: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            content["peers"].get(other.to_string()).map(|_| ())
        })
        .await;
    }

    pub(crate) fn raft(&self, id: u64) -> &Raft {
        &self.nodes[&id].raft
    }

    /// The node that leads, and its term, once one has announced itself.
    pub(crate) async fn leader(&self) -> (u64, Term) {
        until("a node leads", || {
            let leading = self.nodes.iter().find_map(|(id, node)| Some((*id, (*node.raft.leadership().borrow())?)));
            std::future::ready(leading)
        })
        .await
    }

    /// Some node that does not lead.
    pub(crate) fn follower_of(&self, leader: u64) -> u64 {
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }

    /// Proposes to whoever leads until the outcome is certain.
    pub(crate) async fn propose(&self, command: Command) -> Proposed {
        until("a proposal is applied", || async {
            let (leader, _) = self.leader().await;
            match self.raft(leader).propose(command.clone()).await {
                Ok(proposed) => Some(proposed),
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown { .. } | ProposeError::Overloaded) => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await
    }

    /// Waits until every running node has applied what the last proposal answered.
    pub(crate) async fn all_applied(&self, index: u64) {
        for node in self.nodes.values() {
            node.raft.wait_applied(index, deadline()).await.unwrap();
        }
    }
}

pub(crate) fn cluster_row(raft: &Raft) -> Option<ClusterRow> {
    match raft.view().get(&Key::Cluster) {
        Some(Row::Cluster(row)) => Some(row),
        _ => None,
    }
}

/// The ids that a `ReserveIds` gave.
pub(crate) fn ids(proposed: &Proposed) -> std::ops::Range<i64> {
    match &proposed.outcome {
        Outcome::Ids { first, count } => *first..*first + i64::from(*count),
        other => panic!("ids were asked for, not {other:?}"),
    }
}

/// An address on which nobody listens now, on a loopback host of this process alone: of 127.0.0.1 any connection that
/// anybody opens takes a port, and it may be that of a node that is down for a moment.
fn free_address() -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = std::net::Ipv4Addr::new(127, 128 | high, middle, low);
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().to_string()
}
