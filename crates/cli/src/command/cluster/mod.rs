//! `ferry cluster`: look after the cluster itself.

mod add_node;
mod check;
mod remove_node;
mod status;
mod transfer_leadership;

use super::Context;
use clap::Subcommand;

/// Look after the cluster itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Show who leads and how far each node is.
    Status(status::Status),
    /// Add a node that runs without peers and waits.
    AddNode(add_node::AddNode),
    /// Remove a node, up or down, for ever.
    RemoveNode(remove_node::RemoveNode),
    /// Hand the leadership to another node.
    TransferLeadership(transfer_leadership::TransferLeadership),
    /// Recount the invariants of every row; the exit code is 0 when all hold.
    Check(check::Check),
}

impl Cluster {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Status(status) => status.run(context).await,
            Self::AddNode(add) => add.run(context).await,
            Self::RemoveNode(remove) => remove.run(context).await,
            Self::TransferLeadership(transfer) => transfer.run(context).await,
            Self::Check(check) => check.run(context).await,
        }
    }
}
