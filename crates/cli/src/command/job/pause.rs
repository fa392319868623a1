//! `ferry job pause`: running attempts finish, no other starts.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Start no further attempt of a job; running ones finish and count.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    #[command(flatten)]
    call: CallOptions,
}

impl Pause {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.pause_job(self.job_id).await?;
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
