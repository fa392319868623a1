//! `ferry task get`: one task with all there is to say.

use crate::command::Context;
use crate::connection::ReadOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::GetTaskRequest;

/// Show one task.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The task.
    #[arg(allow_negative_numbers = true)]
    task_id: i64,
    #[command(flatten)]
    read: ReadOptions,
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.read.call.timeout)?;
        let request = GetTaskRequest { task_id: self.task_id, consistency: self.read.consistency() };
        let answer = client.get_task(request).await?;
        context.show_age(&answer);
        context.output.answer(&answer.message, |response| output::task(&response.task.clone().unwrap_or_default()))
    }
}
