//! Three nodes as an operator would run them on one machine: processes of the binary with its defaults, real disks, loopback.
//! All of them are killed when the value is dropped.

use anyhow::{Context, bail};
use ferry_client::{Client, Options};
use ferry_proto::v1::{GetStatusRequest, GetStatusResponse};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to start, to be elected or to catch up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// The nodes.
pub(crate) struct Cluster {
    binary: PathBuf,
    settings: Vec<String>,
    folder: PathBuf,
    addresses: BTreeMap<u64, String>,
    processes: BTreeMap<u64, Child>,
    /// One client to each node, which asks nobody else.
    clients: BTreeMap<u64, Client>,
}

impl Cluster {
    /// Starts the nodes and waits until one leads.
    pub(crate) async fn start(nodes: u64, binary: &Path, settings: &[String], folder: &Path) -> anyhow::Result<Self> {
        // All listeners are held until every address is known, so that no two are the same.
        let listeners: Vec<TcpListener> =
            (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let mut addresses = BTreeMap::new();
        for (id, listener) in (1..).zip(&listeners) {
            addresses.insert(id, listener.local_addr()?.to_string());
        }
        drop(listeners);
        let options = Options { follow_leader: false, timeout: Duration::from_secs(2), ..Options::default() };
        let client = |(id, address): (&u64, &String)| Ok((*id, Client::new([address.as_str()], options.clone())?));
        let clients = addresses.iter().map(client).collect::<Result<_, ferry_client::Error>>()?;
        let mut cluster = Self {
            binary: binary.to_path_buf(),
            settings: settings.to_vec(),
            folder: folder.to_path_buf(),
            addresses,
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
        let log = self.folder.join(format!("node-{id}.log"));
        let log = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(&self.binary);
        command.args(["server", "--id", &id.to_string(), "--listen", &self.addresses[&id]]);
        command.args(["--peers", &peers.join(","), "--admin-listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(self.folder.join(format!("node-{id}")));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("{} cannot be started", self.binary.display()))?;
        self.processes.insert(id, process);
        Ok(())
    }

    /// SIGKILL for a node; the moment it was sent.
    pub(crate) fn kill_node(&mut self, id: u64) -> anyhow::Result<Instant> {
        let mut process = self.processes.remove(&id).with_context(|| format!("node {id} does not run"))?;
        let killed_at = Instant::now();
        process.kill()?;
        process.wait()?;
        Ok(killed_at)
    }

    /// A client of all nodes, with the defaults of every client.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.addresses.values().map(String::as_str), Options::default())?)
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

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            // Both fail only when the process is gone, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
