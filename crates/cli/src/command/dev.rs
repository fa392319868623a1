//! `ferry dev`: a whole cluster in this process, for trying things out, until Ctrl-C.

use crate::output::{self, note};
use crate::shutdown;
use crate::stores::StoreOptions;
use anyhow::Context;
use clap::Args;
use ferry_client::{Client, Options};
use ferry_proto::v1::GetStatusRequest;
use ferry_server::config::{Config, Overrides};
use ferry_server::{Listeners, Server};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the nodes may take to choose a leader.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Run a whole cluster in this process until Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Keep the data here, to go on with it next time [default: a temporary folder, removed at the end].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// How many workers.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=99))]
    workers: u16,
    /// The first node's port, the others' follow; 0: free ones.
    #[arg(long, value_name = "PORT", default_value_t = 7401, value_parser = clap::value_parser!(u16).range(..=65000))]
    port: u16,
    #[command(flatten)]
    stores: StoreOptions,
}

impl Dev {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let temporary = match &self.dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("ferry-dev-").tempdir()?),
        };
        let dir = self.dir.clone().or_else(|| temporary.as_ref().map(|folder| folder.path().to_owned()));
        let dir = std::path::absolute(dir.context("no folder")?)?;
        let mut cluster = Cluster::start(&self, &dir).await?;
        let outcome = tokio::select! {
            ready = cluster.ready() => match ready {
                Ok(()) => {
                    cluster.show(&dir)?;
                    tokio::select! {
                        () = shutdown::requested() => Ok(()),
                        ended = cluster.ended() => ended,
                    }
                }
                Err(error) => Err(error),
            },
            () = shutdown::requested() => Ok(()),
        };
        note("stopping");
        cluster.stop().await.and(outcome)
    }
}

/// Nodes and workers as tasks of this process.
struct Cluster {
    endpoints: Vec<String>,
    admin_addresses: Vec<SocketAddr>,
    servers: Vec<Server>,
    workers: JoinSet<Result<(), ferry_worker::RunError>>,
    stop: watch::Sender<bool>,
}

impl Cluster {
    async fn start(dev: &Dev, dir: &Path) -> anyhow::Result<Self> {
        let stores = dev.stores.named()?;
        let mut sockets = Vec::new();
        for index in 0..dev.nodes {
            let port = if dev.port == 0 { 0 } else { dev.port + index };
            sockets.push(Listeners { client: listen(port).await?, admin: listen(0).await? });
        }
        let addresses = sockets.iter().map(|sockets| sockets.client.local_addr());
        let endpoints: Vec<String> =
            addresses.map(|address| address.map(|address| address.to_string())).collect::<Result<_, _>>()?;
        let mut cluster = Self {
            endpoints,
            admin_addresses: Vec::new(),
            servers: Vec::new(),
            workers: JoinSet::new(),
            stop: watch::channel(false).0,
        };
        for (id, sockets) in (1..).zip(sockets) {
            let config = Config { stores: stores.clone(), ..node_config(id, dir, &cluster.endpoints)? };
            let server = Server::start_on(config, sockets).await.with_context(|| format!("node {id}"))?;
            cluster.admin_addresses.push(server.admin_address());
            cluster.servers.push(server);
        }
        for number in 1..=dev.workers {
            let config = ferry_worker::Config {
                endpoints: cluster.endpoints.clone(),
                name: format!("worker-{number}"),
                stores: stores.clone(),
                ..ferry_worker::Config::default()
            };
            let mut stop = cluster.stop.subscribe();
            cluster.workers.spawn(ferry_worker::run(config, async move {
                // An error means that the cluster is gone, which ends the worker too.
                let _ = stop.wait_for(|stop| *stop).await;
            }));
        }
        Ok(cluster)
    }

    /// Waits for a leader.
    async fn ready(&self) -> anyhow::Result<()> {
        let client = Client::new(self.endpoints.clone(), Options::default())?;
        let chosen = async {
            while client.get_status(GetStatusRequest { local_only: true }).await?.leader_id == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(START_TIMEOUT, chosen).await.context("the nodes have not chosen a leader")?
    }

    fn show(&self, dir: &Path) -> anyhow::Result<()> {
        for ((id, endpoint), admin) in (1..).zip(&self.endpoints).zip(&self.admin_addresses) {
            note(&format!("node {id}: {endpoint}, metrics and health at http://{admin}"));
        }
        note(&format!("{} workers; data in {}; Ctrl-C ends it", self.workers.len(), dir.display()));
        output::print(&format!("export FERRY_ENDPOINTS={}\n", self.endpoints.join(",")))
    }

    /// Resolves when a worker ends by itself; a node that does is noticed when it is stopped.
    async fn ended(&mut self) -> anyhow::Result<()> {
        match self.workers.join_next().await {
            None => std::future::pending().await,
            Some(ended) => Ok(ended??),
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let mut outcome = Ok(());
        while let Some(ended) = self.workers.join_next().await {
            outcome = outcome.and(ended.map_err(anyhow::Error::from).and_then(|ended| Ok(ended?)));
        }
        for server in self.servers {
            outcome = outcome.and(server.stop().await.map_err(anyhow::Error::from));
        }
        outcome
    }
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.with_context(|| {
        format!("port {port} cannot be listened on; choose others with --port, or free ones with --port 0")
    })
}

fn node_config(id: u64, dir: &Path, endpoints: &[String]) -> anyhow::Result<Config> {
    let peers: Vec<String> = (1..).zip(endpoints).map(|(id, endpoint): (u64, _)| format!("{id}={endpoint}")).collect();
    let index = usize::try_from(id - 1)?;
    let flags = Overrides::new()
        .with("id", Some(id))
        .with("data-dir", Some(dir.join(format!("node-{id}")).display()))
        .with("listen", endpoints.get(index))
        .with("peers", Some(peers.join(",")));
    Ok(Config::load_from(None, [], &flags)?)
}
