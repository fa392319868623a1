//! `ferry task list`: the tasks of a job by id, as many as are asked for.

use crate::command::Context;
use crate::command::page::{Page, PageOptions};
use crate::connection::ReadOptions;
use crate::output;
use clap::{Args, ValueEnum};
use ferry_proto::v1::{ListTasksRequest, ListTasksResponse, TaskState};

/// A task's state on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Pending,
    InProgress,
    Completed,
    Failed,
}

impl State {
    fn wire(self) -> i32 {
        let state = match self {
            Self::Pending => TaskState::Pending,
            Self::InProgress => TaskState::InProgress,
            Self::Completed => TaskState::Completed,
            Self::Failed => TaskState::Failed,
        };
        state.into()
    }
}

/// List the tasks of a job.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The job.
    #[arg(long = "job", value_name = "JOB_ID", allow_negative_numbers = true)]
    job_id: i64,
    /// Only tasks in this state; several: in any of them.
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    state: Vec<State>,
    #[command(flatten)]
    page: PageOptions,
    #[command(flatten)]
    read: ReadOptions,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = &context.connection.client(self.read.call.timeout)?;
        let filter = &ListTasksRequest {
            job_id: self.job_id,
            states: self.state.iter().map(|state| state.wire()).collect(),
            consistency: self.read.consistency(),
            ..ListTasksRequest::default()
        };
        let get = |page_size, page_token| async move {
            let answer = client.list_tasks(ListTasksRequest { page_size, page_token, ..filter.clone() }).await?;
            context.show_age(&answer);
            let ListTasksResponse { tasks, next_page_token } = answer.message;
            Ok(Page { items: tasks, next_page_token })
        };
        let Page { items, next_page_token } = self.page.collect(get).await?;
        let response = ListTasksResponse { tasks: items, next_page_token };
        context.output.list(&response, |response| &response.tasks, output::tasks)
    }
}
