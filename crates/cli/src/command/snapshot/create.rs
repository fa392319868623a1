//! `ferry snapshot create`: metadata, manifests and checksums over files that already lie in Milvus' layout.

use crate::arguments::{self, Uri};
use crate::command::Context;
use crate::exit::Failure;
use crate::output::{self, note};
use crate::progress::FileProgress;
use crate::stores::StoreOptions;
use crate::units::show_bytes;
use anyhow::Context as _;
use clap::Args;
use ferry_snapshot::{CreateOptions, Created, Examples, Replaced};
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
    /// Take exactly these segments [default: all but those that compaction replaced].
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',')]
    segments: Vec<i64>,
    #[command(flatten)]
    stores: StoreOptions,
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
        let root =
            self.stores.open()?.open(&self.root.0).map_err(|error| Failure::Usage(format!("--root: {error}")))?;
        let progress = FileProgress::new("reading");
        let created = ferry_snapshot::create(&root, &options, &|now| progress.show(now)).await;
        progress.end();
        let created = created.context("no snapshot was made")?;
        for text in notes(&created) {
            note(&text);
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
            segments: self.segments.iter().copied().collect(),
        })
    }
}

/// What was left out, in words: how much, and the first of it.
fn notes(created: &Created) -> Vec<String> {
    let (files, segments) = (&created.left_out, &created.replaced);
    let mut notes = Vec::new();
    if files.count > 0 {
        let all = listed(files, String::clone);
        notes.push(format!("files left out, as they belong to no segment of the collection: {all}"));
    }
    if segments.count > 0 {
        let all = listed(segments, replaced);
        notes.push(format!("segments left out, as compaction replaced them: {all}"));
    }
    notes
}

fn replaced(segment: &Replaced) -> String {
    let holders: Vec<String> = segment.held_by.iter().map(i64::to_string).collect();
    match holders.as_slice() {
        [] => format!("{} (all rows are deleted)", segment.segment_id),
        _ => format!("{} (its rows are in {})", segment.segment_id, holders.join(", ")),
    }
}

/// `7: a, b and 5 more`.
fn listed<T>(examples: &Examples<T>, show: impl Fn(&T) -> String) -> String {
    let named: Vec<String> = examples.examples.iter().map(show).collect();
    let more = examples.count - named.len() as u64;
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}: {}{rest}", examples.count, named.join(", "))
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
    use super::{Create, notes, partition_name, rows};
    use clap::{Args, FromArgMatches};
    use ferry_snapshot::{Created, Examples, Replaced};

    fn created(files: Examples<String>, segments: Examples<Replaced>) -> Created {
        Created {
            uri: "file:///tree/snapshots/1/metadata/1.json".to_owned(),
            snapshot_id: 1,
            collection_id: 1,
            segments: 1,
            files: 1,
            bytes: 1,
            rows: 1,
            left_out: files,
            replaced: segments,
        }
    }

    #[test]
    fn what_was_left_out_is_counted_and_the_first_of_it_named() {
        let files = Examples { count: 7, examples: vec!["insert_log/a".to_owned(), "insert_log/b".to_owned()] };
        let held = Replaced { segment_id: 5, held_by: vec![8, 9] };
        let deleted = Replaced { segment_id: 6, held_by: Vec::new() };
        let segments = Examples { count: 2, examples: vec![held, deleted] };
        assert_eq!(
            notes(&created(files, segments)),
            [
                "files left out, as they belong to no segment of the collection: 7: insert_log/a, insert_log/b and 5 \
                 more",
                "segments left out, as compaction replaced them: 2: 5 (its rows are in 8, 9), 6 (all rows are deleted)",
            ]
        );
        let nothing = created(Examples { count: 0, examples: Vec::new() }, Examples { count: 0, examples: Vec::new() });
        assert!(notes(&nothing).is_empty());
    }

    #[test]
    fn segments_are_chosen_by_a_list_of_ids() {
        let command = Create::augment_args(clap::Command::new("create"));
        let matches = command.try_get_matches_from(["create", "--root", "file:///tree", "--segments", "7,9"]).unwrap();
        let options = Create::from_arg_matches(&matches).unwrap().options().unwrap();
        assert_eq!(options.segments.into_iter().collect::<Vec<_>>(), [7, 9]);
    }

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
