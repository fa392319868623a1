//! Inside one object store: the store copies, no byte passes through the worker; the copy is verified afterwards.

use super::{Copier, FileCopy, FileMeter};
use crate::failure::Fault;
use object_store::ObjectStoreExt;

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
    let size_bytes = file.source.size_bytes;
    copier.limits.take(size_bytes, &copier.permit).await?;
    let (from, to) = (copier.source.path(&file.source_key)?, copier.target.path(&file.target_key)?);
    let copied = async {
        let answer = copier.target.call(&file.target_key, copier.target.location().store().copy(&from, &to)).await;
        if answer.is_err() && copier.source.head(&file.source_key).await?.is_none() {
            copier.check_unchanged(file, None)?;
        }
        answer?;
        copier.verify_in_store(file, None).await
    };
    copier.permit.unless_ended(copied).await??;
    meter.at(size_bytes, size_bytes);
    Ok(())
}
