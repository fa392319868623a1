//! `ferry job cancel`: ends a job for good, after asking where there is somebody to ask.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output::{self, note};
use crate::prompt;
use clap::Args;

/// End a job; none of its targets becomes visible.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    call: CallOptions,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let question = format!("Cancel job {}? What it has copied will be deleted.", self.job_id);
        if !prompt::agreed(&question, self.yes)? {
            note("nothing was changed");
            return Ok(());
        }
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.cancel_job(self.job_id).await?;
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
