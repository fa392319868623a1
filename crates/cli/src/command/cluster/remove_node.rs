//! `ferry cluster remove-node`: a node leaves the cluster for ever; refused where the rest could not go on.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Remove a node, up or down, for ever; stop its process afterwards.
#[derive(Debug, Args)]
pub(crate) struct RemoveNode {
    /// The node.
    #[arg(long, value_name = "ID")]
    id: u64,
    #[command(flatten)]
    call: CallOptions,
}

impl RemoveNode {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.remove_node(self.id).await?;
        context.output.answer(&answer.message, |response| output::nodes(&response.nodes))
    }
}
