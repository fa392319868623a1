//! `ferry cluster transfer-leadership`: another node leads, without a pause for an election timeout.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Hand the leadership to another node.
#[derive(Debug, Args)]
pub(crate) struct TransferLeadership {
    /// The node that shall lead [default: any other one that can].
    #[arg(long, value_name = "ID")]
    to: Option<u64>,
    #[command(flatten)]
    call: CallOptions,
}

impl TransferLeadership {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.transfer_leadership(self.to.unwrap_or(0)).await?;
        context.output.answer(&answer.message, output::leader)
    }
}
