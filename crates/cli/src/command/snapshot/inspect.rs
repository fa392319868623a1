//! `ferry snapshot inspect`: what is in a snapshot, from its metadata and manifests alone.

use crate::arguments::{self, Uri};
use crate::command::Context;
use crate::output::{self, note};
use crate::stores::StoreOptions;
use crate::units::show_bytes;
use clap::Args;
use ferry_snapshot::{SegmentSummary, Snapshot, Summary, Warning};
use serde::Serialize;
use std::collections::BTreeMap;

/// Warnings that people are told one by one.
const WARNINGS_TOLD_MAX: usize = 100;

/// Show what is in a snapshot.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The snapshot: its metadata file, or a place with exactly one below it.
    #[arg(value_name = "URI", value_parser = arguments::uri)]
    snapshot: Uri,
    #[command(flatten)]
    stores: StoreOptions,
}

impl Inspect {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let snapshot = Snapshot::open(&self.stores.open()?, &self.snapshot.0).await?;
        let warnings = snapshot.read_warnings().await?;
        for warning in warnings.iter().take(WARNINGS_TOLD_MAX) {
            note(&format!("warning: {}", warning.text));
        }
        if let Some(untold @ 1..) = warnings.len().checked_sub(WARNINGS_TOLD_MAX) {
            note(&format!("warning: and {untold} more warnings; with -o json all of them are told"));
        }
        let summary = snapshot.inspect().await?;
        if !context.output.is_json() {
            note(&headline(&summary));
        }
        context.output.value(&Inspected { summary, warnings }, |inspected| table(&inspected.summary))
    }
}

/// What is in a snapshot, and what it warns of.
#[derive(Debug, Serialize)]
struct Inspected {
    #[serde(flatten)]
    summary: Summary,
    warnings: Vec<Warning>,
}

fn headline(summary: &Summary) -> String {
    format!(
        "snapshot {} {:?} of collection {} {:?}, format V{}, {} checksums\n{} segments, {} rows, {}, {} index builds: {}",
        summary.snapshot_id,
        summary.name,
        summary.collection_id,
        summary.collection_name,
        summary.format_version.max(1),
        if summary.has_checksums { "with" } else { "without" },
        summary.segments.len(),
        summary.rows,
        show_bytes(summary.bytes),
        summary.build_ids.len(),
        kinds(&summary.files),
    )
}

fn table(summary: &Summary) -> comfy_table::Table {
    let row = |segment: &SegmentSummary| {
        vec![
            segment.segment_id.to_string(),
            segment.partition_id.to_string(),
            segment.rows.to_string(),
            show_bytes(segment.bytes),
            kinds(&segment.files),
        ]
    };
    let header = ["SEGMENT", "PARTITION", "ROWS", "BYTES", "FILES"];
    output::grid(&header, summary.segments.iter().map(row).collect())
}

fn kinds(files: &BTreeMap<&'static str, u64>) -> String {
    files.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}
