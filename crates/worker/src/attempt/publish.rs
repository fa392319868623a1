//! An attempt that publishes: it writes the metadata file of the copy's own snapshot. Every copy of the job is complete by
//! then, and nothing but this attempt's report completes the job.
//!
//! Invariant: the file is written after all that it names, and only at a key that was free or is claimed.

use super::copying::target_exists;
use super::{Reports, Runner};
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{Place, with_retries};
use crate::plan::open_target;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, Published};

pub(super) async fn run(
    runner: &Runner,
    assign: &Assign,
    permit: &Permit,
    mut reports: Reports,
) -> Result<Outcome, Fault> {
    let target = target(runner, assign)?;
    let key = metadata_key(assign);
    if !assign.claimed {
        if with_retries(permit, || target.head(&key)).await?.is_some() {
            return Err(target_exists(&target, &key));
        }
        reports.claim(0, Vec::new(), permit).await?;
    }
    permit.check()?;
    // Here the metadata file is written.
    Ok(Outcome::Published(Published {}))
}

/// Where the copies went, and the snapshot of them goes.
pub(super) fn target(runner: &Runner, assign: &Assign) -> Result<Place, Fault> {
    Ok(Place::new(open_target(assign, &runner.stores)?, Side::Target, runner.request_timeout))
}

/// The one key that a publication writes.
pub(super) fn metadata_key(assign: &Assign) -> String {
    let collection_id = assign.target.as_ref().map_or(0, |target| target.collection_id);
    ferry_snapshot::snapshot_metadata_key(collection_id, assign.snapshot_id)
}
