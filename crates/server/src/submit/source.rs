//! What the snapshot's one metadata file says about a submit; manifests are read only where partitions are named twice, or
//! chosen.

use super::CheckedSubmit;
use super::choice::with_named_partitions;
use super::copy::{of_copy, pairs};
use super::warnings::check_accepted;
use crate::status::{Violations, invalid, of_field};
use ferry_machine::command::IdMapping;
use ferry_machine::id::SegmentId;
use ferry_machine::limits;
use ferry_machine::row::JobSpec;
use ferry_objects::{Class, StoreError, UriError};
use ferry_raft::Raft;
use ferry_snapshot::{
    FilesError, MetadataError, OpenError, PlanError, ReadError, Snapshot, Snapshots, target_partition,
};
use futures::{TryStreamExt, stream};
use std::sync::Arc;
use tonic::{Code, Status};

const FIELD: &str = "source.uri";
/// Manifests that one submit reads, to compare partitions or to count files.
pub(super) const MANIFESTS_MAX: usize = 10_000;
/// Manifests that are read at once.
pub(super) const MANIFESTS_AT_ONCE: usize = 16;

/// A submit with everything its snapshot adds to it.
#[derive(Debug)]
pub(crate) struct Sourced {
    /// Complete.
    pub(crate) spec: JobSpec,
    /// Every mapping of the job.
    pub(crate) mappings: Vec<IdMapping>,
}

/// Opens the snapshot and holds the submit against it, all of its mappings at once.
pub(crate) async fn read_source(
    checked: &CheckedSubmit,
    snapshots: &Snapshots,
    raft: &Raft,
) -> Result<(Sourced, Arc<Snapshot>), Status> {
    let (snapshot, asked) = open(checked, snapshots).await?;
    let mappings = match (checked.mappings.is_empty(), verifies_copy(&asked)) {
        (false, _) => checked.mappings.clone(),
        (true, false) => checked.choice.mappings(&snapshot).await?,
        (true, true) => {
            let chosen = checked.choice.mappings(&snapshot).await?;
            pairs(&asked, snapshots, &checked.choice, &chosen, raft).await?
        }
    };
    check_members(&snapshot, &mappings)?;
    let named: Vec<(u64, IdMapping)> = named_partitions(&asked, 0, &checked.mappings).collect();
    check_partitions(&snapshot, &asked, &named, named.len()).await?;
    if mappings.len() as u64 > limits::MAPPINGS_PER_JOB_MAX {
        return Err(Status::resource_exhausted(format!(
            "the snapshot has {} segments, and a job can copy {}: name those of each job in select.segment_ids",
            mappings.len(),
            limits::MAPPINGS_PER_JOB_MAX
        )));
    }
    let spec = JobSpec { segments: mappings.len() as u64, ..asked };
    Ok((Sourced { spec, mappings }, snapshot))
}

/// Opens the snapshot of a submit; says what is asked for, of this very snapshot. A dry run tells the warnings that a
/// submit has to accept.
pub(super) async fn open(checked: &CheckedSubmit, snapshots: &Snapshots) -> Result<(Arc<Snapshot>, JobSpec), Status> {
    let opened = snapshots.open(&checked.spec.source_uri).await;
    let snapshot = opened.map_err(|error| refused_snapshot(&error))?;
    // What is in a snapshot can be compared whatever it is.
    if !checked.dry_run && !checked.spec.options.verify_only {
        check_accepted(&snapshot, &checked.accepted)?;
    }
    let spec = with_named_partitions(&snapshot, &checked.named_partitions, &checked.spec)?;
    let spec = pinned(&snapshot, &spec)?;
    let spec = if verifies_copy(&spec) { of_copy(&snapshot, spec, snapshots).await? } else { spec };
    Ok((snapshot, spec))
}

/// Whether the job only compares a copy with its source.
fn verifies_copy(spec: &JobSpec) -> bool {
    spec.options.verify_only && !spec.target_uri.is_empty()
}

fn pinned(snapshot: &Snapshot, spec: &JobSpec) -> Result<JobSpec, Status> {
    let build_ids = u32::try_from(snapshot.build_ids().len())
        .map_err(|_| invalid(FIELD, "has more index builds than can be counted: take smaller snapshots"))?;
    let pin = snapshot.pin();
    Ok(JobSpec {
        source_uri: snapshot.uri(),
        metadata_bytes: pin.size_bytes,
        metadata_crc32c: pin.crc32c,
        build_ids,
        ..spec.clone()
    })
}

