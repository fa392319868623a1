//! Writes an object whose content is at hand: files of the copy's own snapshot. Like a copy, it is there as a whole or not
//! at all, and nothing is put in place without permission at that moment.

use super::temporary::TemporaryFile;
use crate::bandwidth::CHUNK_BYTES_MAX;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{Place, with_retries};
use bytes::Bytes;
use ferry_objects::{Folder, blocking};
use object_store::{MultipartUpload, ObjectStoreExt};
use std::sync::Arc;

/// Object stores take at most 10,000 parts; a few are kept back.
const PARTS_MAX: u64 = 9_000;

/// Writes the object over whatever is there, with a few tries, and looks whether all of it arrived.
pub(crate) async fn write(
    target: &Place,
    temporary_folder: &str,
    key: &str,
    content: Bytes,
    permit: &Permit,
) -> Result<(), Fault> {
    with_retries(permit, || async {
        match target.folder().cloned() {
            Some(folder) => write_local(folder, temporary_folder, key, content.clone(), permit).await,
            None => write_remote(target, key, content.clone(), permit).await,
        }
    })
    .await
}

async fn write_local(
    folder: Arc<Folder>,
    temporary_folder: &str,
    key: &str,
    content: Bytes,
    permit: &Permit,
) -> Result<(), Fault> {
    let (temporary_folder, key, permit) = (temporary_folder.to_owned(), key.to_owned(), permit.clone());
    blocking(move || {
        permit.check()?;
        let file = TemporaryFile::create(&folder, &temporary_folder)?;
        file.write_at(&content, 0)?;
        file.sync()?;
        file.place(&key, &permit)
    })
    .await
}

async fn write_remote(target: &Place, key: &str, content: Bytes, permit: &Permit) -> Result<(), Fault> {
    let path = target.path(key)?;
    let size_bytes = content.len() as u64;
    if size_bytes <= CHUNK_BYTES_MAX {
        let put = target.location().store().put(&path, content.into());
        permit.unless_ended(target.write(key, put)).await?.map_err(|error| target.fault(&error))?;
    } else {
        let begun = target.call(key, target.location().store().put_multipart(&path));
        let mut upload = permit.unless_ended(begun).await??;
        if let Err(fault) = write_parts(target, key, content, upload.as_mut(), permit).await {
            // Parts of an upload that is given up would be kept, and paid for, for ever.
            if let Err(error) = upload.abort().await {
                tracing::debug!(%error, "an upload could not be aborted");
            }
            return Err(fault);
        }
    }
    match permit.unless_ended(target.head(key)).await?? {
        Some(found) if found.size_bytes == size_bytes => Ok(()),
        Some(found) => Err(Fault::Transient(format!(
            "{} has {} bytes where {size_bytes} were written; it is written again",
            target.uri(key),
            found.size_bytes
        ))),
        None => Err(Fault::of_store(&ferry_objects::StoreError::Missing { uri: target.uri(key) }, Side::Target)),
    }
}

async fn write_parts(
    target: &Place,
    key: &str,
    mut content: Bytes,
    upload: &mut dyn MultipartUpload,
    permit: &Permit,
) -> Result<(), Fault> {
    let part_bytes = CHUNK_BYTES_MAX.max((content.len() as u64).div_ceil(PARTS_MAX));
    let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
    while !content.is_empty() {
        let part = content.split_to(part_bytes.min(content.len()));
        permit.unless_ended(target.call(key, upload.put_part(part.into()))).await??;
    }
    let completed = permit.unless_ended(target.write(key, upload.complete())).await?;
    completed.map(drop).map_err(|error| target.fault(&error))
}
