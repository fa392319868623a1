//! Making a snapshot over a tree of segments that already exists: the files stay where they are, and metadata,
//! manifests and checksums are added. The metadata file is written last; without it there is no snapshot.
//!
//! What the tree tells is taken from it: ids and kinds from keys, rows, times and sizes from the head and footer of
//! the logs, an index' field from the head of its files. What it does not tell stays empty, as Milvus' own database
//! alone knows it: names of partitions (their ids stand in), the schema (unless given), channels and positions,
//! index ids, names and parameters.
//!
//! Segments that compaction replaced are left out where the rows tell it; where they do not, no snapshot is made until
//! its segments are chosen.

mod columns;
mod compaction;
mod error;
mod replaced;
mod row_ids;
mod segment;
mod survey;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ferry_objects::Location;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};

use crate::checksums::Checksums;
use crate::manifest::Manifest;
use crate::metadata::{Collection, FORMAT_VERSION_MAX, Layout, Metadata, SnapshotInfo, State};
use crate::paths::{self, ManifestIds, MetadataIds};
use crate::progress::Progress;
pub use columns::RowsError;
pub use error::CreateError;
use segment::Segment;
use survey::Survey;

/// How many objects are read or written at a time.
const CONCURRENCY: usize = 8;
/// How many of what was left out are named.
const EXAMPLES_MAX: usize = 5;

/// What to make the snapshot of, and what the tree cannot tell.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// The collection; needed when the tree has several.
    pub collection_id: Option<i64>,
    /// The snapshot's id; by default one more than the collection's last, or 1.
    pub snapshot_id: Option<i64>,
    /// The snapshot's name; by default `snapshot-{id}`.
    pub name: Option<String>,
    /// Words about it.
    pub description: String,
    /// The collection's schema in Milvus' proto-JSON; by default only a name.
    pub schema: Option<Value>,
    /// Names of partitions by id; by default the id stands in.
    pub partition_names: BTreeMap<i64, String>,
    /// Rows of segments whose insert logs are not in Milvus' formats.
    pub rows: BTreeMap<i64, u64>,
    /// Rows of all other such segments.
    pub rows_default: Option<u64>,
    /// The segments to take, exactly; none means all but those that compaction replaced.
    pub segments: BTreeSet<i64>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The URI of the metadata file: what a job takes as its source.
    pub uri: String,
    /// The snapshot's id.
    pub snapshot_id: i64,
    /// The collection.
    pub collection_id: i64,
    /// Segments in it.
    pub segments: u64,
    /// Files of all segments.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Rows of all segments.
    pub rows: i64,
    /// Keys in the folders of segments that belong to no segment of the collection and are left out.
    pub left_out: Examples<String>,
    /// Segments that are left out, as compaction replaced them.
    pub replaced: Examples<Replaced>,
}

/// How many there are, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Examples<T> {
    /// How many there are.
    pub count: u64,
    /// At most five.
    pub examples: Vec<T>,
}

/// A segment that compaction replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// The segment.
    pub segment_id: i64,
    /// Segments that hold its rows, at most five; none when all its rows are deleted.
    pub held_by: Vec<i64>,
}

impl<T> Examples<T> {
    fn of(all: impl ExactSizeIterator<Item = T>) -> Self {
        Self { count: all.len() as u64, examples: all.take(EXAMPLES_MAX).collect() }
    }
}

