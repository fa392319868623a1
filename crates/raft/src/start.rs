//! Starting raft on a node: from an empty folder as one of a new cluster's first voters, or from what is on disk.

use crate::checkpoint::ask_for_checkpoints;
use crate::config::Config;
use crate::errors::StartError;
use crate::gate::Gate;
use crate::handle::{Inner, Raft, Tasks};
use crate::leadership::{Leadership, cluster_of};
use crate::log::LogStore;
use crate::network::Network;
use crate::peers::{Peers, meet_members};
use crate::propose::{PROPOSALS_WAITING_MAX, Proposer};
use crate::read::{Rounds, local_round, remote_round};
use crate::service::PeerService;
use crate::state::{Progress, StateMachine};
use crate::types::{Core, Node};
use ferry_proto::internal::v1::raft_service_server::RaftServiceServer;
use ferry_store::Store;
use ferry_store::node::NodeFile;
use ferry_store::rows::Rows;
use openraft::errors::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

impl Raft {
    /// Starts raft on the store of this node, and gives the service through which the other nodes reach it.
    ///
    /// A node with an empty store that has peers sets up the cluster with them. Every peer does the same with the same
    /// peers, so it does not matter which is first. Without peers it begins nothing and waits to be added.
    pub async fn start(config: Config, store: Store) -> Result<(Self, RaftServiceServer<PeerService>), StartError> {
        check_peers(&config)?;
        check_vote(&store)?;
        let openraft_config = config.for_openraft().map_err(|error| StartError::Config(error.to_string()))?;
        let gate = Gate::new(store.node.clone());
        let peers = Peers::new(gate.clone(), &config);
        let progress = Progress::new();
        let state = StateMachine::new(store.rows.clone(), store.checkpoints.clone(), progress.clone())
            .map_err(|error| StartError::Disk(error.to_string()))?;
        let log = LogStore::new(store.log.clone(), store.vote.clone());
        count_replay(&config, &store, &log, &progress).map_err(|error| StartError::Disk(error.to_string()))?;
        let network = Network { node_id: config.node_id, peers: peers.clone() };
        let core = Core::new(config.node_id, openraft_config, network, log, state)
            .await
            .map_err(|fatal| StartError::Disk(fatal.to_string()))?;
        initialize(&core, &config).await?;
        let checkpoints = store.checkpoints.clone();
        let raft = assemble(config, store, core, gate, peers, progress);
        let (core, gate) = (raft.inner.core.clone(), raft.inner.gate.clone());
        let service = PeerService { core, gate, checkpoints, local_rounds: raft.inner.local_rounds.clone() };
        Ok((raft, service.into_server()))
    }
}

/// What was applied before this start and is in no checkpoint counts for the next one.
fn count_replay(config: &Config, store: &Store, log: &LogStore, progress: &Progress) -> io::Result<()> {
    let from = store.checkpoints.current().map_or(0, |checkpoint| checkpoint.manifest().index + 1);
    let applied = *progress.index().borrow();
    let bytes_max = usize::try_from(config.checkpoint_every_bytes).unwrap_or(usize::MAX);
    progress.uncovered(log.bytes_between(from, applied + 1, bytes_max)?);
    Ok(())
}

fn check_peers(config: &Config) -> Result<(), StartError> {
    if config.peers.is_empty() || config.peers.contains_key(&config.node_id) {
        return Ok(());
    }
    let peers: Vec<String> = config.peers.iter().map(|(id, address)| format!("{id}={address}")).collect();
    Err(StartError::NotAmongPeers { node_id: config.node_id, peers: peers.join(", ") })
}

/// Every entry but the first, which a new cluster's node writes before it votes, comes from a leader, and its vote is
/// saved before it: a log without a vote has lost it.
fn check_vote(store: &Store) -> Result<(), StartError> {
    let disk = |error: &dyn std::fmt::Display| StartError::Disk(error.to_string());
    if store.vote.load().map_err(|error| disk(&error))?.is_some() {
        return Ok(());
    }
    let last = store.log.last().map_err(|error| disk(&error))?.map(|(index, _)| index);
    let purged = store.log.purged().map_err(|error| disk(&error))?;
    let applied = store.rows.applied_index().map_err(|error| disk(&error))?;
    if last.max(applied) > Some(0) || purged.is_some() {
        return Err(StartError::Disk(store.vote.missing().to_string()));
    }
    Ok(())
}

