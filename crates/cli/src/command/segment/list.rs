//! `ferry segment list`: target segments by id, as many as are asked for.

use crate::command::Context;
use crate::command::page::{Page, PageOptions};
use crate::connection::ReadOptions;
use crate::output;
use clap::{Args, ValueEnum};
use ferry_proto::v1::{ListSegmentsRequest, ListSegmentsResponse, SegmentState};

/// A segment's state on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Importing,
    Flushed,
    Dropped,
}

impl State {
    fn wire(self) -> i32 {
        let state = match self {
            Self::Importing => SegmentState::Importing,
            Self::Flushed => SegmentState::Flushed,
            Self::Dropped => SegmentState::Dropped,
        };
        state.into()
    }
}

/// List target segments.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only segments in this state; several: in any of them.
    #[arg(long, value_enum, ignore_case = true, value_delimiter = ',')]
    state: Vec<State>,
    /// Only segments of this collection.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    collection: i64,
    /// Only segments of this job.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    job: i64,
    #[command(flatten)]
    page: PageOptions,
    #[command(flatten)]
    read: ReadOptions,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = &context.connection.client(self.read.call.timeout)?;
        let filter = &ListSegmentsRequest {
            states: self.state.iter().map(|state| state.wire()).collect(),
            collection_id: self.collection,
            job_id: self.job,
            consistency: self.read.consistency(),
            ..ListSegmentsRequest::default()
        };
        let get = |page_size, page_token| async move {
            let answer = client.list_segments(ListSegmentsRequest { page_size, page_token, ..filter.clone() }).await?;
            context.show_age(&answer);
            let ListSegmentsResponse { segments, next_page_token } = answer.message;
            Ok(Page { items: segments, next_page_token })
        };
        let Page { items, next_page_token } = self.page.collect(get).await?;
        let response = ListSegmentsResponse { segments: items, next_page_token };
        context.output.list(&response, |response| &response.segments, output::segments)
    }
}
