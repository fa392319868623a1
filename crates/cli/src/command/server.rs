//! `ferry server`: one node of a cluster, until it is asked to end.

use crate::{arguments, output, shutdown};
use anyhow::Context;
use clap::Args;
use ferry_server::config::{Config, Overrides};
use std::path::PathBuf;

/// Variables of the environment that are not a node's options.
const OTHER_VARIABLES: &[&str] = &[
    "FERRY_ENDPOINTS",
    "FERRY_LOG",
    #[cfg(feature = "planted-bugs")]
    ferry_planted::VARIABLE,
];

/// Run one node of a cluster.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The configuration, as TOML; environment and flags go before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's id, positive; never given to another node.
    #[arg(long, value_name = "ID")]
    id: Option<u64>,
    /// The folder that holds everything the node remembers.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients and other nodes are served.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The address others reach this node at.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The nodes the cluster begins with, this one among them; without any, a new node waits to be added.
    #[arg(long, value_name = "ID=HOST:PORT,...")]
    peers: Option<String>,
    /// Where metrics and health are served.
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Any other key of the configuration, like raft.heartbeat-interval=100ms.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = arguments::label)]
    others: Vec<(String, String)>,
    /// Write the whole configuration as it would be used to stdout, and run nothing.
    #[arg(long)]
    dump_config: bool,
    /// End when stdin is closed: for those who start nodes as their children.
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl Server {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let environment = std::env::vars()
            .filter(|(name, _)| name.starts_with("FERRY_") && !OTHER_VARIABLES.contains(&name.as_str()));
        let config = Config::load_from(self.config.as_deref(), environment, &self.overrides())
            .map_err(|error| crate::exit::Failure::Usage(error.to_string()))?;
        if self.dump_config {
            return output::print(&config.dump());
        }
        let shutdown = shutdown::requested_or_abandoned(self.end_with_stdin);
        ferry_server::run(config, shutdown).await.context("the node has ended")
    }

    fn overrides(&self) -> Overrides {
        let flags = Overrides::new()
            .with("id", self.id)
            .with("data-dir", self.data_dir.as_ref().map(|path| path.display()))
            .with("listen", self.listen.as_ref())
            .with("advertise", self.advertise.as_ref())
            .with("peers", self.peers.as_ref())
            .with("admin-listen", self.admin_listen.as_ref());
        self.others.iter().fold(flags, |flags, (key, value)| flags.with(key, Some(value)))
    }
}
