//! `ferry cluster add-node`: a node that waits becomes one of the cluster; it votes once it has caught up.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::AddNodeRequest;

/// Add a node that runs without peers and waits; repeat the command where it ran out of time.
#[derive(Debug, Args)]
pub(crate) struct AddNode {
    /// The id it was started with, higher than that of every other node.
    #[arg(long, value_name = "ID")]
    id: u64,
    /// Where clients and the other nodes reach it.
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    #[command(flatten)]
    call: CallOptions,
}

impl AddNode {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.add_node(AddNodeRequest { node_id: self.id, address: self.address }).await?;
        context.output.answer(&answer.message, |response| output::nodes(&response.nodes))
    }
}
