//! `ferry store`: the object stores that this machine reaches, and whether they do what copies ask of them.

mod check;
mod list;

use super::Context;
use clap::Subcommand;

/// Show and try object stores.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// List the stores that a configuration names, and those of the environment.
    List(list::List),
    /// Try at a place what copies will ask of its store; the exit code is 0 when all of it works.
    Check(check::Check),
}

impl Store {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(context),
            Self::Check(check) => check.run(context).await,
        }
    }
}
