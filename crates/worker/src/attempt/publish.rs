//! An attempt that publishes: it writes the metadata file of the copy's own snapshot. Every copy of the job is complete by
//! then, and nothing but this attempt's report completes the job.
//!
//! Invariant: the file is written after all that it names, and only at a key that was free or is claimed.

use super::copying::{make_durable, remove_temporary_files, target_exists};
use super::{Reports, Runner, temporary_folder, uploads};
use crate::bandwidth::Limits;
use crate::copy::write;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::Place;
use crate::plan::{self, open_source, open_target};
use crate::retry::with_retries;
use ferry_objects::blocking;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, Published, Segment};
use ferry_snapshot::{CopiedSegment, SnapshotFile};

pub(super) async fn run(
    runner: &Runner,
    assign: &Assign,
    limits: &Limits,
    permit: &Permit,
    mut reports: Reports,
) -> Result<Outcome, Fault> {
    let target = target(runner, assign)?.counted_in(&reports.writes).paced_by(limits.turns(permit));
    let key = metadata_key(assign);
    if !assign.claimed {
        if with_retries(permit, || target.head(&key)).await?.is_some() {
            return Err(target_exists(&target, &key));
        }
        reports.claim(0, Vec::new(), permit).await?;
    } else {
        remove_temporary_files(&target, reports.key).await?;
        uploads::abort_before_retry(&target, vec![&key], permit, 1).await?;
    }
    let listed = with_retries(permit, || runner.leader.segments(assign.job_id, runner.request_timeout));
    let segments = permit.unless_ended(listed).await??;
    let file = permit.unless_ended(metadata(runner, assign, &target, &segments)).await??;
    write(&target, &temporary_folder(reports.key), &file.target_key, file.content, permit).await?;
    make_durable(&target, vec![file.target_key], reports.key, None, permit).await?;
    Ok(Outcome::Published(Published {}))
}

/// The metadata file over everything that was copied.
async fn metadata(
    runner: &Runner,
    assign: &Assign,
    target: &Place,
    segments: &[Segment],
) -> Result<SnapshotFile, Fault> {
    let snapshot = open_source(assign, &runner.snapshots).await?;
    let copied = segments.iter().map(|segment| CopiedSegment {
        source_segment_id: segment.source_segment_id,
        target_segment_id: segment.segment_id,
        partition_id: segment.partition_id,
    });
    let target = plan::target(assign, target.location().clone())?;
    let copied = copied.collect();
    // A large one takes long enough to hold up everything else on the thread.
    let file = blocking(move || snapshot.metadata_of_copy(&target, copied)).await;
    file.map_err(|error| Fault::Permanent(error.to_string()))
}

/// Where the copies went, and the snapshot of them goes.
pub(super) fn target(runner: &Runner, assign: &Assign) -> Result<Place, Fault> {
    Ok(Place::new(open_target(assign, runner.snapshots.stores())?, Side::Target, runner.request_timeout))
}

/// The one key that a publication writes.
pub(super) fn metadata_key(assign: &Assign) -> String {
    let collection_id = assign.target.as_ref().map_or(0, |target| target.collection_id);
    ferry_snapshot::snapshot_metadata_key(collection_id, assign.snapshot_id)
}
