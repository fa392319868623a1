//! Between two stores: chunks pass through the worker in bounded memory, and their checksum is taken on the way.

use super::reader::Reader;
use super::temporary::TemporaryFile;
use super::{Copier, FileCopy, FileMeter};
use crate::bandwidth::CHUNK_BYTES_MAX;
use crate::failure::Fault;
use bytes::{Bytes, BytesMut};
use ferry_objects::{Checksum, blocking};
use object_store::{MultipartUpload, ObjectStoreExt};
use std::sync::Arc;

/// Object stores take at most 10,000 parts; a few are kept back.
const PARTS_MAX: u64 = 9_000;

pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
    let mut reader = Reader::open(copier, file).await?;
    copier.check_unchanged(file, Some(reader.meta()))?;
    let mut writer = Writer::open(copier, file).await?;
    match pump(copier, file, meter, &mut reader, &mut writer).await {
        Ok(passed) => writer.finish(copier, file, passed).await,
        Err(fault) => {
            writer.abort().await;
            Err(fault)
        }
    }
}

async fn pump(
    copier: &Copier,
    file: &FileCopy,
    meter: &FileMeter<'_>,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<Checksum, Fault> {
    let mut passed = Checksum::default();
    while passed.size_bytes < file.source.size_bytes {
        let Some(chunk) = copier.permit.unless_ended(reader.next(copier, file)).await?? else { break };
        copier.limits.take(chunk.len() as u64, &copier.permit).await?;
        let offset = passed.size_bytes;
        passed.update(&chunk);
        let newly = chunk.len() as u64;
        writer.write(copier, file, chunk, offset).await?;
        meter.at(passed.size_bytes, newly);
    }
    if passed.size_bytes == file.source.size_bytes {
        return Ok(passed);
    }
    let uri = copier.source.uri(&file.source_key);
    Err(Fault::Transient(format!(
        "reading {uri} ended after {} of {} bytes; it is read again",
        passed.size_bytes, file.source.size_bytes
    )))
}

/// Where the chunks go.
enum Writer {
    Local(Arc<TemporaryFile>),
    /// Collected in memory, because it fits one part.
    Whole(BytesMut),
    Parts {
        upload: Box<dyn MultipartUpload>,
        part: BytesMut,
        part_bytes: usize,
    },
}

impl Writer {
    async fn open(copier: &Copier, file: &FileCopy) -> Result<Writer, Fault> {
        if let Some(folder) = copier.target.folder().cloned() {
            let temporary = copier.temporary_folder.clone();
            let created = blocking(move || TemporaryFile::create(&folder, &temporary)).await?;
            return Ok(Writer::Local(Arc::new(created)));
        }
        if file.source.size_bytes <= CHUNK_BYTES_MAX {
            return Ok(Writer::Whole(BytesMut::new()));
        }
        let path = copier.target.path(&file.target_key)?;
        let begun = copier.target.call(&file.target_key, copier.target.location().store().put_multipart(&path));
        let upload = copier.permit.unless_ended(begun).await??;
        let part_bytes = CHUNK_BYTES_MAX.max(file.source.size_bytes.div_ceil(PARTS_MAX));
        let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        Ok(Writer::Parts { upload, part: BytesMut::new(), part_bytes })
    }

    async fn write(&mut self, copier: &Copier, file: &FileCopy, chunk: Bytes, offset: u64) -> Result<(), Fault> {
        match self {
            Writer::Local(target) => {
                let (target, permit) = (Arc::clone(target), copier.permit.clone());
                blocking(move || permit.check().and_then(|()| target.write_at(&chunk, offset))).await
            }
            Writer::Whole(content) => {
                content.extend_from_slice(&chunk);
                Ok(())
            }
            Writer::Parts { upload, part, part_bytes } => {
                part.extend_from_slice(&chunk);
                while part.len() >= *part_bytes {
                    let full = part.split_to(*part_bytes).freeze();
                    put_part(copier, file, upload, full).await?;
                }
                Ok(())
            }
        }
    }

    /// Completes the target: until here a reader sees nothing of it.
    async fn finish(self, copier: &Copier, file: &FileCopy, passed: Checksum) -> Result<(), Fault> {
        match self {
            Writer::Local(target) => finish_local(copier, file, target, passed).await,
            Writer::Whole(content) => {
                let path = copier.target.path(&file.target_key)?;
                let put = copier.target.location().store().put(&path, content.freeze().into());
                let written = copier.permit.unless_ended(copier.target.write(&file.target_key, put)).await?;
                written.map_err(|error| copier.target.fault(&error))?;
                copier.permit.unless_ended(copier.verify_in_store(file, Some(passed))).await?
            }
            Writer::Parts { mut upload, part, .. } => {
                if let Err(fault) = complete(copier, file, &mut upload, part.freeze()).await {
                    abort(&mut upload).await;
                    return Err(fault);
                }
                copier.permit.unless_ended(copier.verify_in_store(file, Some(passed))).await?
            }
        }
    }

    async fn abort(self) {
        if let Writer::Parts { mut upload, .. } = self {
            abort(&mut upload).await;
        }
    }
}

/// Parts of an upload that is given up would be kept, and paid for, for ever.
async fn abort(upload: &mut Box<dyn MultipartUpload>) {
    if let Err(error) = upload.abort().await {
        tracing::debug!(%error, "an upload could not be aborted");
    }
}

async fn complete(
    copier: &Copier,
    file: &FileCopy,
    upload: &mut Box<dyn MultipartUpload>,
    last: Bytes,
) -> Result<(), Fault> {
    if !last.is_empty() {
        put_part(copier, file, upload, last).await?;
    }
    let complete = copier.target.write(&file.target_key, upload.complete());
    let completed = copier.permit.unless_ended(complete).await?;
    completed.map(drop).map_err(|error| copier.target.fault(&error))
}

async fn put_part(
    copier: &Copier,
    file: &FileCopy,
    upload: &mut Box<dyn MultipartUpload>,
    part: Bytes,
) -> Result<(), Fault> {
    let put = copier.target.call(&file.target_key, upload.put_part(part.into()));
    copier.permit.unless_ended(put).await?
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
    let after = copier.source.head(&file.source_key).await?;
    copier.check_unchanged(file, after.as_ref())?;
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
