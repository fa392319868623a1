//! `ferry cluster status`: who leads and how far each node is, with or without a leader.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output::{self, note};
use clap::Args;
use ferry_proto::v1::{GetStatusRequest, GetStatusResponse};

/// Show who leads and how far each node is.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only what the node that is asked knows of itself.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    call: CallOptions,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.get_status(GetStatusRequest { local_only: self.local }).await?;
        if !context.output.is_json() {
            note(&headline(&answer));
        }
        context.output.answer(&answer.message, |response| output::nodes(&response.nodes))
    }
}

fn headline(status: &GetStatusResponse) -> String {
    let leader = match status.leader_id {
        0 => "no leader is known".to_owned(),
        leader => format!("node {leader} leads"),
    };
    format!(
        "cluster {}: {leader} in term {}; cluster time {}; answered by node {}",
        status.cluster_id,
        status.term,
        output::cluster_time(status),
        status.node_id
    )
}
