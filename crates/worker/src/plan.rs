//! What an assignment means in files: the pinned snapshot's plan for each mapping, measured against the objects that are
//! really there.

use crate::bandwidth::Turns;
use crate::copy::FileCopy;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{Meta, Place};
use ferry_objects::{Checksum, Location, Stores};
use ferry_proto::v1::{self, Assign, CopiedSegment, ManifestPin};
use ferry_snapshot::{
    FileKind, IndexChoice, IndexKind, Mapping, PlannedFile, SegmentPlan, Snapshot, SnapshotFile, Snapshots, Target,
};
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
    pub(crate) segments: Vec<SegmentPlan>,
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
        let pinned = |(mapping, pin): (&v1::IdMapping, Option<Checksum>)| {
            let mapping = Mapping {
                source_segment_id: mapping.source_segment_id,
                target_segment_id: mapping.target_segment_id,
                partition_id: mapping.partition_id,
            };
            (mapping, pin)
        };
        let mappings: Vec<_> = assign.id_mappings.iter().zip(pins).map(pinned).collect();
        let segments = snapshot.plan_all(&mappings, &target).await;
        let segments = segments.map_err(|error| Fault::of_class(error.class(), error.to_string()))?;
        let source = Place::new(snapshot.location().clone(), Side::Source, request_timeout);
        Ok(Plan { source, target: Place::new(target.location, Side::Target, request_timeout), segments })
    }

    /// The same plan, whose requests take their turns by the limit of the job.
    pub(crate) fn paced_by(self, turns: &Turns) -> Plan {
        let (source, target) = (self.source.paced_by(turns.clone()), self.target.paced_by(turns.clone()));
        Plan { source, target, ..self }
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
        let keys: Vec<&str> = self.files().map(|file| file.source_key.as_str()).collect();
        let found = self.source.looks(&keys, permit, at_once).await?;
        let metas = self.files().zip(found).map(|(file, found)| self.check_found(file, found));
        let metas: Vec<Meta> = metas.collect::<Result<_, _>>()?;
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

    fn check_found(&self, file: &PlannedFile, found: Option<Meta>) -> Result<Meta, Fault> {
        let wrong = match found {
            Some(found) => match file.check_size(found.size_bytes) {
                Ok(()) => return Ok(found),
                Err(wrong) => wrong,
            },
            None => "it is missing".to_owned(),
        };
        let uri = self.source.uri(&file.source_key);
        Err(Fault::Permanent(format!("source object {uri}: {wrong}; restore it, or take the snapshot again")))
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
pub(crate) fn indexes(assign: &Assign) -> Result<IndexChoice, Fault> {
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
        ferry_objects::UriError::Store { .. } => Fault::Refused(error.to_string()),
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
