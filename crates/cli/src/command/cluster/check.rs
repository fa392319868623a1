//! `ferry cluster check`: recounts the invariants of every row on the node that answers.

use crate::command::Context;
use crate::connection::ReadOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::CheckInvariantsRequest;

/// Recount the invariants of every row; the exit code is 0 when all hold.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    read: ReadOptions,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.read.call.timeout)?;
        let answer = client.check_invariants(CheckInvariantsRequest { consistency: self.read.consistency() }).await?;
        context.show_age(&answer);
        context.output.answer(&answer.message, output::checks)?;
        match answer.violations.len() {
            0 => Ok(()),
            count => anyhow::bail!(
                "{count} invariants do not hold at {}; keep its data directory and report it",
                answer.endpoint
            ),
        }
    }
}
