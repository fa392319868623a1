//! An object that goes into a store in parts: several are read and put at once, in bounded memory, and none of an upload
//! that is given up is left where the store answers.

use super::budget::{Buffer, Held};
use super::ranges::at_once;
use super::reader::{Reader, Source, ended_early};
use super::window::Window;
use super::{Copier, FileCopy, FileMeter};
use crate::bandwidth::CHUNK_BYTES_MAX;
use crate::failure::Fault;
use crate::permit::Permit;
use crate::place::Place;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use ferry_objects::{Checksum, Class, CopyInParts, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use object_store::{MultipartUpload, ObjectStoreExt};
use std::future::Future;
use std::time::{Duration, Instant};

/// The smallest part, but for the last; what fits into one is put as a whole.
pub(crate) const PART_BYTES_MIN: u64 = CHUNK_BYTES_MAX;
/// Object stores take at most 10,000 parts; a few are kept back.
pub(super) const PARTS_MAX: u64 = 9_000;
/// An abort that is not answered is tried again this often.
const ABORT_RETRIES_MAX: usize = 4;
/// The first pause between two tries; it doubles, so that a store may be away for some seconds.
const ABORT_PAUSE: Duration = Duration::from_millis(500);

/// An upload that is begun and neither completed nor aborted.
pub(super) struct Upload<'a> {
    target: &'a Place,
    key: &'a str,
    permit: &'a Permit,
    upload: Box<dyn MultipartUpload>,
}

/// The size of each part of an object, but for the last.
pub(super) fn part_bytes(size_bytes: u64) -> u64 {
    PART_BYTES_MIN.max(size_bytes.div_ceil(PARTS_MAX))
}

impl<'a> Upload<'a> {
    pub(super) async fn begin(target: &'a Place, key: &'a str, permit: &'a Permit) -> Result<Upload<'a>, Fault> {
        let path = target.path(key)?;
        let begun = target.call(key, target.location().store().put_multipart(&path));
        let upload = permit.unless_ended(begun).await??;
        Ok(Upload { target, key, permit, upload })
    }

    /// Puts the next part; the order of the calls is that of the parts, and they may be waited for in any.
    pub(super) fn put(&mut self, part: Bytes) -> impl Future<Output = Result<(), Fault>> + use<'a> {
        let (target, key, permit) = (self.target, self.key, self.permit);
        let put = self.upload.put_part(part.into());
        async move { permit.unless_ended(target.call(key, put)).await? }
    }

    /// Makes an object of the parts, unless sending them failed: then none of them is left.
    pub(super) async fn finish<T>(mut self, sent: Result<T, Fault>) -> Result<T, Fault> {
        let completed = match sent {
            Ok(sent) => {
                let complete = self.target.write(self.key, self.upload.complete());
                let completed = self.permit.unless_ended(complete).await;
                completed.and_then(|completed| completed.map(|_| sent).map_err(|error| self.target.fault(&error)))
            }
            Err(fault) => Err(fault),
        };
        if completed.is_err() {
            abort_until_answered(self.target, self.key, &mut self).await;
        }
        completed
    }
}

/// What can be given up.
pub(super) trait Unfinished: Send {
    fn abort(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;
}

impl Unfinished for Upload<'_> {
    fn abort(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        let (target, key) = (self.target, self.key);
        let abort = self.upload.abort();
        let abort = async move { abort.await.map_err(|source| StoreError::of(target.uri(key), &source)) };
        async move { target.at_once(key, abort).await }.boxed()
    }
}

impl Unfinished for CopyInParts {
    fn abort(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        CopyInParts::abort(self).boxed()
    }
}

/// Parts of an upload that is given up would be kept, and paid for, for ever. Aborting is tried until the store answers, but
/// no longer than a request may take; a clean-up looks for what is left.
pub(super) async fn abort_until_answered(target: &Place, key: &str, unfinished: &mut dyn Unfinished) {
    let pauses = ExponentialBuilder::new().with_min_delay(ABORT_PAUSE).with_max_times(ABORT_RETRIES_MAX);
    let mut pauses = pauses.build();
    let aborted = tokio::time::timeout(target.request_timeout(), async {
        loop {
            match unfinished.abort().await {
                Ok(()) | Err(StoreError::Missing { .. }) => return Ok(()),
                Err(error) if matches!(error.class(), Class::Transient | Class::Outage) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    });
    match aborted.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an upload could not be aborted"),
        Err(_) => tracing::warn!(object = %target.uri(key), "an upload could not be aborted in time"),
    }
}

/// Where parts come from.
enum Parts {
    /// One after another; absent while one is read.
    Stream(Option<Reader>),
    /// Any of them at any time.
    Ranges(Source),
}

/// A part that was read, and the reader that the next comes from.
struct Part {
    content: Buffer,
    checksum: Checksum,
    reader: Option<Reader>,
}

type Read = Result<Part, Fault>;

impl Parts {
    async fn open(copier: &Copier, file: &FileCopy) -> Result<Parts, Fault> {
        let source = Source::open(copier, file).await?;
        if source.has_ranges(file) {
            return Ok(Parts::Ranges(source));
        }
        Ok(Parts::Stream(Some(source.read(copier, file, 0..file.source.size_bytes).await?)))
    }

    /// Begins to read the part at `offset`, unless the one before has to come first.
    fn read<'a>(
        &mut self,
        copier: &'a Copier,
        file: &'a FileCopy,
        offset: u64,
        bytes: u64,
        held: Held,
    ) -> Option<BoxFuture<'a, Read>> {
        match self {
            Parts::Stream(reader) => {
                let mut reader = reader.take()?;
                let read = async move {
                    let (content, checksum) = reader.fill(copier, file, held.buffer(bytes), bytes).await?;
                    Ok(Part { content, checksum, reader: Some(reader) })
                };
                Some(read.boxed())
            }
            Parts::Ranges(source) => {
                let source = source.clone();
                let read = async move {
                    let mut reader = source.read(copier, file, offset..offset + bytes).await?;
                    let (content, checksum) = reader.fill(copier, file, held.buffer(bytes), bytes).await?;
                    Ok(Part { content, checksum, reader: None })
                };
                Some(read.boxed())
            }
        }
    }

    fn give_back(&mut self, reader: Option<Reader>) {
        if let Parts::Stream(slot) = self {
            *slot = reader;
        }
    }
}

