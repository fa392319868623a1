//! The plan of one segment's copy: which object becomes which, under the ids of the target. Two objects never become
//! one, and none becomes itself.

use std::collections::{BTreeMap, BTreeSet};

use ferry_objects::{Checksum, Class, KeyError, Location, check_key, join};
use futures::{StreamExt, TryStreamExt};
use thiserror::Error;

use crate::copied::SnapshotFile;
use crate::files::{FilesError, SourceFile, check_size};
use crate::indexes::IndexChoice;
use crate::layout::{FileKind, LayoutError, LayoutKey, NewIds};
use crate::manifest::ManifestError;
use crate::roots::BUNDLE_FOLDER;
use crate::snapshot::{ReadError, Snapshot, Unread};

/// How many segments' manifests are in memory before they are plans.
const SEGMENTS_AT_A_TIME: usize = 64;
/// How many segments' folders are listed side by side.
const FOLDERS_AT_ONCE: usize = 8;

/// Which segment becomes which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// A segment of the snapshot.
    pub source_segment_id: i64,
    /// Its new id.
    pub target_segment_id: i64,
    /// The target partition; 0: by the target's map, else the source's own.
    pub partition_id: i64,
}

/// Where copies go, and under which ids.
#[derive(Clone, Debug)]
pub struct Target {
    /// The root of the target tree.
    pub location: Location,
    /// The collection that the segments become part of.
    pub collection_id: i64,
    /// Target partitions by source partition.
    pub partition_ids: BTreeMap<i64, i64>,
    /// The first of a block of new build ids, as many as the snapshot has builds; 0: builds keep their ids.
    pub build_id_base: i64,
    /// The id of the copy's own snapshot.
    pub snapshot_id: i64,
    /// Whether that is a self-contained bundle, which has its data in a folder of its own.
    pub is_bundle: bool,
    /// Which indexes are copied.
    pub indexes: IndexChoice,
}

impl Target {
    /// Where an object with this key of the layout goes, below the root.
    pub(crate) fn data_key(&self, key: &str) -> String {
        if self.is_bundle { join(BUNDLE_FOLDER, key) } else { key.to_owned() }
    }
}

/// One object and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// What it holds.
    pub kind: FileKind,
    /// Its key below the snapshot's root.
    pub source_key: String,
    /// The copy's key below the target's root.
    pub target_key: String,
    /// The size that the manifest gives: the object may be larger, never shorter. Absent: unknown.
    pub declared_size_bytes: Option<u64>,
    /// Its exact size and CRC, when the snapshot has checksums.
    pub checksum: Option<Checksum>,
}

impl PlannedFile {
    /// Whether an object of `size_bytes` can be this file's source; the message says what is wrong with it.
    pub fn check_size(&self, size_bytes: u64) -> Result<(), String> {
        check_size(self.checksum, self.declared_size_bytes, size_bytes)
    }
}

/// All that is to be copied for one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// The mapping it was made for.
    pub mapping: Mapping,
    /// Length and CRC32C of the manifest that it follows from, as it was read.
    pub manifest: Checksum,
    /// The source's partition.
    pub source_partition_id: i64,
    /// The target's partition.
    pub target_partition_id: i64,
    /// The files, in the order of the manifest.
    pub files: Vec<PlannedFile>,
    /// What of the copy's own snapshot belongs to this segment.
    pub snapshot_files: Vec<SnapshotFile>,
    /// The keys of all that can belong to it, whether or not the source has checksums at this moment.
    pub snapshot_keys: [String; 2],
    /// Rows of the segment.
    pub rows: i64,
    /// Bytes of all files as far as the snapshot tells; the objects' own sizes are the truth.
    pub bytes: u64,
}

/// The last new build id would be no int64.
#[derive(Debug, Error)]
#[error("the block of new build ids from {0} on ends beyond the largest id; allocate another")]
pub struct BuildIdsError(i64);

