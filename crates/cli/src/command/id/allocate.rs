//! `ferry id allocate`: a block of consecutive ids that belong to the caller alone, for ever.

use crate::command::Context;
use crate::connection::CallOptions;
use crate::output;
use clap::Args;

/// Allocate a block of consecutive ids.
#[derive(Debug, Args)]
pub(crate) struct Allocate {
    /// How many, 1 to 1,000,000.
    #[arg(long, value_name = "N")]
    count: u32,
    #[command(flatten)]
    call: CallOptions,
}

impl Allocate {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.call.timeout)?;
        let answer = client.allocate_ids(self.count).await?;
        context.output.answer(&answer.message, output::ids)
    }
}
