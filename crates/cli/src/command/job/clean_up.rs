//! `ferry job clean-up`: deletes what a failed job keeps, after asking where there is somebody to ask.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output::{self, note};
use crate::prompt;
use clap::Args;

/// Delete what a job that failed with `--on-failure keep` has copied, and give its targets up.
#[derive(Debug, Args)]
pub(crate) struct CleanUp {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    call: CallOptions,
}

impl CleanUp {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let question = format!("Delete what job {} has copied?", self.job_id);
        if !prompt::agreed(&question, self.yes)? {
            note("nothing was changed");
            return Ok(());
        }
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.clean_up_job(self.job_id).await?;
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
