//! From a local file to a local file: the system copies the ranges, the content is synced and verified under a temporary
//! name, and only then renamed. Names become durable when the attempt syncs its folders.

use super::temporary::TemporaryFile;
use super::{Copier, FileCopy, FileMeter};
use crate::failure::{Fault, Side};
use crate::place::{Meta, io_fault, meta_of_file};
use ferry_objects::{Checksum, Folder, blocking};
use std::fs::File;
use std::sync::Arc;

struct Pair {
    folder: Arc<Folder>,
    key: String,
    source: File,
    target: TemporaryFile,
}

pub(super) async fn copy(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    source: &Arc<Folder>,
    target: &Arc<Folder>,
) -> Result<(), Fault> {
    let (folder, key) = (Arc::clone(source), file.source_key.clone());
    let (target, temporary) = (Arc::clone(target), copier.temporary_folder.clone());
    let pair = Arc::new(blocking(move || Pair::open(folder, key, &target, &temporary)).await?);
    copy_content(copier, file, meter, &pair).await?;
    let reader = Arc::clone(&pair);
    let (permit, read_back) = (copier.permit.clone(), copier.read_back || file.checksum.is_some());
    let copied = blocking(move || {
        reader.target.sync()?;
        let checksum = read_back.then(|| reader.target.checksum(&permit)).transpose()?;
        Ok((reader.meta()?, reader.target.size_bytes()?, checksum))
    });
    let (source, size_bytes, checksum) = copied.await?;
    verify(copier, file, &source, size_bytes, checksum).await?;
    let (key, permit) = (file.target_key.clone(), copier.permit.clone());
    blocking(move || pair.target.place(&key, &permit)).await
}

async fn copy_content(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>, pair: &Arc<Pair>) -> Result<(), Fault> {
    let size_bytes = file.source.size_bytes;
    let chunk_bytes = copier.limits.chunk_bytes();
    let mut offset = 0;
    while offset < size_bytes {
        let count = chunk_bytes.min(size_bytes - offset);
        copier.limits.take(count, &copier.permit).await?;
        let (pair, permit) = (Arc::clone(pair), copier.permit.clone());
        let copied = blocking(move || {
            permit.check()?;
            pair.target.copy_from(&pair.source, offset, count, |error| pair.source_fault(error))
        });
        let copied = copied.await?;
        if copied == 0 {
            break;
        }
        offset += copied;
        meter.at(offset, copied);
    }
    Ok(())
}

async fn verify(
    copier: &Copier,
    file: &FileCopy,
    source: &Meta,
    size_bytes: u64,
    checksum: Option<Checksum>,
) -> Result<(), Fault> {
    copier.check_unchanged(file, Some(source))?;
    if size_bytes != file.source.size_bytes {
        return Err(copier.corrupted(file, &format!("it has {size_bytes} bytes")));
    }
    let Some(found) = checksum else { return Ok(()) };
    match copier.expected(file, None).await? {
        Some(expected) if expected != found => Err(copier.blame(file, found, expected).await),
        _ => Ok(()),
    }
}

impl Pair {
    fn open(folder: Arc<Folder>, key: String, target: &Arc<Folder>, temporary: &str) -> Result<Pair, Fault> {
        let source = folder.open(&key).map_err(|error| Fault::of_folder(&error, Side::Source))?;
        let target = TemporaryFile::create(target, temporary)?;
        Ok(Pair { folder, key, source, target })
    }

    fn meta(&self) -> Result<Meta, Fault> {
        meta_of_file(&self.source).map_err(|error| self.source_fault(&error))
    }

    fn source_fault(&self, error: &std::io::Error) -> Fault {
        io_fault(&self.folder, &self.key, error, Side::Source)
    }
}
