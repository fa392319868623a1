//! Where the cluster is, and how long a call may take.

use clap::Args;
use ferry_client::{Client, Options};
use std::time::Duration;

/// Where a cluster is looked for that nobody has named.
pub(crate) const DEFAULT_ENDPOINT: &str = "127.0.0.1:7401";

/// How long a call may take where the command does not say.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the cluster is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Addresses of nodes; one is enough, more are tried in turn.
    #[arg(
        long,
        global = true,
        env = "FERRY_ENDPOINTS",
        value_delimiter = ',',
        value_name = "HOST:PORT",
        default_value = DEFAULT_ENDPOINT
    )]
    pub(crate) endpoints: Vec<String>,
}

impl Connection {
    /// A client of the cluster whose calls may take this long.
    pub(crate) fn client(&self, timeout: Option<Duration>) -> Result<Client, ferry_client::Error> {
        let endpoints = self.endpoints.iter().filter(|endpoint| !endpoint.is_empty()).cloned();
        Client::new(endpoints, Options::default().with_timeout(timeout.unwrap_or(CALL_TIMEOUT)))
    }
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct CallOptions {
    /// How long the command tries before it gives up, like 10s [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    pub(crate) timeout: Option<Duration>,
}

/// How fresh what is read has to be.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReadOptions {
    /// Take what the node has, without asking the leader whether there is something newer.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

impl ReadOptions {
    /// The same, as a request says it.
    pub(crate) fn consistency(self) -> i32 {
        let consistency =
            if self.stale { ferry_proto::v1::Consistency::Stale } else { ferry_proto::v1::Consistency::Linearizable };
        consistency.into()
    }
}
