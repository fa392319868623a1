//! Dry runs: what a submit would do, as far as the snapshot and the rows tell; nothing is changed.

use super::source::{MANIFESTS_AT_ONCE, MANIFESTS_MAX, refused_files};
use super::{Sourced, Warnings};
use crate::wire;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::{IndexKind, Indexes};
use ferry_machine::tables::Read;
use ferry_machine::view;
use ferry_proto::v1;
use ferry_snapshot::{FilesError, IndexChoice, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::Status;

/// Conflicts that are told one by one.
const CONFLICTS_TOLD_MAX: usize = 100;

/// Files of the first segments of a submit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files {
    segments: usize,
    count: u64,
    bytes: u64,
}

/// Counts them, and collects what the snapshot warns of; a manifest that the job would fail on is refused here already.
pub(crate) async fn count_files(sourced: &Sourced, snapshot: &Snapshot) -> Result<(Files, Warnings), Status> {
    let segments = sourced.mappings.len().min(MANIFESTS_MAX);
    let ids: Vec<i64> = sourced.mappings[..segments].iter().map(|mapping| mapping.source.0).collect();
    let indexes = &chosen(&sourced.spec.options.indexes);
    let counted = stream::iter(ids).map(|id| async move {
        let manifest = snapshot.with_indexes(snapshot.manifest(id).await?, indexes);
        let files = snapshot.files(&manifest).await?;
        Ok::<_, FilesError>((manifest, files.files.len() as u64, files.bytes))
    });
    let mut counted = counted.buffered(MANIFESTS_AT_ONCE);
    let mut files = Files { segments, count: 0, bytes: 0 };
    let mut warnings = Warnings::of_metadata(snapshot);
    while let Some((manifest, count, bytes)) = counted.try_next().await.map_err(|error| refused_files(&error))? {
        files.count = files.count.saturating_add(count);
        files.bytes = files.bytes.saturating_add(bytes);
        warnings.add_manifest(snapshot, &manifest);
    }
    Ok((files, warnings))
}

/// The indexes that the job would copy, in the words of the snapshot.
fn chosen(indexes: &Indexes) -> IndexChoice {
    let kind = |kind: &IndexKind| match kind {
        IndexKind::Vector => ferry_snapshot::IndexKind::Vector,
        IndexKind::Scalar => ferry_snapshot::IndexKind::Scalar,
        IndexKind::Text => ferry_snapshot::IndexKind::Text,
        IndexKind::Json => ferry_snapshot::IndexKind::Json,
    };
    match indexes {
        Indexes::All => IndexChoice::All,
        Indexes::Only(kinds) => kinds.iter().map(kind).collect(),
    }
}

/// What a checked submit would do.
pub(crate) fn plan(sourced: &Sourced, files: Files, warnings: Warnings, read: &impl Read) -> v1::Plan {
    let segments = sourced.spec.segments;
    let takes_targets = !sourced.spec.options.verify_only;
    let (conflicts, total_conflicts) = if takes_targets { conflicts(sourced, read) } else { (Vec::new(), 0) };
    v1::Plan {
        id_mappings: sourced.mappings.iter().copied().map(wire::id_mapping).collect(),
        total_segments: wire::signed(segments),
        total_tasks: wire::signed(view::tasks_planned(&sourced.spec)),
        total_files: wire::signed(files.count),
        total_bytes: files.bytes,
        uncounted_segments: wire::signed(segments - files.segments as u64),
        conflicts,
        total_conflicts: wire::signed(total_conflicts),
        warnings: warnings.told,
        total_warnings: wire::signed(warnings.total),
    }
}

/// The first conflicts, and how many there are.
fn conflicts(sourced: &Sourced, read: &impl Read) -> (Vec<v1::TargetConflict>, u64) {
    let (mut told, mut total) = (Vec::new(), 0);
    for (index, mapping) in sourced.mappings.iter().enumerate().filter(|(_, mapping)| mapping.target.0 != 0) {
        let Some(rejection) = view::refused_target(read, mapping.target) else { continue };
        total += 1;
        if told.len() < CONFLICTS_TOLD_MAX {
            let holder = if let Rejection::TargetHeld { job, .. } = rejection { job.0 } else { 0 };
            told.push(v1::TargetConflict {
                index: wire::signed(index as u64),
                target_segment_id: mapping.target.0,
                job_id: holder,
                reason: rejection.to_string(),
            });
        }
    }
    (told, total)
}
