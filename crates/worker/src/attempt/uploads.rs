//! Uploads that earlier attempts began and nobody ended: a worker that is killed leaves them, no listing of objects shows
//! them, and they are paid for. They are looked for by the job's own keys alone.

use crate::failure::Fault;
use crate::permit::Permit;
use crate::place::Place;
use crate::retry::with_retries;
use ferry_objects::{Reason, StoreError};
use futures::{StreamExt, TryStreamExt};
use std::time::Duration;

/// Parts that were on their way when their upload was aborted make a store keep it: it is looked again, this often.
const ROUNDS_MAX: u32 = 5;

/// The pause before the second look; it doubles.
const ROUND_PAUSE: Duration = Duration::from_millis(250);

/// The same before an attempt that goes on where another ended: what cannot be aborted costs money, and no more.
pub(super) async fn abort_before_retry(
    target: &Place,
    keys: Vec<&str>,
    permit: &Permit,
    at_once: usize,
) -> Result<(), Fault> {
    match abort(target, keys, permit, at_once).await {
        Err(fault) if fault != Fault::Stopped => {
            tracing::warn!(%fault, "unfinished uploads may be left; have the store drop them after some days");
            Ok(())
        }
        aborted => aborted,
    }
}

/// Aborts the unfinished uploads to the keys, until the store shows none of them.
pub(super) async fn abort(target: &Place, keys: Vec<&str>, permit: &Permit, at_once: usize) -> Result<(), Fault> {
    // What a key may not be asked for, no other may; one is enough to learn it.
    let (Some((first, others)), true) = (keys.split_first(), target.location().lists_uploads()) else { return Ok(()) };
    if !abort_of(target, first, permit).await? {
        return Ok(());
    }
    let aborts: Vec<_> = others.iter().map(|key| abort_of(target, key, permit)).collect();
    futures::stream::iter(aborts).buffer_unordered(at_once).try_collect::<Vec<bool>>().await.map(drop)
}

/// Whether the store tells unfinished uploads at all.
async fn abort_of(target: &Place, key: &str, permit: &Permit) -> Result<bool, Fault> {
    for round in 0..ROUNDS_MAX {
        if round > 0 {
            permit.unless_ended(tokio::time::sleep(ROUND_PAUSE * 2_u32.pow(round - 1))).await?;
        }
        let Some(uploads) = with_retries(permit, || listed(target, key)).await? else { return Ok(false) };
        if uploads.is_empty() {
            return Ok(true);
        }
        tracing::info!(object = %target.uri(key), uploads = uploads.len(), "aborting uploads that were left");
        for upload in &uploads {
            with_retries(permit, || async {
                let aborted = target.bounded(key, target.location().abort_upload(key, upload)).await;
                aborted.map_err(|error| target.fault(&error))
            })
            .await?;
        }
    }
    let uri = target.uri(key);
    Err(Fault::Transient(format!(
        "an upload to {uri} is still there after it was aborted; see what goes on writing it"
    )))
}

/// The unfinished uploads to a key; `None` where the store does not tell them to these credentials.
async fn listed(target: &Place, key: &str) -> Result<Option<Vec<ferry_objects::UnfinishedUpload>>, Fault> {
    match target.bounded(key, target.location().unfinished_uploads(key)).await {
        Ok(uploads) => Ok(Some(uploads)),
        Err(error) if tells_none(&error) => {
            tracing::warn!(%error, "unfinished uploads cannot be listed; have the store drop them after some days");
            Ok(None)
        }
        Err(error) => Err(target.fault(&error)),
    }
}

/// Whether the store does not tell its uploads, or not to these credentials. Gateways say so in many ways.
fn tells_none(error: &StoreError) -> bool {
    match error {
        StoreError::Missing { .. } => true,
        StoreError::Answer { reason: Reason::Denied | Reason::Unsupported, .. } => true,
        StoreError::Answer { reason: Reason::Failed, said, .. } => said.status == Some(400),
        StoreError::Answer { .. } | StoreError::Key(_) | StoreError::TooLarge { .. } => false,
    }
}
