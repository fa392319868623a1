//! Inside one object store: the store copies, no byte passes through the worker; the copy is verified afterwards.

use super::{Copier, FileCopy, FileMeter, ServerSide};
use crate::failure::Fault;
use crate::place::with_retries;
use ferry_objects::{CopyStatus, Reason, StoreError};
use object_store::ObjectStoreExt;
use std::time::{Duration, Instant};

/// The first pause between two looks at a copy that goes on in the store; it doubles.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const POLL_MAX: Duration = Duration::from_secs(5);

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<ServerSide, Fault> {
    let size_bytes = file.source.size_bytes;
    let (from, to) = (copier.source.path(&file.source_key)?, copier.target.path(&file.target_key)?);
    let copied = async {
        let target = copier.target.location();
        let answer = match copier.target.write(&file.target_key, target.store().copy(&from, &to)).await {
            Err(error) if refuses(&error) => return Ok(refused(copier, &error)),
            answer => answer.map_err(|error| copier.target.fault(&error)),
        };
        if answer.is_err() && copier.source.head(&file.source_key).await?.is_none() {
            copier.check_unchanged(file, None)?;
        }
        answer?;
        let counted = settled(copier, file, meter).await?;
        meter.at(size_bytes, size_bytes.saturating_sub(counted));
        copier.verify_in_store(file, None).await?;
        target.copied();
        Ok(ServerSide::Copied)
    };
    copier.limits.take(size_bytes, &copier.permit).await?;
    copier.permit.unless_ended(copied).await?
}

/// Waits until the store says that its work is done, as long as the work goes on; tells how much was counted meanwhile.
async fn settled(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<u64, Fault> {
    let (target, key) = (&copier.target, file.target_key.as_str());
    let (mut counted, mut grown_at, mut pause) = (0, Instant::now(), POLL_FIRST);
    let mut work = None;
    loop {
        let status = with_retries(&copier.permit, || async {
            let status = target.bounded(key, target.location().copy_status(key)).await;
            status.map_err(|error| target.fault(&error))
        });
        let status = status.await?;
        match (&status, work.take()) {
            (CopyStatus::Pending { .. }, before) => work = Some(before.unwrap_or_else(|| target.goes_on())),
            (CopyStatus::Done | CopyStatus::Failed { .. }, Some(before)) => before.ended(),
            (CopyStatus::Done | CopyStatus::Failed { .. }, None) => {}
        }
        match status {
            CopyStatus::Done => return Ok(counted),
            CopyStatus::Failed { said } => {
                let (source, target) = (copier.source.uri(&file.source_key), target.uri(key));
                return Err(Fault::Transient(format!(
                    "the store could not copy {source} to {target} ({said}); it is copied again"
                )));
            }
            CopyStatus::Pending { copied_bytes } if copied_bytes > counted => {
                meter.at(copied_bytes, copied_bytes - counted);
                (counted, grown_at) = (copied_bytes, Instant::now());
            }
            CopyStatus::Pending { .. } if grown_at.elapsed() >= target.request_timeout() => {
                return Err(target.fault(&StoreError::silent(target.uri(key), target.request_timeout())));
            }
            CopyStatus::Pending { .. } => {}
        }
        tokio::time::sleep(pause.min(target.request_timeout() / 4)).await;
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// The store's refusal, in its words.
pub(super) fn refused(copier: &Copier, error: &StoreError) -> ServerSide {
    let for_good = error.reason() == Some(Reason::Unsupported);
    ServerSide::Refused { reason: copier.target.fault(error), for_good }
}

/// Gateways that lack the request, and policies that forbid it, still let objects be read and written.
pub(super) fn refuses(error: &StoreError) -> bool {
    match error {
        StoreError::Answer { reason: Reason::Unsupported | Reason::Denied, .. } => true,
        StoreError::Answer { reason: Reason::Failed, said, .. } => {
            let code = said.code.as_deref();
            said.status == Some(400) && matches!(code, None | Some("InvalidRequest" | "InvalidArgument"))
        }
        StoreError::Answer { .. } | StoreError::Key(_) | StoreError::Missing { .. } | StoreError::TooLarge { .. } => {
            false
        }
    }
}