/// Writes the first membership into an empty log.
async fn initialize(core: &Core, config: &Config) -> Result<(), StartError> {
    let disk = |reason: String| StartError::Disk(reason);
    let initialized = core.is_initialized().await.map_err(|fatal| disk(fatal.to_string()))?;
    if initialized {
        return Ok(());
    }
    if config.peers.is_empty() {
        let (node_id, address) = (config.node_id, &config.address);
        tracing::warn!(
            node_id,
            address,
            "this node has no cluster and no peers: it waits until it is added with `ferry cluster add-node --id \
             {node_id} --address {address}`; to begin a cluster instead, start it with peers, itself among them"
        );
        return Ok(());
    }
    let voters: BTreeMap<u64, Node> =
        config.peers.iter().map(|(id, address)| (*id, Node { address: address.clone() })).collect();
    match core.initialize(voters).await {
        // Another peer was faster and its first message is in.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(RaftError::APIError(InitializeError::NotInMembers(error))) => Err(StartError::Config(error.to_string())),
        Err(RaftError::Fatal(fatal)) => Err(disk(fatal.to_string())),
    }
}

fn assemble(config: Config, store: Store, core: Core, gate: Gate, peers: Peers, progress: Progress) -> Raft {
    let (lead_sender, lead) = watch::channel(None);
    let (announced_sender, announced) = watch::channel(None);
    let (proposals, queue) = mpsc::channel(PROPOSALS_WAITING_MAX);
    let leadership = Leadership {
        core: core.clone(),
        rows: store.rows.clone(),
        applied: progress.applied(),
        lead: lead_sender,
        announced: announced_sender,
        id_start: config.id_start,
    };
    let (local_rounds, local_task) = Rounds::start({
        let core = core.clone();
        move || Box::pin(local_round(core.clone()))
    });
    let (remote_rounds, remote_task) = Rounds::start({
        let (core, peers) = (core.clone(), peers.clone());
        move || Box::pin(remote_round(core.clone(), peers.clone()))
    });
    let tasks: Vec<JoinHandle<()>> = vec![
        tokio::spawn(leadership.run()),
        tokio::spawn(Proposer::new(core.clone(), lead.clone(), queue).run()),
        tokio::spawn(learn_cluster(store.node, store.rows.clone(), progress.index(), gate.clone(), core.clone())),
        tokio::spawn(meet_members(core.clone(), peers)),
        tokio::spawn(ask_for_checkpoints(core.clone(), progress.clone(), config.checkpoint_every_bytes.max(1))),
        local_task,
        remote_task,
    ];
    let tasks = Tasks(Mutex::new(tasks));
    let inner = Inner {
        core,
        config,
        rows: store.rows,
        checkpoints: store.checkpoints,
        progress,
        gate,
        lead,
        announced,
        proposals,
        local_rounds,
        remote_rounds,
        tasks,
    };
    Raft { inner: Arc::new(inner) }
}

/// Writes the cluster's id into the node's file once the rows name it. Rows of another cluster than the file's stop
/// raft: the folder was put together from two nodes.
async fn learn_cluster(
    node: Arc<NodeFile>,
    rows: Arc<Rows>,
    mut progress: watch::Receiver<u64>,
    gate: Gate,
    core: Core,
) {
    let cluster_id = loop {
        progress.borrow_and_update();
        if let Some(cluster) = cluster_of(&rows.view()) {
            break cluster.cluster_id;
        }
        if progress.changed().await.is_err() {
            return;
        }
    };
    // At once, for the writing takes a while: followers that were faster let nobody in who names no cluster.
    if let Err(status) = gate.hear(cluster_id) {
        tracing::warn!(%status, "another cluster was heard of before");
    }
    let written = tokio::task::spawn_blocking(move || node.set_cluster_id(cluster_id)).await;
    match written {
        Ok(Ok(())) => gate.learn(cluster_id),
        Ok(Err(error)) => {
            tracing::error!(%error, "raft stops: the node's cluster cannot be written down");
            // Whether it stopped in order or not, it has stopped.
            let _ = core.shutdown().await;
        }
        Err(error) => tracing::error!(%error, "the node's cluster was not written down"),
    }
}
