//! `ferry job wait`: nothing until the job has ended, then how.

use crate::command::Context;
use crate::exit::{Failure, must_be_completed};
use crate::output;
use clap::Args;
use ferry_client::{Client, Code};
use ferry_proto::v1::WaitJobResponse;
use std::time::Duration;

/// Wait until a job has ended; the exit code says how.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    /// How long to wait at most, like 10m [default: until the job has ended].
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    timeout: Option<Duration>,
}

impl Wait {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(None)?;
        let response = wait(&client, self.job_id, self.timeout).await?;
        let job = response.job.clone().unwrap_or_default();
        context.output.answer(&response, |_| output::job(&job))?;
        Ok(must_be_completed(&job)?)
    }
}

/// Waits for the job's end; that it takes too long is a failure of its own.
pub(super) async fn wait(client: &Client, job_id: i64, limit: Option<Duration>) -> anyhow::Result<WaitJobResponse> {
    match client.wait_job(job_id, limit).await {
        Ok(answer) => Ok(answer.message),
        Err(error) if error.code() == Code::DeadlineExceeded => Err(Failure::WaitedTooLong { job_id }.into()),
        Err(error) => Err(error.into()),
    }
}
