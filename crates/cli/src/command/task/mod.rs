//! `ferry task`: look at the tasks of jobs.

mod get;
mod list;

use super::Context;
use clap::Subcommand;

/// Look at the tasks of jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List the tasks of a job.
    List(list::List),
    /// Show one task.
    Get(get::Get),
}

impl Task {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Get(get) => get.run(context).await,
        }
    }
}
