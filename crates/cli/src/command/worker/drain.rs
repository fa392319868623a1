//! `ferry worker drain`: the worker finishes what it has and gets nothing new.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Give a worker nothing new; what it has it finishes.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The worker.
    #[arg(allow_negative_numbers = true)]
    worker_id: i64,
    #[command(flatten)]
    call: CallOptions,
}

impl Drain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.drain_worker(self.worker_id).await?;
        context.output.answer(&answer.message, |response| output::worker(&response.worker.clone().unwrap_or_default()))
    }
}
