//! `ferry cluster`: look after the cluster itself.

mod check;
mod status;

use super::Context;
use clap::Subcommand;

/// Look after the cluster itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Show who leads and how far each node is.
    Status(status::Status),
    /// Recount the invariants of every row; the exit code is 0 when all hold.
    Check(check::Check),
}

impl Cluster {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Status(status) => status.run(context).await,
            Self::Check(check) => check.run(context).await,
        }
    }
}