fn check_members(snapshot: &Snapshot, mappings: &[IdMapping]) -> Result<(), Status> {
    let mut violations = Violations::default();
    for (index, mapping) in mappings.iter().enumerate() {
        check_member(snapshot, index as u64, mapping.source, &mut violations);
    }
    violations.into_result()
}

/// A mapping must name a segment that the snapshot has, with its files.
pub(super) fn check_member(snapshot: &Snapshot, index: u64, source: SegmentId, violations: &mut Violations) {
    let (is_member, is_growing) = (snapshot.has_segment(source.0), snapshot.is_growing(source.0));
    if is_member && !is_growing {
        return;
    }
    violations.add_with(|| {
        let fault = if is_growing {
            format!("is {source}: {}", FilesError::Growing(source.0))
        } else {
            let uri = snapshot.uri();
            format!("is {source}, which the snapshot {uri} does not have: see `ferry snapshot inspect`")
        };
        (format!("id_mappings[{index}].source_segment_id"), fault)
    });
}

/// Mappings that name a partition beside the target's map, with their places in the request, of which the first is
/// `first`.
pub(super) fn named_partitions<'a>(
    spec: &JobSpec,
    first: u64,
    mappings: &'a [IdMapping],
) -> impl Iterator<Item = (u64, IdMapping)> + use<'a> {
    let named_twice = !spec.partition_ids.is_empty();
    let places = (first..).zip(mappings.iter().copied());
    places.filter(move |(_, mapping)| named_twice && mapping.partition_id != 0)
}

/// A partition that is named by the mapping and by the target's map must be the same; which source partition a
/// segment is of stands in its manifest alone. `count` is how many there are so far in the whole request.
pub(super) async fn check_partitions(
    snapshot: &Snapshot,
    spec: &JobSpec,
    named: &[(u64, IdMapping)],
    count: usize,
) -> Result<(), Status> {
    let partitions = &spec.partition_ids;
    if count > MANIFESTS_MAX {
        let reason = format!(
            "has {} entries while id_mappings name partitions too: leave one of the two out (up to {MANIFESTS_MAX} \
             such mappings are compared)",
            partitions.len()
        );
        return Err(invalid("target.partition_ids", reason));
    }
    stream::iter(named.iter().copied().map(Ok))
        .try_for_each_concurrent(MANIFESTS_AT_ONCE, |(index, mapping)| async move {
            let segment = mapping.source.0;
            let manifest = snapshot.manifest(segment).await.map_err(|error| refused_manifest(&error))?;
            let both = ferry_snapshot::Mapping {
                source_segment_id: segment,
                target_segment_id: mapping.target.0,
                partition_id: mapping.partition_id,
            };
            target_partition(&both, manifest.partition_id, partitions)
                .map(|_| ())
                .map_err(|error: PlanError| invalid(format!("id_mappings[{index}].partition_id"), error.to_string()))
        })
        .await
}

fn refused_snapshot(error: &OpenError) -> Status {
    refused_snapshot_of(FIELD, error)
}

/// Why a snapshot is refused: what is wrong with it is the caller's, what cannot be reached may be there later.
pub(super) fn refused_snapshot_of(field: &str, error: &OpenError) -> Status {
    let code = match error {
        OpenError::None(_) => Code::NotFound,
        OpenError::Metadata { source: MetadataError::Deleting, .. } => Code::FailedPrecondition,
        OpenError::Uri(UriError::Store { .. }) => Code::FailedPrecondition,
        OpenError::Store(error) => store_code(error),
        OpenError::Uri(_)
        | OpenError::NotAMetadataKey(_)
        | OpenError::Several { .. }
        | OpenError::Metadata { .. }
        | OpenError::Altered(_) => Code::InvalidArgument,
    };
    of_field(code, field, error.to_string())
}

pub(super) fn refused_manifest(error: &ReadError) -> Status {
    let code = match error {
        ReadError::Store(error) => store_code(error),
        ReadError::NoSegment { .. }
        | ReadError::Altered { .. }
        | ReadError::Manifest { .. }
        | ReadError::Checksums { .. } => Code::InvalidArgument,
    };
    of_field(code, FIELD, error.to_string())
}

pub(super) fn refused_files(error: &FilesError) -> Status {
    if let FilesError::Read(error) = error {
        return refused_manifest(error);
    }
    let code = if let FilesError::Store(error) = error { store_code(error) } else { Code::InvalidArgument };
    of_field(code, FIELD, error.to_string())
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Missing { .. } => Code::NotFound,
        _ => match error.class() {
            Class::Permanent => Code::InvalidArgument,
            // Not the caller's credentials, but this node's.
            Class::Refused => Code::FailedPrecondition,
            Class::Transient | Class::Outage => Code::Unavailable,
        },
    }
}
