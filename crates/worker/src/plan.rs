//! What an assignment means in files: the pinned snapshot's plan for each mapping, measured against the objects that are
//! really there.

use crate::copy::FileCopy;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{Meta, Place, with_retries};
use ferry_proto::v1::{self, Assign, CopiedSegment, ManifestPin};
use ferry_snapshot::{
    Checksum, FileKind, IndexChoice, IndexKind, Location, Mapping, PlannedFile, SegmentPlan, Snapshot, SnapshotFile,
    Snapshots, Stores, Target,
};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The plans of an assignment's segments.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the objects are.
    pub(crate) source: Place,
    /// Where they go.
    pub(crate) target: Place,
    segments: Vec<SegmentPlan>,
}

/// A plan whose source objects were all found.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Every object once.
    pub(crate) files: Vec<FileCopy>,
    /// What is reported when all of them are copied.
    pub(crate) segments: Vec<CopiedSegment>,
}

impl Measured {
    /// Bytes of all objects.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.source.size_bytes).sum()
    }
}

impl Plan {
    /// Reads the snapshot, if it is still the one that was submitted, and the manifests of the mapped segments, if they
    /// are still those that the targets were claimed by.
    pub(crate) async fn of(assign: &Assign, snapshots: &Snapshots, request_timeout: Duration) -> Result<Plan, Fault> {
        let snapshot = open_source(assign, snapshots).await?;
        let location = open_target(assign, snapshots.stores())?;
        let target = target(assign, location)?;
        let pins = pins(assign)?;
        let mut segments = Vec::with_capacity(assign.id_mappings.len());
        for (mapping, pin) in assign.id_mappings.iter().zip(pins) {
            let mapping = Mapping {
                source_segment_id: mapping.source_segment_id,
                target_segment_id: mapping.target_segment_id,
                partition_id: mapping.partition_id,
            };
            let planned = match pin {
                Some(pin) => snapshot.plan_pinned(&mapping, &target, pin).await,
                None => snapshot.plan(&mapping, &target).await,
            };
            segments.push(planned.map_err(|error| Fault::of_class(error.class(), error.to_string()))?);
        }
        let source = Place::new(snapshot.location().clone(), Side::Source, request_timeout);
        Ok(Plan { source, target: Place::new(target.location, Side::Target, request_timeout), segments })
    }

    /// The manifests that it follows from, in the order of the mappings.
    pub(crate) fn manifests(&self) -> Vec<ManifestPin> {
        let pin = |segment: &SegmentPlan| ManifestPin {
            size_bytes: segment.manifest.size_bytes,
            crc32c: segment.manifest.crc32c,
        };
        self.segments.iter().map(pin).collect()
    }

    /// Target keys that belong to this task alone.
    pub(crate) fn own_target_keys(&self) -> impl Iterator<Item = &str> {
        let copies = self.files().filter(|file| !is_shared(file)).map(|file| file.target_key.as_str());
        copies.chain(self.segments.iter().flat_map(|segment| &segment.snapshot_keys).map(String::as_str))
    }

    /// What the task writes of the copy's own snapshot.
    pub(crate) fn snapshot_files(&self) -> impl Iterator<Item = &SnapshotFile> {
        self.segments.iter().flat_map(|segment| &segment.snapshot_files)
    }

    /// Target keys that other tasks may have too.
    pub(crate) fn shared_target_keys(&self) -> impl Iterator<Item = &str> {
        self.files().filter(|file| is_shared(file)).map(|file| file.target_key.as_str())
    }

    fn files(&self) -> impl Iterator<Item = &PlannedFile> {
        self.segments.iter().flat_map(|segment| &segment.files)
    }

    /// Looks at every source object: it has to be there, and as large as the snapshot says.
    pub(crate) async fn measure(&self, permit: &Permit, at_once: usize) -> Result<Measured, Fault> {
        let metas: Vec<_> = self.files().map(|file| self.measure_file(file, permit)).collect();
        let metas: Vec<Meta> = futures::stream::iter(metas).buffered(at_once).try_collect().await?;
        let mut metas = metas.into_iter();
        let mut files = BTreeMap::new();
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let mut size_bytes = 0;
            for (file, source) in segment.files.iter().zip(metas.by_ref()) {
                size_bytes += source.size_bytes;
                self.add(&mut files, file, source)?;
            }
            segments.push(CopiedSegment {
                target_segment_id: segment.mapping.target_segment_id,
                partition_id: segment.target_partition_id,
                num_of_rows: segment.rows,
                size_bytes,
            });
        }
        Ok(Measured { files: files.into_values().collect(), segments })
    }

    async fn measure_file(&self, file: &PlannedFile, permit: &Permit) -> Result<Meta, Fault> {
        let found = with_retries(permit, || self.source.head(&file.source_key)).await?;
        let uri = self.source.uri(&file.source_key);
        let Some(found) = found else {
            let reason = format!("source object {uri} is missing; restore it, or take the snapshot again");
            return Err(Fault::Permanent(reason));
        };
        check_size(&uri, file, found.size_bytes)?;
        Ok(found)
    }

    /// Two segments may have one object in common; two objects never become one.
    fn add<'a>(
        &self,
        files: &mut BTreeMap<&'a str, FileCopy>,
        file: &'a PlannedFile,
        source: Meta,
    ) -> Result<(), Fault> {
        let copy = FileCopy {
            source_key: file.source_key.clone(),
            target_key: file.target_key.clone(),
            source,
            checksum: file.checksum,
            shared: is_shared(file),
        };
        match files.insert(&file.target_key, copy) {
            Some(other) if other.source_key != file.source_key => Err(Fault::Permanent(format!(
                "two source objects would become {}: {} and {}; take the snapshot again",
                self.target.uri(&file.target_key),
                self.source.uri(&other.source_key),
                self.source.uri(&file.source_key),
            ))),
            _ => Ok(()),
        }
    }
}

