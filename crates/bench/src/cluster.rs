//! Three nodes as an operator would run them on one machine: processes of the binary with its defaults, real disks, loopback.
//! All of them are killed when the value is dropped.

use crate::gauges::{self, Memory, Metrics};
use crate::process::{Process, free_addresses};
use anyhow::{Context, bail};
use ferry_client::{Client, Options};
use ferry_proto::v1::{GetStatusRequest, GetStatusResponse};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a node may take to start, to be elected or to catch up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Between two looks whether a cluster is at rest.
const REST_POLL: Duration = Duration::from_millis(300);
/// Entries that keep the cluster's clock between two such looks, at most.
const CLOCK_ENTRIES: f64 = 1.0;

/// The nodes.
pub(crate) struct Cluster {
    binary: PathBuf,
    settings: Vec<String>,
    folder: PathBuf,
    addresses: BTreeMap<u64, String>,
    /// Where each tells its metrics.
    admin_addresses: BTreeMap<u64, String>,
    processes: BTreeMap<u64, Process>,
    /// One client to each node, which asks nobody else.
    clients: BTreeMap<u64, Client>,
}

impl Cluster {
    /// Starts the nodes and waits until one leads.
    pub(crate) async fn start(nodes: u64, binary: &Path, settings: &[String], folder: &Path) -> anyhow::Result<Self> {
        let mut free = free_addresses(2 * usize::try_from(nodes)?)?;
        let admin_addresses = (1..=nodes).zip(free.split_off(free.len() / 2)).collect();
        let addresses: BTreeMap<u64, String> = (1..=nodes).zip(free).collect();
        let options = Options { follow_leader: false, timeout: Duration::from_secs(2), ..Options::default() };
        let client = |(id, address): (&u64, &String)| Ok((*id, Client::new([address.as_str()], options.clone())?));
        let clients = addresses.iter().map(client).collect::<Result<_, ferry_client::Error>>()?;
        let mut cluster = Self {
            binary: binary.to_path_buf(),
            settings: settings.to_vec(),
            folder: folder.to_path_buf(),
            addresses,
            admin_addresses,
            processes: BTreeMap::new(),
            clients,
        };
        for id in 1..=nodes {
            cluster.start_node(id)?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Starts a node, for the first time or again.
    pub(crate) fn start_node(&mut self, id: u64) -> anyhow::Result<()> {
        let peers: Vec<String> = self.addresses.iter().map(|(id, address)| format!("{id}={address}")).collect();
        let mut command = Command::new(&self.binary);
        command.args(["server", "--id", &id.to_string(), "--listen", &self.addresses[&id]]);
        command.args(["--peers", &peers.join(","), "--admin-listen", &self.admin_addresses[&id]]);
        command.arg("--data-dir").arg(self.data_folder(id));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let log = self.folder.join(format!("node-{id}.log"));
        self.processes.insert(id, Process::start(&mut command, &log)?);
        Ok(())
    }

    /// SIGKILL for a node; the moment it was sent.
    pub(crate) fn kill_node(&mut self, id: u64) -> anyhow::Result<Instant> {
        self.processes.remove(&id).with_context(|| format!("node {id} does not run"))?.kill()
    }

    /// A client of all nodes, with the defaults of every client.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_with(Options::default())
    }

    /// A client of all nodes.
    pub(crate) fn client_with(&self, options: Options) -> anyhow::Result<Client> {
        Ok(Client::new(self.addresses.values().map(String::as_str), options)?)
    }

    /// A client that asks this node and no other.
    pub(crate) fn client_of(&self, node: u64, mut options: Options) -> anyhow::Result<Client> {
        options.follow_leader = false;
        Ok(Client::new([self.addresses[&node].as_str()], options)?)
    }

    /// So many clients, each with a connection of its own, which ask these nodes in turn and no others.
    pub(crate) fn clients_of(&self, nodes: &[u64], count: usize) -> anyhow::Result<Vec<Client>> {
        nodes.iter().cycle().take(count).map(|id| self.client_of(*id, Options::default())).collect()
    }

    /// The nodes that do not lead.
    pub(crate) async fn followers(&self) -> anyhow::Result<Vec<u64>> {
        let (leader, _) = self.leader().await?;
        Ok(self.addresses.keys().copied().filter(|id| *id != leader).collect())
    }

    /// Where a node keeps everything.
    pub(crate) fn data_folder(&self, id: u64) -> PathBuf {
        self.folder.join(format!("node-{id}"))
    }

    /// What a node tells of itself.
    pub(crate) async fn metrics(&self, id: u64) -> anyhow::Result<Metrics> {
        Metrics::of(&self.admin_addresses[&id]).await
    }

    /// The memory that a node takes.
    pub(crate) fn memory(&self, id: u64) -> anyhow::Result<Memory> {
        gauges::memory(self.process(id)?.id())
    }

    /// Has the peak of a node's memory begin anew, with what it takes now.
    pub(crate) fn reset_memory_peak(&self, id: u64) -> anyhow::Result<()> {
        gauges::reset_memory_peak(self.process(id)?.id())
    }

    fn process(&self, id: u64) -> anyhow::Result<&Process> {
        self.processes.get(&id).with_context(|| format!("node {id} does not run"))
    }

    /// Where all nodes are, as the command line takes it.
    pub(crate) fn endpoints(&self) -> String {
        self.addresses.values().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// The leader and its term, once a node says so of itself.
    pub(crate) async fn leader(&self) -> anyhow::Result<(u64, u64)> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            for id in self.processes.keys() {
                if let Some(status) = self.status(*id).await.filter(|status| status.leader_id == *id) {
                    return Ok((*id, status.term));
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("no node leads after {PATIENCE:?}; see the logs in {}", self.folder.display())
    }

    /// Waits until a node has applied what the leader had applied when this was called.
    pub(crate) async fn caught_up(&self, id: u64) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut wanted = None;
        while Instant::now() < until {
            if wanted.is_none() {
                let (leader, _) = self.leader().await?;
                wanted = self.status(leader).await.and_then(|status| applied(&status, leader));
            }
            let reached = self.status(id).await.and_then(|status| applied(&status, id));
            if wanted.is_some() && reached >= wanted {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("node {id} has not caught up after {PATIENCE:?}; see the logs in {}", self.folder.display())
    }

    /// Waits until a node applies no more than what the cluster's clock brings.
    pub(crate) async fn at_rest(&self, id: u64) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut before = f64::MIN;
        while Instant::now() < until {
            let now = self.metrics(id).await?.value("ferry_raft_applied_index")?;
            if now - before <= CLOCK_ENTRIES {
                return Ok(());
            }
            before = now;
            tokio::time::sleep(REST_POLL).await;
        }
        bail!("node {id} still works after {PATIENCE:?}; see the logs in {}", self.folder.display())
    }

    async fn status(&self, id: u64) -> Option<GetStatusResponse> {
        let answer = self.clients[&id].get_status(GetStatusRequest { local_only: true });
        // A node that starts, or has just been killed, does not answer in time.
        let answer = tokio::time::timeout(Duration::from_secs(1), answer).await.ok()?;
        Some(answer.ok()?.message)
    }
}

fn applied(status: &GetStatusResponse, id: u64) -> Option<u64> {
    status.nodes.iter().find(|node| node.id == id).map(|node| node.last_applied_index)
}
