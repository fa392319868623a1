//! Reads a source in ranges, each from its first byte to its last. Where the store can be asked for one version, a reading
//! whose connection breaks goes on at its offset, so long as bytes come between two breaks.

use super::budget::Buffer;
use super::{Copier, FileCopy};
use crate::failure::{Fault, Side};
use crate::place::{io_fault, meta_of_file};
use bytes::Bytes;
use ferry_objects::{Checksum, Folder, blocking};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A stream that broke so often without a byte between is given up.
const BREAKS_MAX: u32 = 5;
/// The pause after the first of these; it doubles.
const BREAK_PAUSE: Duration = Duration::from_millis(200);

/// A source that ranges can be read of.
#[derive(Clone)]
pub(super) enum Source {
    Local { folder: Arc<Folder>, file: Arc<File> },
    Remote,
}

/// One range while it is read.
pub(super) struct Reader {
    source: Source,
    offset: u64,
    end: u64,
    /// What came and was not taken yet.
    left: Bytes,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    breaks: u32,
    /// Why there is no stream just now.
    refusal: Option<Fault>,
}

impl Source {
    /// Opens the source, which has to be what it was when its copy was planned.
    pub(super) async fn open(copier: &Copier, file: &FileCopy) -> Result<Source, Fault> {
        let Some(folder) = copier.source.folder().cloned() else { return Ok(Source::Remote) };
        let key = file.source_key.clone();
        let opened = blocking(move || {
            let opened = folder.open(&key).map_err(|error| Fault::of_folder(&error, Side::Source))?;
            let meta = meta_of_file(&opened).map_err(|error| io_fault(&folder, &key, &error, Side::Source))?;
            Ok((Source::Local { folder, file: Arc::new(opened) }, meta))
        });
        let (source, meta) = opened.await?;
        copier.check_unchanged(file, Some(&meta))?;
        Ok(source)
    }

    /// Whether several ranges can be read at once and be of one version.
    pub(super) fn has_ranges(&self, file: &FileCopy) -> bool {
        match self {
            Source::Local { .. } => true,
            Source::Remote => file.source.entity_tag().is_some(),
        }
    }

    /// Begins to read a range.
    pub(super) async fn read(&self, copier: &Copier, file: &FileCopy, range: Range<u64>) -> Result<Reader, Fault> {
        let (source, stream) = (self.clone(), futures::stream::empty().boxed());
        let (offset, end) = (range.start, range.end);
        let mut reader = Reader { source, offset, end, left: Bytes::new(), stream, breaks: 0, refusal: None };
        if matches!(self, Source::Remote) {
            reader.ask(copier, file).await?;
        }
        Ok(reader)
    }
}

/// The bytes of a range, of the version that the copy was planned with.
async fn stream(
    copier: &Copier,
    file: &FileCopy,
    range: Range<u64>,
) -> Result<BoxStream<'static, object_store::Result<Bytes>>, Fault> {
    let get = copier.source.get_unchanged(&file.source_key, &file.source, range);
    let Some(result) = copier.permit.unless_ended(get).await?? else { return Err(copier.written_to(file)) };
    Ok(result.into_stream())
}

impl Reader {
    /// The next bytes of an object in a store, no more than `bytes_max`; `None` after the last.
    pub(super) async fn next(
        &mut self,
        copier: &Copier,
        file: &FileCopy,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, Fault> {
        let bytes_max = bytes_max.min(self.end.saturating_sub(self.offset));
        if bytes_max == 0 {
            return Ok(None);
        }
        if self.left.is_empty() {
            self.left = self.next_of_stream(copier, file).await?;
        }
        let size = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(self.left.len());
        let chunk = self.left.split_to(size);
        self.offset += chunk.len() as u64;
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    async fn next_of_stream(&mut self, copier: &Copier, file: &FileCopy) -> Result<Bytes, Fault> {
        loop {
            let next = async { self.stream.next().await.transpose() };
            let broken = match copier.source.next_part(&file.source_key, next).await {
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                Ok(Some(chunk)) => {
                    self.breaks = 0;
                    return Ok(chunk);
                }
                // One that ends early without an error has broken as well.
                Ok(None) => self.refusal.take().unwrap_or_else(|| {
                    Fault::Transient(format!("reading {} ended early", copier.source.uri(&file.source_key)))
                }),
                Err(fault) => fault,
            };
            self.read_on(copier, file, broken).await?;
        }
    }

    /// Asks for the rest of the same version; where the store cannot say which version it gives, nothing is read on.
    async fn read_on(&mut self, copier: &Copier, file: &FileCopy, broken: Fault) -> Result<(), Fault> {
        if !broken.may_pass() || !self.can_read_on(file) {
            return Err(broken);
        }
        tracing::debug!(%broken, offset = self.offset, "reading on where it broke off");
        copier.permit.unless_ended(tokio::time::sleep(BREAK_PAUSE * 2_u32.pow(self.breaks))).await?;
        self.breaks += 1;
        self.ask(copier, file).await
    }

    fn can_read_on(&self, file: &FileCopy) -> bool {
        file.source.entity_tag().is_some() && self.breaks < BREAKS_MAX
    }

    /// Asks the store for what is left; a refusal for the moment is one more break where it can be read on.
    async fn ask(&mut self, copier: &Copier, file: &FileCopy) -> Result<(), Fault> {
        self.stream = match stream(copier, file, self.offset..self.end).await {
            Ok(stream) => stream,
            Err(fault) if fault.may_pass() && self.can_read_on(file) => {
                tracing::debug!(%fault, "reading on failed");
                self.refusal = Some(fault);
                futures::stream::empty().boxed()
            }
            Err(fault) => return Err(fault),
        };
        Ok(())
    }

    /// The next `bytes` as the buffer's content, as fast as the limits let them pass; fewer only at the range's end.
    pub(super) async fn fill(
        &mut self,
        copier: &Copier,
        file: &FileCopy,
        mut buffer: Buffer,
        bytes: u64,
    ) -> Result<(Buffer, Checksum), Fault> {
        let mut checksum = Checksum::default();
        buffer.clear();
        while checksum.size_bytes < bytes {
            let (left, before) = (bytes - checksum.size_bytes, buffer.as_ref().len());
            if let Source::Local { folder, file: opened } = &self.source {
                let size = left.min(self.end - self.offset).min(copier.limits.chunk_bytes());
                let (opened, at) = (Arc::clone(opened), self.offset);
                let read = blocking(move || {
                    let read = buffer.read_at(&opened, at, size);
                    (buffer, read)
                });
                let (filled, read) = read.await;
                buffer = filled;
                self.offset += read.map_err(|error| io_fault(folder, &file.source_key, &error, Side::Source))? as u64;
            } else {
                let next = self.next(copier, file, left);
                let Some(chunk) = copier.permit.unless_ended(next).await?? else { break };
                buffer.extend(&chunk);
            }
            let newly = &buffer.as_ref()[before..];
            if newly.is_empty() {
                break;
            }
            copier.limits.take(newly.len() as u64, &copier.permit).await?;
            checksum.update(newly);
        }
        Ok((buffer, checksum))
    }
}

/// The source gave fewer bytes than it has.
pub(super) fn ended_early(copier: &Copier, file: &FileCopy, passed: Checksum) -> Fault {
    let uri = copier.source.uri(&file.source_key);
    Fault::Transient(format!(
        "reading {uri} ended after {} of {} bytes; it is read again",
        passed.size_bytes, file.source.size_bytes
    ))
}