/// Why a segment cannot be planned.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Its files cannot be told.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The mapping and the target disagree.
    #[error(
        "segment {segment_id}: the mapping says partition {by_mapping}, the target's partition_ids say {by_map} for source partition {source_partition_id}; give one of them"
    )]
    Partition {
        /// The source segment.
        segment_id: i64,
        /// Its partition.
        source_partition_id: i64,
        /// What the mapping says.
        by_mapping: i64,
        /// What the map says.
        by_map: i64,
    },
    /// A build id that the snapshot's own list lacks, so that it has no new one.
    #[error(
        "segment {segment_id}: the key {key} is of index build {build}, which the snapshot's build_ids lack; take the snapshot again"
    )]
    UnknownBuild {
        /// The source segment.
        segment_id: i64,
        /// The key.
        key: String,
        /// The build.
        build: String,
    },
    /// The block of build ids ends too early.
    #[error(transparent)]
    BuildIds(#[from] BuildIdsError),
    /// The copy's manifest cannot be written.
    #[error("segment {segment_id}: the manifest of its copy: {source}; please report this")]
    Manifest {
        /// The source segment.
        segment_id: i64,
        /// What is wrong.
        source: ManifestError,
    },
    /// A copy onto itself.
    #[error(
        "segment {segment_id}: the target of {uri} is the object itself; choose another target root, collection or segment id"
    )]
    Itself {
        /// The source segment.
        segment_id: i64,
        /// The object.
        uri: String,
    },
    /// Two objects would become one.
    #[error("segment {segment_id}: two objects would become {key}; take the snapshot again")]
    Collision {
        /// The source segment.
        segment_id: i64,
        /// The target's key.
        key: String,
    },
    /// A key does not fit the layout.
    #[error("segment {segment_id}: {source}")]
    Layout {
        /// The source segment.
        segment_id: i64,
        /// What is wrong.
        source: LayoutError,
    },
    /// A target key that we do not touch.
    #[error("segment {segment_id}: the target's key: {source}")]
    TargetKey {
        /// The source segment.
        segment_id: i64,
        /// What is wrong.
        source: KeyError,
    },
}

impl From<ReadError> for PlanError {
    fn from(error: ReadError) -> PlanError {
        PlanError::Files(error.into())
    }
}

impl PlanError {
    /// What a caller should do about it.
    pub fn class(&self) -> Class {
        match self {
            PlanError::Files(error) => error.class(),
            PlanError::Partition { .. }
            | PlanError::UnknownBuild { .. }
            | PlanError::BuildIds(_)
            | PlanError::Manifest { .. }
            | PlanError::Itself { .. }
            | PlanError::Collision { .. }
            | PlanError::Layout { .. }
            | PlanError::TargetKey { .. } => Class::Permanent,
        }
    }
}

/// The partition a segment goes to: the mapping's, else by the map, else its own.
pub fn target_partition(
    mapping: &Mapping,
    source_partition_id: i64,
    partition_ids: &BTreeMap<i64, i64>,
) -> Result<i64, PlanError> {
    match (mapping.partition_id, partition_ids.get(&source_partition_id).copied()) {
        (0, by_map) => Ok(by_map.unwrap_or(source_partition_id)),
        (by_mapping, Some(by_map)) if by_mapping != by_map => {
            let segment_id = mapping.source_segment_id;
            Err(PlanError::Partition { segment_id, source_partition_id, by_mapping, by_map })
        }
        (by_mapping, _) => Ok(by_mapping),
    }
}

impl Snapshot {
    /// Reads the manifest of the mapping's source and plans its copy.
    pub async fn plan(&self, mapping: &Mapping, target: &Target) -> Result<SegmentPlan, PlanError> {
        let mut plans = self.plan_all(&[(*mapping, None)], target).await?;
        debug_assert_eq!(plans.len(), 1, "one mapping has one plan");
        Ok(plans.remove(0))
    }

    /// Plans the copies of several segments, in their order, each if its manifest is still what it was when the pin was
    /// taken.
    pub async fn plan_all(
        &self,
        mappings: &[(Mapping, Option<Checksum>)],
        target: &Target,
    ) -> Result<Vec<SegmentPlan>, PlanError> {
        let lost = mappings.iter().find(|(mapping, _)| !self.has_segment(mapping.source_segment_id));
        if let Some((mapping, _)) = lost {
            return Err(ReadError::NoSegment { uri: self.uri(), segment_id: mapping.source_segment_id }.into());
        }
        let mut plans = Vec::with_capacity(mappings.len());
        while plans.len() < mappings.len() {
            let run: Vec<_> = mappings.iter().skip(plans.len()).take(SEGMENTS_AT_A_TIME).collect();
            let segment_ids: Vec<i64> = run.iter().map(|(mapping, _)| mapping.source_segment_id).collect();
            let read = self.read_segments(&segment_ids).await;
            let planned = run.iter().zip(read);
            let planned = planned.map(|((mapping, pinned), read)| self.plan_read(mapping, target, *pinned, read));
            let planned: Vec<_> = planned.collect();
            // Those of storage version 3 look into their folders, side by side.
            let planned = futures::stream::iter(planned).buffered(FOLDERS_AT_ONCE);
            plans.extend(planned.try_collect::<Vec<_>>().await?);
        }
        Ok(plans)
    }

