//! Inside one object store: the store copies, no byte passes through the worker; the copy is verified afterwards.

use super::{Copier, FileCopy, FileMeter, ServerSide};
use crate::failure::Fault;
use crate::retry::with_retries;
use crate::writes::GoesOn;
use ferry_objects::{CopyStatus, Reason, StoreError};
use std::time::{Duration, Instant};

/// The first pause between two looks at a copy that goes on in the store; it doubles.
const POLL_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const POLL_MAX: Duration = Duration::from_secs(5);

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<ServerSide, Fault> {
    let size_bytes = file.source.size_bytes;
    let copied = async {
        let (source, target) = (copier.source.location(), copier.target.location());
        // From before it is asked, or the end of an attempt between the answer and the first look would not tell of it.
        let work = target.copies_in_background().then(|| copier.target.goes_on());
        let copy = target.copy_of(source, &file.source_key, &file.target_key);
        let answer = match copier.target.write_bounded(&file.target_key, copy).await {
            Err(error) if refuses(&error) => {
                ended(work);
                return Ok(refused(copier, &error));
            }
            answer => answer.map_err(|error| copier.target.fault(&error)),
        };
        if let Err(fault) = answer {
            // Whether it was an answer at all is counted where it was asked.
            ended(work);
            if copier.source.head(&file.source_key).await?.is_none() {
                copier.check_unchanged(file, None)?;
            }
            return Err(fault);
        }
        let counted = settled(copier, file, meter, work).await?;
        meter.at(size_bytes, size_bytes.saturating_sub(counted));
        copier.verify_in_store(file, None).await?;
        target.copied(source);
        Ok(ServerSide::Copied)
    };
    copier.limits.take(size_bytes, &copier.permit).await?;
    copier.permit.unless_ended(copied).await?
}

/// Waits until the store says that its work is done, as long as the work goes on; tells how much was counted meanwhile.
async fn settled(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>, work: Option<GoesOn>) -> Result<u64, Fault> {
    let (target, key) = (&copier.target, file.target_key.as_str());
    let (mut counted, mut grown_at, mut pause) = (0, Instant::now(), POLL_FIRST);
    loop {
        let status = with_retries(&copier.permit, || async {
            let status = target.bounded(key, target.location().copy_status(key)).await;
            status.map_err(|error| target.fault(&error))
        });
        match status.await? {
            CopyStatus::Done => {
                ended(work);
                return Ok(counted);
            }
            CopyStatus::Failed { said } => {
                ended(work);
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

fn ended(work: Option<GoesOn>) {
    if let Some(work) = work {
        work.ended();
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
