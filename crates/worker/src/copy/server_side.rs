//! Inside one object store: the store copies, no byte passes through the worker; the copy is verified afterwards.

use super::{Copier, FileCopy, FileMeter, ServerSide};
use crate::failure::Fault;
use ferry_objects::{Reason, StoreError};
use object_store::ObjectStoreExt;

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<ServerSide, Fault> {
    let size_bytes = file.source.size_bytes;
    let (from, to) = (copier.source.path(&file.source_key)?, copier.target.path(&file.target_key)?);
    let copied = async {
        let target = copier.target.location();
        let answer = match copier.target.ask(&file.target_key, target.store().copy(&from, &to)).await {
            Err(error) if refuses(&error) => return Ok(refused(copier, &error)),
            answer => answer.map_err(|error| copier.target.fault(&error)),
        };
        if answer.is_err() && copier.source.head(&file.source_key).await?.is_none() {
            copier.check_unchanged(file, None)?;
        }
        answer?;
        copier.verify_in_store(file, None).await?;
        target.copied();
        Ok(ServerSide::Copied)
    };
    copier.limits.take(size_bytes, &copier.permit).await?;
    let copied = copier.permit.unless_ended(copied).await??;
    if copied == ServerSide::Copied {
        meter.at(size_bytes, size_bytes);
    }
    Ok(copied)
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
