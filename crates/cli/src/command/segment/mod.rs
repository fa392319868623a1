//! `ferry segment`: look at target segments.

mod get;
mod list;

use super::Context;
use clap::Subcommand;

/// Look at target segments.
#[derive(Debug, Subcommand)]
pub(crate) enum Segment {
    /// List target segments.
    List(list::List),
    /// Show one target segment.
    Get(get::Get),
}

impl Segment {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(get) => get.run(context).await,
        }
    }
}
