//! `ferry snapshot verify`: whether every object of a snapshot is there and is what it was.

use crate::arguments::{self, Uri};
use crate::command::Context;
use crate::output::{self, note};
use crate::progress::FileProgress;
use crate::stores::StoreOptions;
use crate::units::show_bytes;
use clap::Args;
use ferry_snapshot::{Depth, Problem, Snapshot, Verification};

/// Check that every object of a snapshot is there and is what it was; the exit code is 0 when all are.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The snapshot: its metadata file, or a place with exactly one below it.
    #[arg(value_name = "URI", value_parser = arguments::uri)]
    snapshot: Uri,
    /// Look at existence and size only, and read no object.
    #[arg(long)]
    sizes_only: bool,
    #[command(flatten)]
    stores: StoreOptions,
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let snapshot = Snapshot::open(&self.stores.open()?, &self.snapshot.0).await?;
        let depth = if self.sizes_only { Depth::Sizes } else { Depth::Contents };
        let progress = FileProgress::new("verifying");
        let found = snapshot.verify(depth, &|now| progress.show(now)).await;
        progress.end();
        let found = found?;
        if !context.output.is_json() {
            note(&headline(&found));
        }
        if context.output.is_json() || !found.is_clean() {
            context.output.value(&found, table)?;
        }
        match found.problems.len() {
            0 => Ok(()),
            count => anyhow::bail!("{count} of the snapshot's objects are not as they should be; take it again"),
        }
    }
}

fn headline(found: &Verification) -> String {
    format!(
        "{} segments, {} objects, {}; {} compared by checksum",
        found.segments,
        found.files,
        show_bytes(found.bytes),
        found.checksums_compared
    )
}

fn table(found: &Verification) -> comfy_table::Table {
    let row = |problem: &Problem| {
        let key = problem.key.clone().unwrap_or_else(|| "(manifest)".to_owned());
        vec![problem.segment_id.to_string(), key, problem.message.clone()]
    };
    output::grid(&["SEGMENT", "OBJECT", "PROBLEM"], found.problems.iter().map(row).collect())
}