    async fn plan_read(
        &self,
        mapping: &Mapping,
        target: &Target,
        pinned: Option<Checksum>,
        read: Unread,
    ) -> Result<SegmentPlan, PlanError> {
        let segment_id = mapping.source_segment_id;
        let (manifest, pin) = self.decode_manifest(segment_id, read.manifest, pinned)?;
        let manifest = self.with_indexes(manifest, &target.indexes);
        let checksums = self.parse_checksums(segment_id, read.checksums)?;
        let segment = self.files_with(&manifest, checksums).await?;
        let target_partition_id = target_partition(mapping, manifest.partition_id, &target.partition_ids)?;
        let naming = Naming {
            snapshot: self,
            target,
            segment_id,
            target_segment_id: mapping.target_segment_id,
            collection: target.collection_id.to_string(),
            partition: target_partition_id.to_string(),
            segment: mapping.target_segment_id.to_string(),
        };
        let files = segment.files.into_iter().map(|file| naming.plan(file)).collect::<Result<Vec<_>, _>>()?;
        naming.check_distinct(&files)?;
        Ok(SegmentPlan {
            mapping: *mapping,
            manifest: pin,
            source_partition_id: manifest.partition_id,
            target_partition_id,
            snapshot_keys: target.snapshot_keys(mapping.target_segment_id),
            snapshot_files: naming.snapshot_files(&manifest, target_partition_id, &files)?,
            files,
            rows: segment.rows,
            bytes: segment.bytes,
        })
    }
}

/// The new id of a build: its rank in the snapshot's list, from the base on. None where it is not in the list, or where
/// builds keep their ids.
pub(crate) fn new_build_id(builds: &[i64], base: i64, build_id: i64) -> Option<Result<i64, BuildIdsError>> {
    if base == 0 {
        return None;
    }
    let rank = builds.binary_search(&build_id).ok()?;
    let id = i64::try_from(rank).ok().and_then(|rank| base.checked_add(rank));
    Some(id.ok_or(BuildIdsError(base)))
}

/// How the files of one segment are named in the target.
pub(crate) struct Naming<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) target: &'a Target,
    pub(crate) segment_id: i64,
    pub(crate) target_segment_id: i64,
    pub(crate) collection: String,
    pub(crate) partition: String,
    pub(crate) segment: String,
}

impl Naming<'_> {
    fn plan(&self, file: SourceFile) -> Result<PlannedFile, PlanError> {
        let segment_id = self.segment_id;
        let key = LayoutKey::parse(&file.key, file.kind).map_err(|source| PlanError::Layout { segment_id, source })?;
        // A bundle's folder, or one on the way from the root, is the source's own matter.
        let key = key.without_root();
        let build = self.new_build(&key, &file)?;
        let target_key = self.target.data_key(&key.renamed(&NewIds {
            collection: &self.collection,
            partition: &self.partition,
            segment: &self.segment,
            build: build.as_deref(),
        }));
        check_key(&target_key).map_err(|source| PlanError::TargetKey { segment_id, source })?;
        let (source, target) = (self.snapshot.location(), &self.target.location);
        if source.same_object(&file.key, target, &target_key) {
            return Err(PlanError::Itself { segment_id, uri: source.object_uri(&file.key) });
        }
        Ok(PlannedFile {
            kind: file.kind,
            source_key: file.key,
            target_key,
            declared_size_bytes: file.declared_size_bytes,
            checksum: file.checksum,
        })
    }

    /// The new id of the build that the key names.
    fn new_build(&self, key: &LayoutKey<'_>, file: &SourceFile) -> Result<Option<String>, PlanError> {
        let base = self.target.build_id_base;
        let (Some(build), false) = (key.ids().build, base == 0) else { return Ok(None) };
        let builds = self.snapshot.build_ids();
        match build.parse().ok().and_then(|build| new_build_id(builds, base, build)) {
            Some(id) => Ok(Some(id?.to_string())),
            // Builds of text and JSON indexes may lack in the list, and keep their ids.
            None if file.kind != FileKind::Index || builds.is_empty() => Ok(None),
            None => Err(PlanError::UnknownBuild {
                segment_id: self.segment_id,
                key: file.key.clone(),
                build: build.to_owned(),
            }),
        }
    }

    /// The new id of a build that the manifest names, which stands in the keys of its files too.
    pub(crate) fn new_build_id(&self, build_id: i64) -> i64 {
        match new_build_id(self.snapshot.build_ids(), self.target.build_id_base, build_id) {
            Some(Ok(id)) => id,
            Some(Err(_)) | None => build_id,
        }
    }

    fn check_distinct(&self, files: &[PlannedFile]) -> Result<(), PlanError> {
        let mut seen = BTreeSet::new();
        match files.iter().find(|file| !seen.insert(file.target_key.as_str())) {
            Some(file) => Err(PlanError::Collision { segment_id: self.segment_id, key: file.target_key.clone() }),
            None => Ok(()),
        }
    }
}
