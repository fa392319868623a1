//! `ferry snapshot`: make, read and verify snapshots in Milvus' format.

mod create;
mod inspect;
mod verify;

use super::Context;
use clap::Subcommand;

/// Make, read and verify snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Make a snapshot over a tree of segments that already exists.
    Create(create::Create),
    /// Show what is in a snapshot.
    Inspect(inspect::Inspect),
    /// Check that every object of a snapshot is there and is what it was; the exit code is 0 when all are.
    Verify(verify::Verify),
}

impl Snapshot {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Inspect(inspect) => inspect.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
        }
    }
}
