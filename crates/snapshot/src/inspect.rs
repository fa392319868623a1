//! What is in a snapshot, for people and scripts: sums by segment and by kind of file, from the manifests alone.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::files::FilesError;
use crate::snapshot::Snapshot;

/// How many manifests are read at a time.
const CONCURRENCY: usize = 16;

/// A snapshot in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The URI of the metadata file.
    pub uri: String,
    /// The snapshot's id.
    pub snapshot_id: i64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// The collection it was taken of.
    pub collection_id: i64,
    /// The collection's name, where its schema has one.
    pub collection_name: String,
    /// The format of its files.
    pub format_version: i32,
    /// Whether it has a checksum of each object.
    pub has_checksums: bool,
    /// Ids of index builds.
    pub build_ids: Vec<i64>,
    /// Segments, by id.
    pub segments: Vec<SegmentSummary>,
    /// Files of all segments, by kind.
    pub files: BTreeMap<&'static str, u64>,
    /// Rows of all segments.
    pub rows: i64,
    /// Bytes of all files as far as the snapshot tells.
    pub bytes: u64,
}

/// A segment in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentSummary {
    /// Its id.
    pub segment_id: i64,
    /// Its partition.
    pub partition_id: i64,
    /// Its rows.
    pub rows: i64,
    /// Its bytes, as far as the snapshot tells.
    pub bytes: u64,
    /// Whether there is a checksum of each of its objects.
    pub has_checksums: bool,
    /// Its files by kind.
    pub files: BTreeMap<&'static str, u64>,
}

impl Snapshot {
    /// Reads every manifest and adds up.
    pub async fn inspect(&self) -> Result<Summary, FilesError> {
        let segments: Vec<SegmentSummary> = stream::iter(self.flushed_segment_ids())
            .map(|segment_id| self.inspect_segment(segment_id))
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut files = BTreeMap::new();
        for (kind, count) in segments.iter().flat_map(|segment| &segment.files) {
            *files.entry(*kind).or_default() += count;
        }
        let metadata = self.metadata();
        let name = metadata.collection.schema.get("name").and_then(|name| name.as_str());
        Ok(Summary {
            uri: self.uri(),
            snapshot_id: self.snapshot_id(),
            name: metadata.snapshot_info.name.clone(),
            description: metadata.snapshot_info.description.clone(),
            collection_id: self.collection_id(),
            collection_name: name.unwrap_or_default().to_owned(),
            format_version: metadata.format_version,
            has_checksums: segments.iter().all(|segment| segment.has_checksums),
            build_ids: self.build_ids().to_vec(),
            rows: segments.iter().map(|segment| segment.rows).sum(),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments,
            files,
        })
    }

    async fn inspect_segment(&self, segment_id: i64) -> Result<SegmentSummary, FilesError> {
        let manifest = self.manifest(segment_id).await?;
        let segment = self.files(&manifest).await?;
        let mut files = BTreeMap::new();
        for file in &segment.files {
            *files.entry(file.kind.name()).or_default() += 1;
        }
        let (partition_id, rows, bytes) = (manifest.partition_id, segment.rows, segment.bytes);
        let has_checksums = segment.files.iter().all(|file| file.checksum.is_some());
        Ok(SegmentSummary { segment_id, partition_id, rows, bytes, has_checksums, files })
    }
}
