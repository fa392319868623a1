//! `ferry job resume`: workers get the job's tasks again.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Take back a pause.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    #[command(flatten)]
    call: CallOptions,
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.resume_job(self.job_id).await?;
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
