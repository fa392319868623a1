//! `ferry job explain`: what a job waits for, as the leader's own plan has it.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Say what a job waits for.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    #[command(flatten)]
    call: CallOptions,
}

impl Explain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.explain_job(self.job_id).await?;
        context.output.answer(&answer.message, output::explanation)
    }
}
