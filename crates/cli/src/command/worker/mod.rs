//! `ferry worker`: runs a worker, or looks after those that run.

mod drain;
mod list;
mod run;
mod undrain;

use super::Context;
use clap::{Args, Subcommand};

/// Run a worker, or look after those that run.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WorkerCommand {
    #[command(subcommand)]
    care: Option<Care>,
    #[command(flatten)]
    run: run::Run,
}

/// Look after workers.
#[derive(Debug, Subcommand)]
enum Care {
    /// List workers.
    List(list::List),
    /// Give a worker nothing new; what it has it finishes.
    Drain(drain::Drain),
    /// Give a worker tasks again.
    Undrain(undrain::Undrain),
}

impl WorkerCommand {
    /// It runs a worker.
    pub(super) fn runs(&self) -> bool {
        self.care.is_none()
    }

    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.care {
            None => self.run.run(context).await,
            Some(Care::List(list)) => list.run(context).await,
            Some(Care::Drain(drain)) => drain.run(context).await,
            Some(Care::Undrain(undrain)) => undrain.run(context).await,
        }
    }
}
