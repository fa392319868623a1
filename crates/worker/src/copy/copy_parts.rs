//! A large object inside one store: the store copies it in parts, several at once, and no byte passes through the worker.

use super::server_side::{refused, refuses};
use super::upload::{PART_BYTES_MIN, PARTS_MAX, abort_until_answered};
use super::{Copier, FileCopy, FileMeter, ServerSide};
use crate::failure::Fault;
use crate::retry::with_retries;
use ferry_objects::{CopiedPart, CopyInParts, Reason, StoreError};
use futures::StreamExt;
use object_store::path::Path;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of a part, as long as the object has no more of them than a store takes: each is copied well within the time
/// limit on one request.
const PART_BYTES: u64 = 256 << 20;
/// Under a limit a part is what may pass in this part of a second, and no smaller than one that is put.
const PARTS_PER_SECOND: u64 = 4;
/// Parts of one object that the store copies at once.
const PARTS_AT_ONCE: usize = 4;

/// A step that the store may refuse.
type Step<T> = Result<Result<T, ServerSide>, Fault>;

/// How large the parts of the object are for now.
pub(super) fn part_bytes(copier: &Copier, file: &FileCopy) -> u64 {
    let paced = copier.limits.bytes_per_second().map_or(PART_BYTES, |limit| limit / PARTS_PER_SECOND);
    paced.clamp(PART_BYTES_MIN, PART_BYTES).max(file.source.size_bytes.div_ceil(PARTS_MAX))
}

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<ServerSide, Fault> {
    let begun = copier.target.location().begin_copy_in_parts(copier.source.location(), &file.target_key);
    let mut copy = match copier.permit.unless_ended(copier.target.bounded(&file.target_key, begun)).await? {
        Ok(Some(copy)) => copy,
        Ok(None) => {
            let reason = Fault::Transient("this store is not asked to copy in parts".into());
            return Ok(ServerSide::Refused { reason, for_good: false });
        }
        Err(error) if refuses(&error) => return Ok(refused(copier, &error)),
        Err(error) => return Err(copier.target.fault(&error)),
    };
    let copied = match copy_all(copier, file, meter, &copy).await {
        Ok(Ok(parts)) => complete(copier, file, &copy, parts).await,
        Ok(Err(refused)) => Ok(Err(refused)),
        Err(fault) => Err(fault),
    };
    if let Ok(Ok(())) = copied {
        copier.permit.unless_ended(copier.verify_in_store(file, None)).await??;
        return Ok(ServerSide::Copied);
    }
    abort_until_answered(&copier.target, &file.target_key, &mut copy).await;
    if copied.is_err() && copier.permit.check().is_ok() && copier.source.head(&file.source_key).await?.is_none() {
        copier.check_unchanged(file, None)?;
    }
    copied.map(|refused| refused.err().unwrap_or(ServerSide::Copied))
}

/// Has the store copy every part; what was asked for has been answered when this returns, unless the permit ended.
async fn copy_all(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    copy: &CopyInParts,
) -> Step<Vec<CopiedPart>> {
    let source = copier.source.path(&file.source_key)?;
    let size_bytes = file.source.size_bytes;
    let part_bytes = part_bytes(copier, file);
    let (next, stop) = copier.permit.child();
    let written = AtomicU64::new(0);
    let starts = (0..size_bytes).step_by(usize::try_from(part_bytes).unwrap_or(usize::MAX));
    let ranges = starts.map(|start| start..(start + part_bytes).min(size_bytes));
    let parts = ranges.enumerate().map(|(number, range)| {
        let (next, source, written) = (&next, &source, &written);
        async move {
            let newly = range.end - range.start;
            copier.limits.take(newly, next).await?;
            let copied = copy_part(copier, file, copy, number, source, range).await?;
            if copied.is_ok() {
                meter.at(written.fetch_add(newly, Ordering::Relaxed) + newly, newly);
            }
            Ok::<_, Fault>(copied)
        }
    });
    let mut parts = futures::stream::iter(parts).buffered(PARTS_AT_ONCE);
    let mut copied: Step<Vec<CopiedPart>> = Ok(Ok(Vec::new()));
    while let Some(part) = parts.next().await {
        match (part, &mut copied) {
            (Ok(Ok(part)), Ok(Ok(copied))) => copied.push(part),
            (Ok(Ok(_)), _) => {}
            (Ok(Err(refused)), Ok(Ok(_))) => copied = Ok(Err(refused)),
            (Err(fault), Ok(Ok(_)) | Err(Fault::Stopped)) => copied = Err(fault),
            // The first failure is the one to tell; those that follow it were stopped, or are of the same kind.
            (Ok(Err(_)) | Err(_), _) => {}
        }
        if !matches!(copied, Ok(Ok(_))) {
            stop.cancel();
        }
    }
    copied
}

async fn copy_part(
    copier: &Copier,
    file: &FileCopy,
    copy: &CopyInParts,
    number: usize,
    source: &Path,
    range: Range<u64>,
) -> Step<CopiedPart> {
    with_retries(&copier.permit, || async {
        let part = copy.copy(number, source, range.clone(), file.source.entity_tag());
        match copier.permit.unless_ended(copier.target.bounded(&file.target_key, part)).await? {
            Err(StoreError::Answer { reason: Reason::Precondition, .. }) => Err(copier.written_to(file)),
            Err(error) if refuses(&error) => Ok(Err(refused(copier, &error))),
            answer => answer.map(Ok).map_err(|error| copier.target.fault(&error)),
        }
    })
    .await
}

async fn complete(copier: &Copier, file: &FileCopy, copy: &CopyInParts, parts: Vec<CopiedPart>) -> Step<()> {
    let completed = copier.target.write_bounded(&file.target_key, copy.complete(parts));
    let completed = copier.permit.unless_ended(completed).await?;
    completed.map(Ok).map_err(|error| copier.target.fault(&error))
}
