//! Milvus' snapshot formats and path layouts: what a segment consists of, where its files lie, and what they are called
//! under new ids.
//!
//! Architecture invariant: of Ferry's crates this one knows `objects` alone; it deletes nothing, and touches no key that
//! `check_key` refuses.

mod binlog;
mod checksums;
mod copied;
mod create;
mod files;
mod footer;
mod indexes;
mod inspect;
mod layout;
mod manifest;
mod metadata;
mod paths;
mod plan;
mod progress;
mod roots;
mod schema;
mod snapshot;
mod snapshots;
mod storage_entries;
mod storage_manifest;
mod verify;
mod warning;

pub use binlog::LogError;
pub use checksums::{Checksums, ChecksumsError};
pub use copied::{CopiedSegment, MetadataOfCopyError, SnapshotFile};
pub use create::{CreateError, CreateOptions, Created, Examples, Replaced, RowsError, create};
pub use files::{FilesError, SegmentFiles, SourceFile};
pub use indexes::{IndexChoice, IndexChoiceError, IndexKind};
pub use inspect::{SegmentSummary, Summary};
pub use layout::{FileKind, KeyIds, LayoutError, LayoutKey, NewIds};
pub use manifest::{
    Binlog, FieldBinlog, IndexFiles, JsonIndex, JsonIndexStats, KeyValue, LEVEL_ZERO, Manifest, ManifestError,
    Position, TextIndex, TextIndexStats,
};
pub use metadata::{
    Collection, FORMAT_VERSION_MAX, Layout, Metadata, MetadataError, Property, SnapshotInfo, State, StorageManifest,
};
pub use paths::snapshot_metadata_key;
pub use plan::{BuildIdsError, Mapping, PlanError, PlannedFile, SegmentPlan, Target, target_partition};
pub use progress::Progress;
pub use snapshot::{OpenError, ReadError, Snapshot};
pub use snapshots::Snapshots;
pub use storage_manifest::StorageManifestError;
pub use verify::{Depth, Problem, Verification};
pub use warning::{UnknownWarning, Warning, WarningKind};