/// Makes a snapshot over the tree at `root`. `progress` hears of every file that has been read.
pub async fn create(
    root: &Location,
    options: &CreateOptions,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Created, CreateError> {
    let mut survey = Survey::of(root, options.collection_id).await?;
    let replaced = if options.segments.is_empty() {
        compaction::leave_out(root, &mut survey).await?
    } else {
        survey.take_only(root, &options.segments)?;
        BTreeMap::new()
    };
    let ids = MetadataIds {
        collection_id: survey.collection_id,
        snapshot_id: snapshot_id(root, survey.collection_id, options.snapshot_id).await?,
    };
    let mut counting = Counting::new(&survey, progress);
    let described: Vec<(Manifest, Checksums)> = {
        let mut segments = stream::iter(&survey.segments)
            .map(|(segment_id, segment)| survey::describe(root, *segment_id, segment, options))
            .buffered(CONCURRENCY);
        let mut described = Vec::with_capacity(survey.segments.len());
        while let Some((manifest, checksums)) = segments.try_next().await? {
            counting.advance(&checksums);
            described.push((manifest, checksums));
        }
        described
    };
    write_manifests(root, ids, &described).await?;
    let metadata = metadata(root, ids, options, &survey, &described);
    let content = metadata.to_json();
    // Whatever would be refused later is refused now.
    Metadata::parse(&content)?;
    root.write(&paths::metadata_key(ids), Bytes::from(content)).await?;
    Ok(Created {
        uri: root.object_uri(&paths::metadata_key(ids)),
        snapshot_id: ids.snapshot_id,
        collection_id: ids.collection_id,
        segments: described.len() as u64,
        files: counting.now.files_done,
        bytes: counting.now.bytes_done,
        rows: described.iter().map(|(manifest, _)| manifest.num_of_rows).sum(),
        left_out: Examples::of(survey.left_out.into_iter()),
        replaced: Examples::of(replaced.into_iter().map(|(segment_id, holders)| Replaced {
            segment_id,
            held_by: holders.into_iter().take(EXAMPLES_MAX).collect(),
        })),
    })
}

struct Counting<'a> {
    now: Progress,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl<'a> Counting<'a> {
    fn new(survey: &Survey, progress: &'a (dyn Fn(Progress) + Send + Sync)) -> Counting<'a> {
        let files = || survey.segments.values().flat_map(Segment::files);
        let total = Progress {
            files_total: files().count() as u64,
            bytes_total: files().map(|file| file.size_bytes).sum(),
            ..Progress::default()
        };
        progress(total);
        Counting { now: total, progress }
    }

    fn advance(&mut self, checksums: &Checksums) {
        self.now.files_done += checksums.objects.len() as u64;
        self.now.bytes_done += checksums.objects.values().map(|checksum| checksum.size_bytes).sum::<u64>();
        (self.progress)(self.now);
    }
}

/// The id asked for, if it is free, or the next free one.
async fn snapshot_id(root: &Location, collection_id: i64, wanted: Option<i64>) -> Result<i64, CreateError> {
    let folder = root.list_folder(&format!("{}/{collection_id}/metadata", paths::FOLDER)).await?;
    let taken: Vec<i64> = folder
        .objects
        .iter()
        .filter_map(|object| paths::metadata_ids(&object.key))
        .map(|(_, ids)| ids.snapshot_id)
        .collect();
    match wanted {
        Some(snapshot_id) if taken.contains(&snapshot_id) => {
            let key = paths::metadata_key(MetadataIds { collection_id, snapshot_id });
            Err(CreateError::Exists(root.object_uri(&key)))
        }
        Some(snapshot_id) => Ok(snapshot_id),
        None => Ok(taken.into_iter().max().unwrap_or(0).max(0).saturating_add(1)),
    }
}

async fn write_manifests(
    root: &Location,
    ids: MetadataIds,
    described: &[(Manifest, Checksums)],
) -> Result<(), CreateError> {
    stream::iter(described.iter().map(Ok))
        .try_for_each_concurrent(CONCURRENCY, |(manifest, checksums)| async move {
            let segment_id = manifest.segment_id;
            let content = manifest.encode(5).map_err(|source| CreateError::Manifest { segment_id, source })?;
            let manifest_ids = manifest_ids(ids, segment_id);
            root.write(&paths::checksums_key(manifest_ids), Bytes::from(checksums.to_json())).await?;
            Ok(root.write(&paths::manifest_key(manifest_ids), Bytes::from(content)).await?)
        })
        .await
}

fn manifest_ids(ids: MetadataIds, segment_id: i64) -> ManifestIds {
    ManifestIds { collection_id: ids.collection_id, snapshot_id: ids.snapshot_id, segment_id }
}

fn metadata(
    root: &Location,
    ids: MetadataIds,
    options: &CreateOptions,
    survey: &Survey,
    described: &[(Manifest, Checksums)],
) -> Metadata {
    let logs = || described.iter().flat_map(|(manifest, _)| manifest.binlogs()).flat_map(|(_, fields)| fields);
    let latest = logs().flat_map(|field| &field.binlogs).map(|log| log.timestamp_to).max().unwrap_or_default();
    let partition_ids = survey.partition_ids();
    let partition_name =
        |id: &i64| options.partition_names.get(id).cloned().unwrap_or_else(|| format!("_partition_{id}"));
    let named = partition_ids.iter().filter(|id| **id > 0).map(|id| (partition_name(id), *id));
    Metadata {
        format_version: FORMAT_VERSION_MAX,
        snapshot_info: SnapshotInfo {
            name: options.name.clone().unwrap_or_else(|| format!("snapshot-{}", ids.snapshot_id)),
            id: ids.snapshot_id,
            description: options.description.clone(),
            collection_id: ids.collection_id,
            create_ts: u64::try_from(latest).unwrap_or_default(),
            // Keys are relative to the root, so that the tree may be moved as a whole.
            s3_location: paths::metadata_key(ids),
            state: State::Committed,
            partition_ids: partition_ids.clone(),
            ..SnapshotInfo::default()
        },
        collection: Collection {
            schema: options.schema.clone().unwrap_or_else(|| json!({"name": collection_name(root, ids)})),
            num_partitions: i64::try_from(partition_ids.len()).unwrap_or_default(),
            partitions: named.collect(),
            ..Collection::default()
        },
        indexes: Vec::new(),
        manifest_list: survey
            .segments
            .keys()
            .map(|segment_id| paths::manifest_key(manifest_ids(ids, *segment_id)))
            .collect(),
        storagev2_manifest_list: Vec::new(),
        segment_ids: survey.segments.keys().copied().collect(),
        build_ids: survey.build_ids(),
        layout: Layout::Referenced,
    }
}

fn collection_name(root: &Location, ids: MetadataIds) -> String {
    let folder = root.root().rsplit('/').next().unwrap_or_default();
    if folder.is_empty() { format!("collection-{}", ids.collection_id) } else { folder.to_owned() }
}
