//! Writes an object whose content is at hand: files of the copy's own snapshot. Like a copy, it is there as a whole or not
//! at all, and nothing is put in place without permission at that moment.

use super::temporary::TemporaryFile;
use super::upload::{PART_BYTES_MIN, Upload, part_bytes};
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::Place;
use crate::retry::with_retries;
use bytes::Bytes;
use ferry_objects::{Folder, blocking};
use object_store::ObjectStoreExt;
use std::sync::Arc;

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
    if size_bytes <= PART_BYTES_MIN {
        let put = target.location().store().put(&path, content.into());
        permit.unless_ended(target.write(key, put)).await?.map_err(|error| target.fault(&error))?;
    } else {
        let mut upload = Upload::begin(target, key, permit).await?;
        let sent = put_parts(&mut upload, content).await;
        upload.finish(sent).await?;
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

async fn put_parts(upload: &mut Upload<'_>, mut content: Bytes) -> Result<(), Fault> {
    let part_bytes = usize::try_from(part_bytes(content.len() as u64)).unwrap_or(usize::MAX);
    while !content.is_empty() {
        upload.put(content.split_to(part_bytes.min(content.len()))).await?;
    }
    Ok(())
}
