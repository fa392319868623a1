//! `ferry segment get`: one target segment.

use crate::command::Context;
use crate::connection::ReadOptions;
use crate::output;
use clap::Args;
use ferry_proto::v1::GetSegmentRequest;

/// Show one target segment.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The segment.
    #[arg(allow_negative_numbers = true)]
    segment_id: i64,
    #[command(flatten)]
    read: ReadOptions,
}

impl Get {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let client = context.connection.client(self.read.call.timeout)?;
        let request = GetSegmentRequest { segment_id: self.segment_id, consistency: self.read.consistency() };
        let answer = client.get_segment(request).await?;
        context.show_age(&answer);
        context.output.answer(&answer.message, |response| output::segment(&response.segment.unwrap_or_default()))
    }
}
