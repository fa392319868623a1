//! Reads an object from its first byte to its last, in chunks. Where the store can be asked for one version, a reading whose
//! connection breaks goes on at its offset, so long as bytes come between two breaks.

use super::{Copier, FileCopy};
use crate::failure::{Fault, Side};
use crate::place::{Meta, io_fault, meta_of, meta_of_file};
use bytes::{Bytes, BytesMut};
use ferry_objects::{Folder, blocking};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// A stream that broke so often without a byte between is given up.
const BREAKS_MAX: u32 = 5;
/// The pause after the first of these; it doubles.
const BREAK_PAUSE: Duration = Duration::from_millis(200);

/// Where the chunks of a copy come from.
pub(super) struct Reader {
    meta: Meta,
    offset: u64,
    content: Content,
}

enum Content {
    Local { folder: Arc<Folder>, file: Arc<File>, chunk_bytes: u64 },
    Remote { stream: BoxStream<'static, object_store::Result<Bytes>>, breaks: u32 },
}

impl Reader {
    pub(super) async fn open(copier: &Copier, file: &FileCopy) -> Result<Reader, Fault> {
        let Some(folder) = copier.source.folder().cloned() else { return Reader::open_remote(copier, file).await };
        let (key, chunk_bytes) = (file.source_key.clone(), copier.limits.chunk_bytes());
        blocking(move || {
            let opened = folder.open(&key).map_err(|error| Fault::of_folder(&error, Side::Source))?;
            let meta = meta_of_file(&opened).map_err(|error| io_fault(&folder, &key, &error, Side::Source))?;
            let content = Content::Local { folder, file: Arc::new(opened), chunk_bytes };
            Ok(Reader { meta, offset: 0, content })
        })
        .await
    }

    async fn open_remote(copier: &Copier, file: &FileCopy) -> Result<Reader, Fault> {
        let get = copier.source.get_unchanged(&file.source_key, &file.source, 0);
        let Some(result) = copier.permit.unless_ended(get).await?? else { return Err(copier.written_to(file)) };
        let meta = meta_of(&result.meta);
        Ok(Reader { meta, offset: 0, content: Content::Remote { stream: result.into_stream(), breaks: 0 } })
    }

    /// What the object was when it was opened.
    pub(super) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self, copier: &Copier, file: &FileCopy) -> Result<Option<Bytes>, Fault> {
        let chunk = loop {
            let broken = match &mut self.content {
                Content::Local { folder, file: opened, chunk_bytes } => {
                    let left = file.source.size_bytes.saturating_sub(self.offset);
                    let (opened, at, size) = (Arc::clone(opened), self.offset, left.min(*chunk_bytes));
                    let read = blocking(move || read_chunk(&opened, at, size)).await;
                    let chunk = read.map_err(|error| io_fault(folder, &file.source_key, &error, Side::Source))?;
                    break (!chunk.is_empty()).then_some(chunk);
                }
                Content::Remote { stream, breaks } => {
                    let next = async { stream.next().await.transpose() };
                    match copier.source.next_part(&file.source_key, next).await {
                        Ok(Some(chunk)) => {
                            *breaks = 0;
                            break Some(chunk);
                        }
                        // One that ends early without an error has broken as well.
                        Ok(None) if self.offset >= file.source.size_bytes => break None,
                        Ok(None) => {
                            Fault::Transient(format!("reading {} ended early", copier.source.uri(&file.source_key)))
                        }
                        Err(fault) => fault,
                    }
                }
            };
            self.read_on(copier, file, broken).await?;
        };
        self.offset += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }

    /// Asks for the rest of the same version; where the store cannot say which version it gives, nothing is read on.
    async fn read_on(&mut self, copier: &Copier, file: &FileCopy, broken: Fault) -> Result<(), Fault> {
        let Content::Remote { stream, breaks } = &mut self.content else { return Err(broken) };
        let can = broken.may_pass() && file.source.entity_tag().is_some() && *breaks < BREAKS_MAX;
        if !can {
            return Err(broken);
        }
        tracing::debug!(%broken, offset = self.offset, "reading on where it broke off");
        copier.permit.unless_ended(tokio::time::sleep(BREAK_PAUSE * 2_u32.pow(*breaks))).await?;
        *breaks += 1;
        let get = copier.source.get_unchanged(&file.source_key, &file.source, self.offset);
        match copier.permit.unless_ended(get).await? {
            Ok(Some(result)) => {
                // Not every store heeds the condition.
                copier.check_unchanged(file, Some(&meta_of(&result.meta)))?;
                *stream = result.into_stream();
            }
            Ok(None) => return Err(copier.written_to(file)),
            // The stream that broke is over: the next look at it counts as one more break.
            Err(fault) if fault.may_pass() => {
                tracing::debug!(%fault, "reading on failed");
                *stream = futures::stream::empty().boxed();
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }
}

fn read_chunk(file: &File, offset: u64, size: u64) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::zeroed(usize::try_from(size).unwrap_or(usize::MAX));
    loop {
        match file.read_at(&mut chunk, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(count) => {
                chunk.truncate(count);
                return Ok(chunk.freeze());
            }
        }
    }
}
