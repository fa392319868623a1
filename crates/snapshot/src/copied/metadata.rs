//! The metadata file of a copy: the source's, over the copied segments alone.

use std::collections::{BTreeMap, BTreeSet};

use ferry_objects::join;
use thiserror::Error;

use super::SnapshotFile;
use crate::layout::{FileKind, LayoutKey, NewIds};
use crate::metadata::{Layout, Metadata, MetadataError, SnapshotInfo, State, StorageManifest};
use crate::plan::{BuildIdsError, Target, new_build_id};
use crate::snapshot::Snapshot;
use crate::storage_manifest::Entry;

/// Said of a snapshot that was being written, and by Ferry of none.
const PENDING_FIELDS: [&str; 2] = ["pending_start_time", "pendingStartTime"];

/// A segment that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedSegment {
    /// A segment of the source.
    pub source_segment_id: i64,
    /// Its copy.
    pub target_segment_id: i64,
    /// The partition of the copy.
    pub partition_id: i64,
}

/// Why the metadata file of a copy cannot be made.
#[derive(Debug, Error)]
pub enum MetadataOfCopyError {
    /// A reader would refuse it.
    #[error("the metadata of the copy of {uri}: {source}; please report this")]
    Metadata {
        /// The source's file.
        uri: String,
        /// What is wrong.
        source: MetadataError,
    },
    /// The block of build ids ends too early.
    #[error(transparent)]
    BuildIds(#[from] BuildIdsError),
}

impl Snapshot {
    /// The metadata file of the copy's own snapshot over these segments.
    pub fn metadata_of_copy(
        &self,
        target: &Target,
        segments: Vec<CopiedSegment>,
    ) -> Result<SnapshotFile, MetadataOfCopyError> {
        let build_ids = match target.build_id_base {
            0 => self.build_ids().to_vec(),
            base => {
                let builds = self.build_ids().iter().filter_map(|build| new_build_id(self.build_ids(), base, *build));
                builds.collect::<Result<_, _>>()?
            }
        };
        let metadata = self.copied(self.metadata().clone(), target, segments, build_ids);
        // Whatever a reader would refuse is refused here.
        metadata.check().map_err(|source| MetadataOfCopyError::Metadata { uri: self.uri(), source })?;
        Ok(SnapshotFile { target_key: target.metadata_key(), content: metadata.to_json().into() })
    }

    fn copied(
        &self,
        source: Metadata,
        target: &Target,
        mut segments: Vec<CopiedSegment>,
        build_ids: Vec<i64>,
    ) -> Metadata {
        segments.sort_unstable_by_key(|segment| segment.target_segment_id);
        let partitions = partitions(&source, target, &segments);
        let mut info = source.snapshot_info;
        info.other.retain(|name, _| !PENDING_FIELDS.contains(&name.as_str()));
        let storage = segments.iter().filter_map(|segment| self.storage_manifest_of_copy(target, segment));
        Metadata {
            format_version: source.format_version,
            snapshot_info: SnapshotInfo {
                id: target.snapshot_id,
                collection_id: target.collection_id,
                partition_ids: partitions.values().copied().collect::<BTreeSet<i64>>().into_iter().collect(),
                s3_location: target.path_of(&target.metadata_key()),
                state: State::Committed,
                ..info
            },
            manifest_list: segments
                .iter()
                .map(|segment| target.path_of(&target.manifest_key(segment.target_segment_id)))
                .collect(),
            storagev2_manifest_list: storage.collect(),
            segment_ids: segments.iter().map(|segment| segment.target_segment_id).collect(),
            build_ids,
            layout: if target.is_bundle { Layout::SelfContained } else { Layout::Referenced },
            indexes: source.indexes,
            collection: crate::metadata::Collection { partitions, ..source.collection },
        }
    }

    fn storage_manifest_of_copy(&self, target: &Target, segment: &CopiedSegment) -> Option<StorageManifest> {
        let entry = self.storage_manifest(segment.source_segment_id)?.ok()?;
        let ids = [target.collection_id, segment.partition_id, segment.target_segment_id].map(|id| id.to_string());
        let ids = NewIds { collection: &ids[0], partition: &ids[1], segment: &ids[2], build: None };
        // Taken apart as a file of the folder, since a key that ends with an id names none.
        let file = join(&entry.base_path, "_metadata");
        let renamed = LayoutKey::parse(&file, FileKind::Insert).ok()?.without_root().renamed(&ids);
        let folder = target.data_key(renamed.strip_suffix("/_metadata")?);
        let copy = Entry { base_path: target.path_of(&folder), ..entry };
        Some(StorageManifest { segment_id: segment.target_segment_id, manifest: copy.text() })
    }
}

/// The partitions of the copy by name: those of the source under their target ids, and what else segments were copied to.
/// Which source partition a mapping's own target partition stands for is not known here, unless there is only one.
fn partitions(source: &Metadata, target: &Target, segments: &[CopiedSegment]) -> BTreeMap<String, i64> {
    let used: BTreeSet<i64> = segments.iter().map(|segment| segment.partition_id).filter(|id| *id > 0).collect();
    let named = &source.collection.partitions;
    if let (1, 1, Some(only)) = (named.len(), used.len(), used.first()) {
        return named.keys().map(|name| (name.clone(), *only)).collect();
    }
    let mapped: BTreeSet<i64> = target.partition_ids.values().copied().collect();
    let sources: BTreeSet<i64> = named.values().copied().collect();
    let by_mappings = used.iter().any(|id| !mapped.contains(id) && !sources.contains(id));
    let mut copied = BTreeMap::new();
    for (name, id) in named {
        match target.partition_ids.get(id) {
            Some(target_id) => _ = copied.insert(name.clone(), *target_id),
            // Its own id is another partition's in the target, or nothing of it was copied to where it names.
            None if mapped.contains(id) || (by_mappings && !used.contains(id)) => {}
            None => _ = copied.insert(name.clone(), *id),
        }
    }
    let known: BTreeSet<i64> = copied.values().copied().collect();
    copied.extend(used.difference(&known).map(|id| (format!("_partition_{id}"), *id)));
    copied
}
