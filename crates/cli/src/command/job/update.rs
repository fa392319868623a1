//! `ferry job update`: changes the live options of a job that has not ended.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::{output, units};
use clap::{ArgGroup, Args};
use ferry_proto::v1::UpdateJobRequest;

/// Change a running job's options.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Update {
    /// The job.
    #[arg(allow_negative_numbers = true)]
    job_id: i64,
    /// Its share of the workers, 0 to 100.
    #[arg(long, group = "change", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// The most that all workers together copy for the job in a second, like 100MiB; 0: no limit.
    #[arg(long, group = "change", value_name = "BYTES", value_parser = units::bytes)]
    bandwidth: Option<u64>,
    /// The most requests that all workers together send to object stores for the job in a second; 0: no limit.
    #[arg(long, group = "change", value_name = "N")]
    requests_per_second: Option<u32>,
    /// The most attempts of the job's tasks that run at once; 0: no limit. Those that run go on.
    #[arg(long, group = "change", value_name = "N")]
    parallel: Option<u32>,
    #[command(flatten)]
    call: CallOptions,
}

impl Update {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let request = UpdateJobRequest {
            job_id: self.job_id,
            priority: self.priority,
            bandwidth_bytes_per_second: self.bandwidth,
            requests_per_second: self.requests_per_second,
            attempts_at_once_max: self.parallel,
        };
        let answer = client.update_job(request).await?;
        context.output.answer(&answer.message, |response| output::job(&response.job.clone().unwrap_or_default()))
    }
}
