//! A part of a snapshot, and its partitions by name: what only the snapshot can tell of a request. A segment's partition
//! stands in its manifest alone, so choosing by partitions reads them all, up to a limit.

use super::source::{MANIFESTS_AT_ONCE, MANIFESTS_MAX, refused_manifest};
use crate::status::{Violations, echoed, invalid};
use ferry_machine::command::IdMapping;
use ferry_machine::id::SegmentId;
use ferry_machine::row::JobSpec;
use ferry_proto::v1;
use ferry_snapshot::{FilesError, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;

/// How many of what there is a refusal names.
const NAMED_MAX: usize = 8;
/// The partition of deletions that concern every partition of their collection.
const EVERY_PARTITION: i64 = -1;

/// What a request wants of a snapshot; none: all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Every segment.
    All,
    /// Segments of these partitions, by name or id.
    Partitions(BTreeSet<String>),
    /// These segments.
    Segments(BTreeSet<i64>),
}

impl Choice {
    /// What a request chooses; an empty selection is none.
    pub(super) fn of(select: Option<v1::Selection>, has_mappings: bool, violations: &mut Violations) -> Self {
        let select = select.unwrap_or_default();
        let (partitions, segments) = (!select.partitions.is_empty(), !select.segment_ids.is_empty());
        violations.require(!(partitions || segments) || !has_mappings, "select", || {
            "is set together with id_mappings: leave out one of the two".to_owned()
        });
        violations.require(!partitions || !segments, "select.segment_ids", || {
            "are set together with select.partitions: choose by one of the two".to_owned()
        });
        if partitions {
            Self::Partitions(select.partitions.into_iter().collect())
        } else if segments {
            Self::Segments(select.segment_ids.into_iter().collect())
        } else {
            Self::All
        }
    }

    /// The mappings of what is chosen, in the order of the ids, with targets and partitions left open.
    pub(super) async fn mappings(&self, snapshot: &Snapshot) -> Result<Vec<IdMapping>, Status> {
        let chosen: Vec<i64> = match self {
            // Those that were growing have no files yet; warnings tell of them.
            Self::All => snapshot.flushed_segment_ids().collect(),
            Self::Partitions(names) => of_partitions(snapshot, names).await?,
            Self::Segments(ids) => of_segments(snapshot, ids)?,
        };
        Ok(chosen.into_iter().map(|id| IdMapping { source: SegmentId(id), ..IdMapping::default() }).collect())
    }
}

fn of_segments(snapshot: &Snapshot, ids: &BTreeSet<i64>) -> Result<Vec<i64>, Status> {
    let mut violations = Violations::default();
    for id in ids.iter().filter(|id| !snapshot.has_segment(**id)) {
        violations.add_with(|| {
            let there_are = first_of(snapshot.segment_ids().map(|id| id.to_string()));
            (
                "select.segment_ids".to_owned(),
                format!("names {id}, which the snapshot does not have; it has {there_are}"),
            )
        });
    }
    for id in ids.iter().filter(|id| snapshot.is_growing(**id)) {
        violations.add_with(|| ("select.segment_ids".to_owned(), format!("names {id}: {}", FilesError::Growing(*id))));
    }
    violations.into_result()?;
    Ok(ids.iter().copied().collect())
}

async fn of_partitions(snapshot: &Snapshot, names: &BTreeSet<String>) -> Result<Vec<i64>, Status> {
    let partitions = Partitions::of(snapshot);
    let mut violations = Violations::default();
    let found: Vec<Option<i64>> =
        names.iter().map(|name| partitions.find("select.partitions", name, &mut violations)).collect();
    violations.into_result()?;
    let wanted: BTreeSet<i64> = found.into_iter().flatten().collect();
    let segments = snapshot.segment_ids().len();
    if segments > MANIFESTS_MAX {
        return Err(Status::resource_exhausted(format!(
            "select.partitions: the snapshot has {segments} segments, and partitions can be chosen of up to \
             {MANIFESTS_MAX}, whose manifests are read for that: name segments in select.segment_ids instead"
        )));
    }
    let partition_of = |id: i64| async move {
        let manifest = snapshot.manifest(id).await.map_err(|error| refused_manifest(&error))?;
        Ok::<_, Status>((id, manifest.partition_id))
    };
    let all: Vec<(i64, i64)> = stream::iter(snapshot.flushed_segment_ids())
        .map(partition_of)
        .buffered(MANIFESTS_AT_ONCE)
        .try_collect()
        .await?;
    if !all.iter().any(|(_, partition)| wanted.contains(partition)) {
        let words = format!("no segment of the snapshot is of {}: choose others", first_of(names.iter().cloned()));
        return Err(invalid("select.partitions", words));
    }
    let chosen = all.into_iter().filter(|(_, partition)| *partition == EVERY_PARTITION || wanted.contains(partition));
    Ok(chosen.map(|(id, _)| id).collect())
}

/// What is asked for, with the target partitions that were given by name.
pub(super) fn with_named_partitions(
    snapshot: &Snapshot,
    named: &BTreeMap<String, i64>,
    spec: &JobSpec,
) -> Result<JobSpec, Status> {
    const FIELD: &str = "target.partitions";
    let partitions = Partitions::of(snapshot);
    let mut violations = Violations::default();
    let mut spec = spec.clone();
    for (name, target) in named {
        let Some(source) = partitions.find(FIELD, name, &mut violations) else { continue };
        if let Some(other) = spec.partition_ids.insert(source, *target).filter(|other| other != target) {
            violations.add_with(|| {
                let name = echoed(name);
                (
                    FIELD.to_owned(),
                    format!("maps {name} to {target}, and partition {source} has the target {other} already"),
                )
            });
        }
    }
    violations.into_result()?;
    Ok(spec)
}

/// The partitions of a snapshot as far as its metadata tells them.
struct Partitions<'a> {
    by_name: &'a BTreeMap<String, i64>,
    ids: BTreeSet<i64>,
}

impl<'a> Partitions<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let metadata = snapshot.metadata();
        let by_name = &metadata.collection.partitions;
        let ids = by_name.values().chain(&metadata.snapshot_info.partition_ids).copied().collect();
        Self { by_name, ids }
    }

    /// A partition by its name or its id.
    fn find(&self, field: &str, name: &str, violations: &mut Violations) -> Option<i64> {
        // A snapshot that lists no partitions has them all the same, and its manifests know them.
        let is_known = |id: &i64| self.ids.is_empty() || *id == EVERY_PARTITION || self.ids.contains(id);
        let found = self.by_name.get(name).copied().or_else(|| name.parse().ok().filter(is_known));
        if found.is_none() {
            let reason = || format!("names {}, which the snapshot does not have; it has {}", echoed(name), self.all());
            violations.add_with(|| (field.to_owned(), reason()));
        }
        found
    }

    fn all(&self) -> String {
        let named: BTreeSet<i64> = self.by_name.values().copied().collect();
        let by_name = self.by_name.iter().map(|(name, id)| format!("{} ({id})", echoed(name)));
        first_of(by_name.chain(self.ids.difference(&named).map(ToString::to_string)))
    }
}

fn first_of(mut names: impl Iterator<Item = String>) -> String {
    let first: Vec<String> = names.by_ref().take(NAMED_MAX).collect();
    let more = names.count();
    match (first.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}
