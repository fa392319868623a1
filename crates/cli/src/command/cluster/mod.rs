//! `ferry cluster`: look after the cluster itself.

mod add_node;
mod backup;
mod check;
mod remove_node;
mod restore;
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
    /// Recount the invariants of every row, and compare the nodes that are at one revision.
    Check(check::Check),
    /// Write the rows of the cluster, or of the folder of a stopped node, to one file.
    Backup(backup::Backup),
    /// Make the folder of a node of a new cluster from a backup.
    Restore(restore::Restore),
}

impl Cluster {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Status(status) => status.run(context).await,
            Self::AddNode(add) => add.run(context).await,
            Self::RemoveNode(remove) => remove.run(context).await,
            Self::TransferLeadership(transfer) => transfer.run(context).await,
            Self::Check(check) => check.run(context).await,
            Self::Backup(backup) => backup.run(context).await,
            Self::Restore(restore) => restore.run(),
        }
    }
}
