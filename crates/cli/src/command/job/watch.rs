//! `ferry job watch`: a job as it changes, until it has ended, over the loss of any node.

use crate::command::Context;
use crate::exit::{Failure, must_be_completed};
use crate::output;
use crate::progress::Progress;
use anyhow::Context as _;
use clap::Args;
use ferry_client::Client;
use ferry_proto::v1::{Consistency, Job, WatchJobResponse};
use std::time::Duration;

/// Follow a job until it has ended.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    /// How long to watch at most, like 10m [default: until the job has ended].
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    timeout: Option<Duration>,
}

impl Watch {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(None)?;
        let write = |update: &_| if context.output.is_json() { context.output.line(update) } else { Ok(()) };
        let job = within(self.timeout, self.job_id, follow(&client, self.job_id, write)).await?;
        if !context.output.is_json() {
            context.output.answer(&job, output::job)?;
        }
        Ok(must_be_completed(&job)?)
    }
}

/// Shows a job's progress on stderr until it has ended, and hands each update on.
pub(super) async fn follow(
    client: &Client,
    job_id: i64,
    mut on_update: impl FnMut(&WatchJobResponse) -> anyhow::Result<()>,
) -> anyhow::Result<Job> {
    let mut progress = Progress::new();
    let mut watch = client.watch_job(job_id, Consistency::Linearizable);
    let mut last = None;
    while let Some(update) = watch.next().await? {
        on_update(&update)?;
        progress.show(update.job.as_ref().context("an update without a job")?);
        last = update.job;
    }
    progress.end();
    last.context("the watch ended before it began")
}

/// Gives up, but not the job, after `limit`.
pub(super) async fn within<F>(limit: Option<Duration>, job_id: i64, work: F) -> anyhow::Result<Job>
where
    F: Future<Output = anyhow::Result<Job>>,
{
    match limit {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::WaitedTooLong { job_id }.into()),
        },
    }
}
