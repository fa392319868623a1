//! `ferry worker undrain`: the worker gets tasks again.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Give a worker tasks again.
#[derive(Debug, Args)]
pub(crate) struct Undrain {
    /// The worker.
    #[arg(allow_negative_numbers = true)]
    worker_id: i64,
    #[command(flatten)]
    call: CallOptions,
}

impl Undrain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.undrain_worker(self.worker_id).await?;
        context.output.answer(&answer.message, |response| output::worker(&response.worker.clone().unwrap_or_default()))
    }
}
