//! `ferry job events`: what happened to jobs, each transition once and in order, and on request what happens next.

use crate::command::Context;
use crate::output;
use clap::Args;
use ferry_proto::v1::{JobEvent, WatchEventsRequest, WatchEventsResponse};

/// Show what happened to jobs, and what happens.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Events of this revision and of later ones [default: all that are kept].
    #[arg(long, value_name = "REVISION")]
    from_revision: Option<u64>,
    /// Of that revision itself, those with this ordinal and higher ones.
    #[arg(long, value_name = "ORDINAL", default_value_t = 0, hide_default_value = true, requires = "from_revision")]
    from_ordinal: u32,
    /// Go on with what happens from now on, until the command is ended.
    #[arg(long)]
    follow: bool,
    /// Only events of this job.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    job: i64,
    /// Only events of jobs of this collection.
    #[arg(long, value_name = "ID", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    collection: i64,
}

impl Events {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(None)?;
        let mut watch = client.watch_events(WatchEventsRequest {
            from_revision: self.from_revision,
            from_ordinal: self.from_ordinal,
            job_id: self.job,
            collection_id: self.collection,
            ..WatchEventsRequest::default()
        });
        let mut until = None;
        loop {
            let response = watch.next().await?;
            // What happens while the events that there were are shown is for those who follow.
            let until = *until.get_or_insert(response.revision);
            for event in &response.events {
                show(context, event)?;
            }
            if !self.follow && response.next_revision > until {
                output::note(&go_on(&response));
                return Ok(());
            }
        }
    }
}

fn show(context: &Context, event: &JobEvent) -> anyhow::Result<()> {
    if context.output.is_json() { context.output.line(event) } else { output::print(&output::event(event)) }
}

fn go_on(response: &WatchEventsResponse) -> String {
    let from = format!("go on later with --from-revision {}", response.next_revision);
    if response.next_ordinal == 0 { from } else { format!("{from} --from-ordinal {}", response.next_ordinal) }
}
