//! The snapshot that a copy is itself: a manifest for each copied segment, and the metadata file over all of them, in the
//! format version of the source and in Milvus' own places. Rows, paths and ids in them are the copy's.
//!
//! Paths are as Milvus writes them: in a bucket they start at the bucket. On a local disk they are relative to the root of
//! the tree, as those that `ferry snapshot create` writes, so that the tree can be moved as a whole.

mod manifest;
mod metadata;

use bytes::Bytes;
use ferry_objects::join;

use crate::paths::{ManifestIds, MetadataIds, checksums_key, manifest_key, metadata_key};
use crate::plan::Target;

pub use metadata::{CopiedSegment, MetadataOfCopyError};

/// A file of the copy's own snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its key below the target's root.
    pub target_key: String,
    /// All of it.
    pub content: Bytes,
}

impl Target {
    /// The key of the metadata file of the copy's own snapshot, below the target's root.
    pub fn metadata_key(&self) -> String {
        metadata_key(MetadataIds { collection_id: self.collection_id, snapshot_id: self.snapshot_id })
    }

    /// Where a segment's manifest and its checksums lie in the copy's own snapshot.
    pub(crate) fn snapshot_keys(&self, segment_id: i64) -> [String; 2] {
        [self.manifest_key(segment_id), self.checksums_key(segment_id)]
    }

    fn manifest_key(&self, segment_id: i64) -> String {
        manifest_key(self.manifest_ids(segment_id))
    }

    fn checksums_key(&self, segment_id: i64) -> String {
        checksums_key(self.manifest_ids(segment_id))
    }

    fn manifest_ids(&self, segment_id: i64) -> ManifestIds {
        ManifestIds { collection_id: self.collection_id, snapshot_id: self.snapshot_id, segment_id }
    }

    /// How the copy's snapshot names an object below the target's root.
    fn path_of(&self, key: &str) -> String {
        match self.location.bucket() {
            Some(_) => join(self.location.root(), key),
            None => key.to_owned(),
        }
    }
}
