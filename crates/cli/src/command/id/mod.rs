//! `ferry id`: ids that nobody else gets.

mod allocate;

use super::Context;
use clap::Subcommand;

/// Get ids that nobody else gets.
#[derive(Debug, Subcommand)]
pub(crate) enum Id {
    /// Allocate a block of consecutive ids.
    Allocate(allocate::Allocate),
}

impl Id {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Allocate(allocate) => allocate.run(context).await,
        }
    }
}
