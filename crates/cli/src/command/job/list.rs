//! `ferry job list`: jobs by id, as many as are asked for.

use crate::arguments;
use crate::command::Context;
use crate::command::page::{Page, PageOptions};
use crate::connection::ReadOptions;
use crate::output;
use clap::{Args, ValueEnum};
use ferry_proto::v1::{JobState, ListJobsRequest, ListJobsResponse};

/// A job's state on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Pending,
    Executing,
    Completed,
    Failed,
    Canceled,
}

impl State {
    fn wire(self) -> i32 {
        let state = match self {
            Self::Pending => JobState::Pending,
            Self::Executing => JobState::Executing,
            Self::Completed => JobState::Completed,
            Self::Failed => JobState::Failed,
            Self::Canceled => JobState::Canceled,
        };
        state.into()
    }
}

/// List jobs.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only jobs in this state; several: in any of them.
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    state: Vec<State>,
    /// Only jobs of this collection.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    collection: i64,
    /// Only jobs with this label; several: with all of them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::label)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    page: PageOptions,
    #[command(flatten)]
    read: ReadOptions,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = &context.connection.client(self.read.call.timeout)?;
        let filter = &ListJobsRequest {
            states: self.state.iter().map(|state| state.wire()).collect(),
            collection_id: self.collection,
            labels: self.label.iter().cloned().collect(),
            consistency: self.read.consistency(),
            ..ListJobsRequest::default()
        };
        let get = |page_size, page_token| async move {
            let answer = client.list_jobs(ListJobsRequest { page_size, page_token, ..filter.clone() }).await?;
            context.show_age(&answer);
            let ListJobsResponse { jobs, next_page_token } = answer.message;
            Ok(Page { items: jobs, next_page_token })
        };
        let Page { items, next_page_token } = self.page.collect(get).await?;
        let response = ListJobsResponse { jobs: items, next_page_token };
        context.output.list(&response, |response| &response.jobs, output::jobs)
    }
}
