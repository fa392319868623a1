//! Between two stores: the bytes pass through the worker in bounded memory, and their checksum is taken on the way.

use super::reader::{Source, ended_early};
use super::temporary::TemporaryFile;
use super::upload::PART_BYTES_MIN;
use super::waiting::Waiting;
use super::{Copier, FileCopy, FileMeter, ranges, upload};
use crate::failure::Fault;
use ferry_objects::{Checksum, blocking};
use object_store::ObjectStoreExt;
use std::sync::Arc;

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
    if let Some(folder) = copier.target.folder().cloned() {
        let source = Source::open(copier, file).await?;
        let temporary = copier.temporary_folder.clone();
        let target = Arc::new(blocking(move || TemporaryFile::create(&folder, &temporary)).await?);
        let passed = match ranges::has_several(file.source.size_bytes) && source.has_ranges(file) {
            true => ranges::read(copier, file, meter, &source, &target).await?,
            false => read(copier, file, meter, &source, &target).await?,
        };
        return finish_local(copier, file, target, passed).await;
    }
    if file.source.size_bytes > PART_BYTES_MIN {
        return upload::copy(copier, file, meter).await;
    }
    put(copier, file, meter).await
}

/// From the first byte to the last into the file.
async fn read(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    source: &Source,
    target: &Arc<TemporaryFile>,
) -> Result<Checksum, Fault> {
    let size_bytes = file.source.size_bytes;
    let mut reader = source.read(copier, file, 0..size_bytes).await?;
    let mut passed = Checksum::default();
    loop {
        let next = reader.next(copier, file, u64::MAX);
        let Some(chunk) = copier.permit.unless_ended(next).await?? else { break };
        copier.limits.take(chunk.len() as u64, &copier.permit).await?;
        let (newly, offset) = (chunk.len() as u64, passed.size_bytes);
        passed.update(&chunk);
        let (target, permit) = (Arc::clone(target), copier.permit.clone());
        blocking(move || permit.check().and_then(|()| target.write_at(&chunk, offset))).await?;
        meter.at(passed.size_bytes, newly);
    }
    if passed.size_bytes < size_bytes { Err(ended_early(copier, file, passed)) } else { Ok(passed) }
}

/// An object of one part is put as a whole.
async fn put(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
    let size_bytes = file.source.size_bytes;
    let buffer = copier.budget.take(size_bytes, &copier.permit).await?.buffer(size_bytes);
    let source = Source::open(copier, file).await?;
    let mut reader = source.read(copier, file, 0..size_bytes).await?;
    let (content, passed) = reader.fill(copier, file, buffer, size_bytes).await?;
    if passed.size_bytes < size_bytes {
        return Err(ended_early(copier, file, passed));
    }
    let path = copier.target.path(&file.target_key)?;
    let put = copier.target.location().store().put(&path, content.freeze().into());
    let written = copier.permit.unless_ended(copier.target.write(&file.target_key, put)).await?;
    written.map_err(|error| copier.target.fault(&error))?;
    meter.at(size_bytes, size_bytes);
    copier.permit.unless_ended(copier.verify_in_store(file, Some(passed))).await?
}

async fn finish_local(
    copier: &Copier,
    file: &FileCopy,
    target: Arc<TemporaryFile>,
    passed: Checksum,
) -> Result<(), Fault> {
    if let Some(expected) = file.checksum
        && passed != expected
    {
        return Err(copier.blame(file, passed, expected).await);
    }
    copier.check_still_unchanged(file, true).await?;
    if let Some(waiting) = copier.waiting_for(file).cloned() {
        return wait(copier, file, waiting, target, passed).await;
    }
    let (reader, permit, read_back) = (Arc::clone(&target), copier.permit.clone(), copier.read_back);
    let written = blocking(move || {
        reader.sync()?;
        let checksum = read_back.then(|| reader.checksum(&permit)).transpose()?;
        Ok::<_, Fault>((reader.size_bytes()?, checksum))
    });
    let (size_bytes, checksum) = written.await?;
    if size_bytes != passed.size_bytes || checksum.is_some_and(|found| found != passed) {
        return Err(copier.corrupted(file, "it differs from what was read"));
    }
    let (key, permit) = (file.target_key.clone(), copier.permit.clone());
    blocking(move || target.place(&key, &permit)).await
}

/// It gets its name with others.
async fn wait(
    copier: &Copier,
    file: &FileCopy,
    waiting: Arc<Waiting>,
    target: Arc<TemporaryFile>,
    passed: Checksum,
) -> Result<(), Fault> {
    let (key, permit) = (file.target_key.clone(), copier.permit.clone());
    let written = blocking(move || {
        let size_bytes = target.size_bytes()?;
        if size_bytes != passed.size_bytes {
            return Ok(false);
        }
        // All that wrote to it has ended.
        let Some(target) = Arc::into_inner(target) else {
            return Err(Fault::Transient(format!("{key} is still written to; it is copied again")));
        };
        waiting.add(target.close(), &key, size_bytes, &permit)?;
        Ok(true)
    });
    match written.await? {
        true => Ok(()),
        false => Err(copier.corrupted(file, "it differs from what was read")),
    }
}
