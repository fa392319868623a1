//! `ferry job get`: one job with all there is to say.

use crate::command::Context;
use crate::connection::ReadOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::GetJobRequest;

/// Show one job.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    #[command(flatten)]
    read: ReadOptions,
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.read.call.timeout)?;
        let request = GetJobRequest { job_id: self.job_id, consistency: self.read.consistency() };
        let answer = client.get_job(request).await?;
        context.show_age(&answer);
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