/// Copies an object of more than one part.
pub(super) async fn copy(copier: &Copier, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
    let parts = Parts::open(copier, file).await?;
    let mut upload = Upload::begin(&copier.target, &file.target_key, &copier.permit).await?;
    let (permit, stop) = copier.permit.child();
    let reading = Copier { permit, ..copier.clone() };
    let mut sending = Sending {
        copier,
        reading: &reading,
        file,
        parts,
        part_bytes: part_bytes(file.source.size_bytes),
        window: Window::new(copier.target.request_timeout()),
        offset: 0,
        reads: FuturesOrdered::new(),
        puts: FuturesUnordered::new(),
        passed: Checksum::default(),
        written: 0,
    };
    let sent = sending.send(&mut upload, meter).await;
    if sent.is_err() {
        stop.cancel();
        sending.drain().await;
    }
    let passed = upload.finish(sent).await?;
    copier.permit.unless_ended(copier.verify_in_store(file, Some(passed))).await?
}

/// Its size, how long it took, and how it ended.
type Putting<'a> = BoxFuture<'a, (u64, Duration, Result<(), Fault>)>;

/// The parts of one object that are on their way: read in any order, put in theirs.
struct Sending<'a> {
    copier: &'a Copier,
    /// The same, but its reading ends at the first failure.
    reading: &'a Copier,
    file: &'a FileCopy,
    parts: Parts,
    part_bytes: u64,
    window: Window,
    offset: u64,
    reads: FuturesOrdered<BoxFuture<'a, Read>>,
    puts: FuturesUnordered<Putting<'a>>,
    passed: Checksum,
    written: u64,
}

impl<'a> Sending<'a> {
    /// Sends every part, and tells the checksum of what passed.
    async fn send(&mut self, upload: &mut Upload<'a>, meter: &FileMeter<'_>) -> Result<Checksum, Fault> {
        loop {
            while self.begin_read().await? {}
            tokio::select! {
                Some(read) = self.reads.next() => {
                    let Part { content, checksum, reader } = read?;
                    self.parts.give_back(reader);
                    self.put(upload, content, checksum)?;
                }
                Some((bytes, took, put)) = self.puts.next() => {
                    put?;
                    self.window.answered(took);
                    self.written += bytes;
                    meter.at(self.written, bytes);
                }
                else => return Ok(self.passed),
            }
        }
    }

    /// Begins with one more part, if there is one, and room for it. Only who holds no memory waits for some: it is given
    /// back by puts that go on meanwhile.
    async fn begin_read(&mut self) -> Result<bool, Fault> {
        let in_flight = self.reads.len() + self.puts.len();
        let bytes = self.part_bytes.min(self.file.source.size_bytes - self.offset);
        if bytes == 0 || in_flight >= self.window.parts().min(at_once(self.copier)) {
            return Ok(false);
        }
        if matches!(self.parts, Parts::Stream(None)) {
            return Ok(false);
        }
        let held = match self.copier.budget.try_take(bytes) {
            Some(held) => held,
            None if in_flight > 0 => return Ok(false),
            None => self.copier.budget.take(bytes, &self.copier.permit).await?,
        };
        let read = self.parts.read(self.reading, self.file, self.offset, bytes, held);
        let Some(read) = read else { return Ok(false) };
        self.reads.push_back(read);
        self.offset += bytes;
        Ok(true)
    }

    fn put(&mut self, upload: &mut Upload<'a>, content: Buffer, checksum: Checksum) -> Result<(), Fault> {
        self.passed.append(checksum);
        let bytes = checksum.size_bytes;
        let is_last = self.passed.size_bytes == self.file.source.size_bytes;
        if !is_last && bytes < self.part_bytes {
            return Err(ended_early(self.copier, self.file, self.passed));
        }
        let put = upload.put(content.freeze());
        let putting = async move {
            let began = Instant::now();
            let put = put.await;
            (bytes, began.elapsed(), put)
        };
        self.puts.push(putting.boxed());
        Ok(())
    }

    /// Waits for what is on its way: a put that is abandoned goes on in the store.
    async fn drain(&mut self) {
        while self.reads.next().await.is_some() {}
        while self.puts.next().await.is_some() {}
    }
}
