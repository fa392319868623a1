//! A copy that is to be compared with its source: the ids that it was made under follow from its own snapshot, and which
//! target stands for which segment from what this cluster published.

use super::choice::Choice;
use super::source::{MANIFESTS_MAX, refused_snapshot_of};
use crate::status::invalid;
use ferry_machine::command::IdMapping;
use ferry_machine::id::SegmentId;
use ferry_machine::row::JobSpec;
use ferry_machine::view::{self, SegmentState};
use ferry_raft::Raft;
use ferry_snapshot::{Layout, Snapshot, Snapshots};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tonic::Status;

const FIELD: &str = "target.uri";

async fn open(spec: &JobSpec, snapshots: &Snapshots, uri: &str) -> Result<Arc<Snapshot>, Status> {
    debug_assert!(spec.options.verify_only, "a target of any other job is not read");
    snapshots.open(uri).await.map_err(|error| refused_snapshot_of(FIELD, &error))
}

/// What is asked for, with the place and the ids of the copy.
pub(super) async fn of_copy(source: &Snapshot, spec: JobSpec, snapshots: &Snapshots) -> Result<JobSpec, Status> {
    let copy = open(&spec, snapshots, &spec.target_uri).await?;
    let collection_id = copy.collection_id();
    if spec.collection_id != 0 && spec.collection_id != collection_id {
        let reason = format!("is {}, and the copy is of collection {collection_id}: leave it out", spec.collection_id);
        return Err(invalid("target.collection_id", reason));
    }
    let Some(first_build_id) = first_build_id(source.build_ids(), copy.build_ids()) else {
        let reason =
            format!("{} is no copy of {}: it has other index builds; name the two anew", copy.uri(), source.uri());
        return Err(invalid(FIELD, reason));
    };
    let mut options = spec.options.clone();
    options.self_contained = copy.metadata().layout == Layout::SelfContained;
    Ok(JobSpec {
        target_uri: copy.location().uri(),
        collection_id,
        first_build_id,
        snapshot_id: copy.snapshot_id(),
        options,
        ..spec
    })
}

/// The first of the new build ids of a copy, which are as many as its source has, one behind the other; 0 where builds
/// kept their ids. `None`: these are no builds of a copy.
fn first_build_id(source: &[i64], copy: &[i64]) -> Option<i64> {
    if source == copy {
        return Some(0);
    }
    let first = *copy.first()?;
    let in_row = copy.iter().zip(first..).all(|(build, expected)| *build == expected);
    (in_row && copy.len() == source.len()).then_some(first)
}

/// Which segment of the copy stands for which of the source, by what this cluster published: all that the copy has, or
/// those that are chosen.
pub(super) async fn pairs(
    spec: &JobSpec,
    snapshots: &Snapshots,
    choice: &Choice,
    chosen: &[IdMapping],
    raft: &Raft,
) -> Result<Vec<IdMapping>, Status> {
    let key = ferry_snapshot::snapshot_metadata_key(spec.collection_id, spec.snapshot_id);
    let uri = format!("{}/{key}", spec.target_uri.trim_end_matches('/'));
    let copy = open(spec, snapshots, &uri).await?;
    let count = copy.segment_ids().len();
    if count > MANIFESTS_MAX {
        return Err(Status::resource_exhausted(format!(
            "{FIELD}: the copy has {count} segments, and those of up to {MANIFESTS_MAX} are looked up: give the id_mappings \
             that it was made with"
        )));
    }
    let read = raft.view();
    let mut pairs = BTreeMap::new();
    for target in copy.segment_ids() {
        let segment = view::segment(&read, SegmentId(target))
            .filter(|segment| segment.state == SegmentState::Flushed && segment.collection_id == spec.collection_id);
        let Some(segment) = segment else {
            let reason = format!(
                "are left out, and segment {target} of the copy was not made here: give those it was made with"
            );
            return Err(invalid("id_mappings", reason));
        };
        // Deletions that concern every partition keep partition -1, which no mapping names.
        let partition_id = segment.partition_id.max(0);
        pairs.insert(segment.source, IdMapping { source: segment.source, target: segment.id, partition_id });
    }
    if *choice == Choice::All {
        return Ok(pairs.into_values().collect());
    }
    let wanted: BTreeSet<SegmentId> = chosen.iter().map(|mapping| mapping.source).collect();
    match wanted.iter().find(|source| !pairs.contains_key(source)) {
        Some(lost) => {
            Err(invalid("select", format!("names segment {lost}, which the copy does not have: choose others")))
        }
        None => Ok(pairs.into_values().filter(|pair| wanted.contains(&pair.source)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::first_build_id;

    #[test]
    fn the_first_build_id_of_a_copy_follows_from_its_builds() {
        assert_eq!(first_build_id(&[7, 9], &[100, 101]), Some(100));
        assert_eq!(first_build_id(&[7, 9], &[7, 9]), Some(0), "builds kept their ids");
        assert_eq!(first_build_id(&[], &[]), Some(0));
        for other in [&[100][..], &[100, 102], &[100, 101, 102], &[]] {
            assert_eq!(first_build_id(&[7, 9], other), None, "{other:?}");
        }
    }
}
