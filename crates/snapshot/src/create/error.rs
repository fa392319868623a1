//! Why no snapshot was made.

use ferry_objects::StoreError;
use thiserror::Error;

use super::columns::RowsError;
use crate::binlog::LogError;
use crate::manifest::ManifestError;
use crate::metadata::MetadataError;

/// Why no snapshot was made.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing to take a snapshot of.
    #[error("there are no segments below {0}; name the folder that contains insert_log")]
    Empty(String),
    /// More than one collection.
    #[error("there are several collections below {uri}: {ids}; choose one with --collection")]
    Several {
        /// The tree.
        uri: String,
        /// Their ids.
        ids: String,
    },
    /// Not the collection asked for.
    #[error("there is no collection {collection_id} below {uri}; it has {ids}")]
    NoCollection {
        /// The tree.
        uri: String,
        /// The collection.
        collection_id: i64,
        /// Those there are.
        ids: String,
    },
    /// A segment in two partitions.
    #[error("segment {segment_id} lies in two partitions, {one} and {other}; remove the files that do not belong")]
    TwoPartitions {
        /// The segment.
        segment_id: i64,
        /// One partition.
        one: i64,
        /// The other.
        other: i64,
    },
    /// A file that no manifest can describe.
    #[error("{0} is in a storage format that lists its files in a manifest of its own; take this snapshot with Milvus")]
    Unsupported(String),
    /// A log whose rows cannot be counted.
    #[error("the rows of {uri} cannot be counted: {source}; give them with --rows")]
    Log {
        /// The log.
        uri: String,
        /// Why.
        source: LogError,
    },
    /// Fields of a segment disagree about its rows.
    #[error(
        "segment {segment_id}: field {field_id} has {rows} rows, but others have {expected}; remove the files that do not belong"
    )]
    Rows {
        /// The segment.
        segment_id: i64,
        /// The field.
        field_id: i64,
        /// Its rows.
        rows: i64,
        /// The other fields' rows.
        expected: i64,
    },
    /// The id is taken.
    #[error("{0} already exists; choose another snapshot id")]
    Exists(String),
    /// A manifest cannot be written.
    #[error("the manifest of segment {segment_id} cannot be written: {source}")]
    Manifest {
        /// The segment.
        segment_id: i64,
        /// Why.
        source: ManifestError,
    },
    /// The metadata would be refused by its reader.
    #[error("the metadata cannot be written: {0}")]
    Metadata(#[from] MetadataError),
    /// Segments to take that are not there.
    #[error("there is no segment {ids} of collection {collection_id} below {uri}; give ids of folders that are there")]
    NoSegments {
        /// The tree.
        uri: String,
        /// The collection.
        collection_id: i64,
        /// The segments.
        ids: String,
    },
    /// Segments that share rows.
    #[error(
        "segments {one} and {other} of partition {partition_id} have rows in common, and neither replaces the other; \
         choose the segments to take with --segments ID,ID,..."
    )]
    Overlap {
        /// The partition.
        partition_id: i64,
        /// One segment.
        one: i64,
        /// The other.
        other: i64,
    },
    /// Rows that cannot be read, where compaction may have replaced segments.
    #[error(
        "partition {partition_id} was compacted, and which of its segments were replaced cannot be told: the rows of \
         segment {segment_id} cannot be read: {source}; choose the segments to take with --segments ID,ID,..."
    )]
    Unreadable {
        /// The partition.
        partition_id: i64,
        /// The segment.
        segment_id: i64,
        /// Why.
        source: RowsError,
    },
}
