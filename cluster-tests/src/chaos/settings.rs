//! How long a run lasts, what it does, and how its nodes and workers are set.

use super::nemesis::Nemesis;
use super::store::StoreKind;
use crate::stores::Variable;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of the faults; healing and checking come on top.
    pub minutes: f64,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Nodes the cluster begins with, three or five.
    pub nodes: u64,
    /// Which faults.
    pub nemeses: Vec<Nemesis>,
    /// A store beside the file system, which jobs copy into and out of.
    pub store: Option<StoreKind>,
    /// Everything the run writes lies in here.
    pub folder: PathBuf,
}

/// Raft's timing is the product's own. Checkpoints are made so often, and so little log is kept behind them, that a node
/// which was down for some seconds may need one; leases are as short as the pauses that are to outlast them.
pub(crate) const NODE_SETTINGS: &[&str] = &[
    "storage.memory=32MiB",
    "storage.checkpoint-interval-entries=500",
    "storage.log-keep-entries=500",
    "leadership.check-interval=500ms",
    "leadership.lease=3s",
    "leadership.heartbeat-interval=500ms",
    "leadership.request-timeout=3s",
];

/// What nodes and workers are told of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreAccess {
    environment: Vec<Variable>,
}

/// The bound on what a store does for callers that are gone: several times as long as its latest requests.
const LATE_WRITES: &str = "late-writes=20s";

impl StoreAccess {
    /// With these variables in the environment.
    pub(crate) fn new(environment: Vec<Variable>) -> Self {
        Self { environment }
    }

    pub(crate) fn environment(&self) -> Vec<Variable> {
        self.environment.clone()
    }

    /// More settings of a node.
    pub(crate) fn of_nodes(&self) -> Vec<String> {
        self.settings(&format!("leadership.{LATE_WRITES}"))
    }

    fn settings(&self, setting: &str) -> Vec<String> {
        if self.environment.is_empty() { Vec::new() } else { vec!["--set".to_owned(), setting.to_owned()] }
    }
}

/// A node that lags by more entries than this gets a checkpoint, by those settings.
pub(crate) const LAG_FOR_CHECKPOINT_ENTRIES: u64 = 1_600;
/// Longer than a worker's lease.
pub(crate) const BEYOND_LEASE: Duration = Duration::from_millis(4_500);
/// Workers, each on a machine of its own.
pub(crate) const WORKERS: u8 = 3;
/// Machines for nodes: five, and one for a node that comes before another one goes.
pub(crate) const MACHINES: u8 = 6;

pub(crate) fn node_arguments(id: u64, data: &Path, address: &str, founders: &BTreeMap<u64, String>) -> Vec<String> {
    let data = data.to_string_lossy();
    let id_text = id.to_string();
    let words = ["server", "--id", &id_text, "--data-dir", &data, "--listen", address, "--admin-listen", "127.0.0.1:0"];
    let mut arguments = words.map(str::to_owned).to_vec();
    if founders.contains_key(&id) {
        let peers: Vec<String> = founders.iter().map(|(id, address)| format!("{id}={address}")).collect();
        arguments.extend(["--peers".to_owned(), peers.join(",")]);
    }
    arguments
}

pub(crate) fn worker_arguments(name: &str, endpoints: &BTreeMap<u64, String>, store: &StoreAccess) -> Vec<String> {
    let endpoints: Vec<&str> = endpoints.values().map(String::as_str).collect();
    let endpoints = endpoints.join(",");
    let words = ["worker", "--endpoints", &endpoints, "--name", name, "--slots", "2", "--set", "request-timeout=3s"];
    words.map(str::to_owned).into_iter().chain(store.settings(LATE_WRITES)).collect()
}
