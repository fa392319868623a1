//! `ferry snapshot create`: metadata, manifests and checksums over files that already lie in Milvus' layout.

use crate::arguments::{self, Uri};
use crate::command::Context;
use crate::exit::Failure;
use crate::output::{self, note};
use crate::progress::FileProgress;
use crate::units::show_bytes;
use anyhow::Context as _;
use clap::Args;
use ferry_snapshot::{CreateOptions, Created, Stores};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Make a snapshot over a tree of segments that already exists.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The root of the tree: the folder that contains insert_log.
    #[arg(long, value_name = "URI", value_parser = arguments::uri)]
    root: Uri,
    /// The collection; needed when the tree has several.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    collection: Option<i64>,
    /// The snapshot's id [default: one more than the collection's last].
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    snapshot: Option<i64>,
    /// The snapshot's name [default: made of its id].
    #[arg(long)]
    name: Option<String>,
    /// Words about it.
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// The collection's schema, as Milvus' proto-JSON.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The name of a partition.
    #[arg(long = "partition-name", value_name = "ID=NAME", value_parser = partition_name)]
    partition_names: Vec<(i64, String)>,
    /// Rows of a segment whose logs are not in Milvus' formats, or of every such segment.
    #[arg(long, value_name = "[SEGMENT=]N", value_parser = rows)]
    rows: Vec<(Option<i64>, u64)>,
}

fn partition_name(text: &str) -> Result<(i64, String), String> {
    let pair = text.split_once('=').and_then(|(id, name)| Some((id.parse().ok()?, name.to_owned())));
    pair.ok_or_else(|| "write ID=NAME, like 7=_default".to_owned())
}

fn rows(text: &str) -> Result<(Option<i64>, u64), String> {
    let parsed = match text.split_once('=') {
        Some((segment, rows)) => segment.parse().ok().zip(rows.parse().ok()).map(|(id, rows)| (Some(id), rows)),
        None => text.parse().ok().map(|rows| (None, rows)),
    };
    parsed.ok_or_else(|| "write N or SEGMENT=N, like 1000 or 7=1000".to_owned())
}

impl Create {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let options = self.options()?;
        let root = Stores::new().open(&self.root.0).map_err(|error| Failure::Usage(format!("--root: {error}")))?;
        let progress = FileProgress::new("reading");
        let created = ferry_snapshot::create(&root, &options, &|now| progress.show(now)).await;
        progress.end();
        let created = created.context("no snapshot was made")?;
        if !created.left_out.is_empty() {
            note(&format!("left out, as they belong to no segment of the collection: {}", created.left_out.join(", ")));
        }
        context.output.value(&created, table)
    }

    fn options(&self) -> anyhow::Result<CreateOptions> {
        let schema = self.schema.as_ref().map(|path| {
            let usage = |error: String| Failure::Usage(format!("--schema: {}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
            serde_json::from_str(&text).map_err(|error| usage(error.to_string()))
        });
        let rows: BTreeMap<i64, u64> =
            self.rows.iter().filter_map(|(segment, rows)| segment.map(|segment| (segment, *rows))).collect();
        Ok(CreateOptions {
            collection_id: self.collection,
            snapshot_id: self.snapshot,
            name: self.name.clone(),
            description: self.description.clone(),
            schema: schema.transpose()?,
            partition_names: self.partition_names.iter().cloned().collect(),
            rows,
            rows_default: self.rows.iter().find(|(segment, _)| segment.is_none()).map(|(_, rows)| *rows),
        })
    }
}

fn table(created: &Created) -> comfy_table::Table {
    output::fields(vec![
        ("snapshot", created.uri.clone()),
        ("collection", created.collection_id.to_string()),
        ("segments", created.segments.to_string()),
        ("files", created.files.to_string()),
        ("bytes", show_bytes(created.bytes)),
        ("rows", created.rows.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::{partition_name, rows};

    #[test]
    fn rows_are_given_for_one_segment_or_for_all() {
        assert_eq!(rows("1000"), Ok((None, 1000)));
        assert_eq!(rows("7=1000"), Ok((Some(7), 1000)));
        assert!(rows("7=").is_err() && rows("many").is_err());
    }

    #[test]
    fn partitions_are_named_by_id() {
        assert_eq!(partition_name("7=_default"), Ok((7, "_default".to_owned())));
        assert!(partition_name("_default").is_err());
    }
}
