//! `ferry worker list`: workers by id, as many as are asked for.

use crate::command::Context;
use crate::command::page::{Page, PageOptions};
use crate::connection::ReadOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::{ListWorkersRequest, ListWorkersResponse};

/// List workers.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    page: PageOptions,
    #[command(flatten)]
    read: ReadOptions,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = &context.connection.client(self.read.call.timeout)?;
        let consistency = self.read.consistency();
        let get = |page_size, page_token| async move {
            let answer = client.list_workers(ListWorkersRequest { page_size, page_token, consistency }).await?;
            context.show_age(&answer);
            let ListWorkersResponse { workers, next_page_token } = answer.message;
            Ok(Page { items: workers, next_page_token })
        };
        let Page { items, next_page_token } = self.page.collect(get).await?;
        let response = ListWorkersResponse { workers: items, next_page_token };
        context.output.list(&response, |response| &response.workers, output::workers)
    }
}