/// Large objects lie beside the segments of their partition and may be referred to by several of them.
fn is_shared(file: &PlannedFile) -> bool {
    file.kind == FileKind::Lob
}

/// The manifest's size is a lower bound, a checksum's is exact.
fn check_size(uri: &str, file: &PlannedFile, size_bytes: u64) -> Result<(), Fault> {
    let fault = match (file.checksum, file.declared_size_bytes) {
        (Some(exact), _) if exact.size_bytes != size_bytes => {
            format!("where the snapshot's checksums have {}", exact.size_bytes)
        }
        (_, Some(declared)) if size_bytes < declared => format!("fewer than the {declared} its manifest gives"),
        _ => return Ok(()),
    };
    Err(Fault::Permanent(format!(
        "source object {uri} has {size_bytes} bytes, {fault}; restore it, or take the snapshot again"
    )))
}

/// The snapshot, if it is still the one that was submitted.
pub(crate) async fn open_source(assign: &Assign, snapshots: &Snapshots) -> Result<Arc<Snapshot>, Fault> {
    let pin = Checksum { size_bytes: assign.metadata_bytes, crc32c: assign.metadata_crc32c };
    let snapshot = snapshots.open_pinned(&assign.source_uri, pin).await;
    snapshot.map_err(|error| Fault::of_class(error.class(), error.to_string()))
}

/// What each manifest has to be; nothing is known of them before the targets are claimed.
fn pins(assign: &Assign) -> Result<Vec<Option<Checksum>>, Fault> {
    let (given, segments) = (assign.manifests.len(), assign.id_mappings.len());
    if !assign.claimed {
        return Ok(vec![None; segments]);
    }
    if given != segments {
        let reason = format!("the leader sent {given} pins of manifests for {segments} segments; this is a bug of it");
        return Err(Fault::Transient(reason));
    }
    let pin = |pin: &ManifestPin| Some(Checksum { size_bytes: pin.size_bytes, crc32c: pin.crc32c });
    Ok(assign.manifests.iter().map(pin).collect())
}

/// Which index files are copied; a kind that this worker does not know it cannot leave out, nor copy.
fn indexes(assign: &Assign) -> Result<IndexChoice, Fault> {
    let mut kinds = BTreeSet::new();
    for value in &assign.indexes {
        match v1::IndexKind::try_from(*value) {
            Ok(v1::IndexKind::All) => return Ok(IndexChoice::All),
            Ok(v1::IndexKind::None) => return Ok(IndexChoice::none()),
            Ok(v1::IndexKind::Vector) => _ = kinds.insert(IndexKind::Vector),
            Ok(v1::IndexKind::Scalar) => _ = kinds.insert(IndexKind::Scalar),
            Ok(v1::IndexKind::Text) => _ = kinds.insert(IndexKind::Text),
            Ok(v1::IndexKind::Json) => _ = kinds.insert(IndexKind::Json),
            Ok(v1::IndexKind::Unspecified) | Err(_) => {
                let reason =
                    format!("the job copies indexes of kind {value}, which this worker does not know; upgrade it");
                return Err(Fault::Transient(reason));
            }
        }
    }
    Ok(if assign.indexes.is_empty() { IndexChoice::All } else { IndexChoice::Only(kinds) })
}

/// Where the assignment's copies go.
pub(crate) fn open_target(assign: &Assign, stores: &Stores) -> Result<Location, Fault> {
    let uri = assign.target.as_ref().map_or("", |target| target.uri.as_str());
    stores.open(uri).map_err(|error| match error {
        // Another worker may have the settings that this one lacks.
        ferry_snapshot::UriError::Store { .. } => Fault::Refused(error.to_string()),
        _ => Fault::Permanent(error.to_string()),
    })
}

/// Where the copies go, and under which ids.
pub(crate) fn target(assign: &Assign, location: Location) -> Result<Target, Fault> {
    let target = assign.target.clone().unwrap_or_default();
    Ok(Target {
        location,
        collection_id: target.collection_id,
        partition_ids: target.partition_ids.into_iter().collect(),
        build_id_base: assign.first_build_id,
        snapshot_id: assign.snapshot_id,
        is_bundle: assign.self_contained,
        indexes: indexes(assign)?,
    })
}
