//! The child processes of the demo: three nodes, two workers, their logs, and clients of them.

use super::ports::Reserved;
use super::steps::Steps;
use super::until;
use anyhow::{Context, ensure};
use ferry_client::{Client, Options};
use ferry_proto::v1::{GetStatusRequest, ListWorkersRequest, WorkerState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

const NODES: usize = 3;
const WORKERS: usize = 2;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A node of the demo.
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) endpoint: String,
    admin: String,
    child: Option<Child>,
}

impl Node {
    /// It has not been killed.
    pub(super) fn is_alive(&self) -> bool {
        self.child.is_some()
    }
}

/// The processes of the demo; they end with this value, however it ends.
pub(super) struct Nodes {
    dir: PathBuf,
    peers: String,
    pub(super) nodes: Vec<Node>,
    workers: Vec<Child>,
    /// Asks any node.
    pub(super) client: Client,
}

impl Nodes {
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir.join("logs"))?;
        let sockets: Vec<(Reserved, Reserved)> = (0..NODES)
            .map(|_| Ok((Reserved::new()?, Reserved::new()?)))
            .collect::<std::io::Result<_>>()
            .context("no free ports")?;
        let endpoints: Vec<String> = sockets.iter().map(|(client, _)| client.address.to_string()).collect();
        let peers: Vec<String> =
            (1..).zip(&endpoints).map(|(id, endpoint): (u64, _)| format!("{id}={endpoint}")).collect();
        let client = Client::new(endpoints.clone(), Options::default())?;
        let mut all =
            Self { dir: dir.to_owned(), peers: peers.join(","), nodes: Vec::new(), workers: Vec::new(), client };
        for (id, (client, admin)) in (1..).zip(sockets) {
            let (endpoint, admin_address) = (client.address.to_string(), admin.address.to_string());
            client.release();
            admin.release();
            all.nodes.push(Node { id, endpoint, admin: admin_address, child: None });
            all.start_node(id)?;
        }
        for number in 1..=WORKERS {
            let name = format!("worker-{number}");
            let arguments = ["worker", "--endpoints", &endpoints.join(","), "--name", &name, "--slots", "4"];
            let worker = all.spawn(&name, &arguments)?;
            all.workers.push(worker);
        }
        until("three nodes with a leader and two workers", START_TIMEOUT, || all.are_ready()).await?;
        Ok(all)
    }

    /// Starts a node, the first time or again.
    pub(super) fn start_node(&mut self, id: u64) -> anyhow::Result<()> {
        let name = format!("node-{id}");
        let data_dir = self.dir.join(&name).display().to_string();
        let node = self.node(id)?;
        let (listen, admin) = (node.endpoint.clone(), node.admin.clone());
        let id_text = id.to_string();
        let arguments = [
            "server",
            "--id",
            &id_text,
            "--data-dir",
            &data_dir,
            "--listen",
            &listen,
            "--peers",
            &self.peers,
            "--admin-listen",
            &admin,
        ];
        let child = self.spawn(&name, &arguments)?;
        self.node_mut(id)?.child = Some(child);
        Ok(())
    }

    fn spawn(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Child> {
        let path = self.dir.join("logs").join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path)?;
        let mut command = Command::new(std::env::current_exe()?);
        // A process group of its own keeps a Ctrl-C for the demo, which then ends its children in order; the open stdin
        // ends them even if the demo is killed.
        command.args(arguments).arg("--end-with-stdin").process_group(0).kill_on_drop(true);
        command.env_remove("FERRY_ENDPOINTS").stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        command.spawn().with_context(|| format!("{name} cannot be started"))
    }

    async fn are_ready(&self) -> anyhow::Result<()> {
        let status = self.client.get_status(GetStatusRequest { local_only: false }).await?;
        let reachable = status.nodes.iter().filter(|node| node.reachable).count();
        ensure!(status.leader_id != 0 && reachable == NODES, "{reachable} nodes are reachable");
        let workers = self.client.list_workers(ListWorkersRequest::default()).await?;
        let active = workers.workers.iter().filter(|worker| worker.state() == WorkerState::Active).count();
        ensure!(active == WORKERS, "{active} workers are there");
        Ok(())
    }

    /// Says who is where.
    pub(super) async fn show(&self, steps: &Steps) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        for node in &self.nodes {
            let pid = node.child.as_ref().and_then(Child::id).unwrap_or_default();
            let role = if node.id == leader { ", leads" } else { "" };
            steps.say(&format!("node {} at {} (pid {pid}){role}", node.id, node.endpoint));
        }
        for (number, worker) in (1..).zip(&self.workers) {
            steps.say(&format!("worker-{number} (pid {})", worker.id().unwrap_or_default()));
        }
        steps.say(&format!("data and logs below {}", self.dir.display()));
        Ok(())
    }

    /// The node that leads now.
    pub(super) async fn leader(&self) -> anyhow::Result<u64> {
        until("a leader", START_TIMEOUT, || async {
            let status = self.client.get_status(GetStatusRequest { local_only: true }).await?;
            ensure!(status.leader_id != 0, "no leader is known");
            Ok(status.leader_id)
        })
        .await
    }

    /// Kills a node with SIGKILL and waits until it is gone.
    pub(super) async fn kill_node(&mut self, id: u64) -> anyhow::Result<u32> {
        let mut child = self.node_mut(id)?.child.take().with_context(|| format!("node {id} is dead already"))?;
        let pid = child.id().unwrap_or_default();
        child.kill().await?;
        Ok(pid)
    }

    /// The nodes that run.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_alive())
    }

    /// A client that asks one node and no other.
    pub(super) fn client_of(node: &Node, timeout: Duration) -> anyhow::Result<Client> {
        let options = Options { follow_leader: false, timeout, try_timeout: timeout, ..Options::default() };
        Ok(Client::new([node.endpoint.clone()], options)?)
    }

    /// Ends everything with SIGTERM; each must end well.
    pub(super) async fn stop(mut self, steps: &Steps) -> anyhow::Result<()> {
        for worker in std::mem::take(&mut self.workers) {
            end("a worker", worker).await?;
        }
        for node in &mut self.nodes {
            if let Some(child) = node.child.take() {
                end(&format!("node {}", node.id), child).await?;
            }
        }
        steps.say("two workers and three nodes ended with exit code 0");
        Ok(())
    }

    fn node(&self, id: u64) -> anyhow::Result<&Node> {
        self.nodes.iter().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }

    fn node_mut(&mut self, id: u64) -> anyhow::Result<&mut Node> {
        self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))
    }
}

async fn end(name: &str, mut child: Child) -> anyhow::Result<()> {
    let pid = child.id().with_context(|| format!("{name} has ended before it was told to"))?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
    let ended = tokio::time::timeout(STOP_TIMEOUT, child.wait()).await;
    let status: ExitStatus = ended.with_context(|| format!("{name} does not end"))??;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
