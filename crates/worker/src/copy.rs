//! Copies one object and verifies the copy: sizes always, checksums where they are known, everything when asked for.
//!
//! A target is written as a whole or not at all: a local one under a temporary name until it is synced and verified, one
//! in an object store by completing its upload. Nothing is put in place without permission at that moment.

mod budget;
mod copy_parts;
mod disk;
mod local;
mod ranges;
mod reader;
mod server_side;
pub(crate) mod small;
mod stream;
mod temporary;
#[cfg(test)]
mod tests;
mod unseen;
mod upload;
mod waiting;
mod window;
mod write;

use crate::bandwidth::Limits;
use crate::failure::Fault;
use crate::metrics::Metrics;
use crate::permit::Permit;
use crate::place::{Meta, Place};
use crate::retry::with_retries;
use ferry_objects::Checksum;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use budget::PartsBudget;
pub(crate) use disk::Disks;
pub(crate) use unseen::Unseen;
pub(crate) use upload::PART_BYTES_MIN;
pub(crate) use waiting::Waiting;
pub(crate) use write::write;

/// What S3 copies in one request at most.
const COPY_OBJECT_BYTES_MAX: u64 = 5 << 30;
/// From this size on objects are copied in parts: one request that copied them could outlast its time limit.
const IN_PARTS_FROM_BYTES: u64 = 1 << 30;
const _: () = assert!(IN_PARTS_FROM_BYTES <= COPY_OBJECT_BYTES_MAX);

/// One object to copy.
#[derive(Clone, Debug)]
pub(crate) struct FileCopy {
    /// Below the source's root.
    pub(crate) source_key: String,
    /// Below the target's root.
    pub(crate) target_key: String,
    /// What the source was when the copy was planned; it has to stay that.
    pub(crate) source: Meta,
    /// What the snapshot says it has to be.
    pub(crate) checksum: Option<Checksum>,
    /// Several segments have it, so that another task may have copied it already.
    pub(crate) shared: bool,
}

/// Bytes copied by one attempt; only grows.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Meter {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Meter {
        Meter { bytes: AtomicU64::new(0), metrics }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are there, whoever copied them.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How much of one file is written; a second try counts only what the first had not reached.
#[derive(Debug)]
struct FileMeter<'a> {
    meter: &'a Meter,
    reached: AtomicU64,
}

impl FileMeter<'_> {
    /// The current try has written so many bytes of the file in all, the last of them just now.
    fn at(&self, written: u64, newly: u64) {
        self.meter.metrics.copied_bytes.inc_by(newly);
        let before = self.reached.fetch_max(written, Ordering::Relaxed);
        self.meter.add(written.saturating_sub(before));
    }
}

/// How a store is asked to copy an object by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// In one request.
    Whole,
    /// In one request a part.
    InParts,
}

/// How a copy inside the store ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ServerSide {
    Copied,
    /// The store does not do that, or forbids it; reading and writing may be allowed.
    Refused {
        /// In its words.
        reason: Fault,
        /// The store does not know the request at all.
        for_good: bool,
    },
}

/// What copies the files of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Copier {
    /// Where they are.
    pub(crate) source: Place,
    /// Where they go.
    pub(crate) target: Place,
    /// Asked before everything that writes.
    pub(crate) permit: Permit,
    /// Bandwidth.
    pub(crate) limits: Limits,
    /// Memory.
    pub(crate) budget: PartsBudget,
    /// Progress.
    pub(crate) meter: Arc<Meter>,
    /// Every copy is read back.
    pub(crate) read_back: bool,
    /// The key of the attempt's own folder for temporary files below a local target.
    pub(crate) temporary_folder: String,
    /// Small files of a local target wait here for one sync of all.
    pub(crate) waiting: Option<Arc<Waiting>>,
    /// What is only to be looked at after its copy waits here for one look at all; unset: each is looked at alone.
    pub(crate) unseen: Option<Arc<Unseen>>,
}

impl Copier {
    /// Copies the object, unless it is there already: what an earlier attempt finished, or another task where segments
    /// share it, is checked and kept. Without `claimed`, what is not shared was seen to be free.
    pub(crate) async fn copy_or_keep(&self, file: &FileCopy, claimed: bool) -> Result<(), Fault> {
        if !claimed && !file.shared {
            return self.copy(file).await;
        }
        if self.is_copied(file).await? {
            self.meter.add(file.source.size_bytes);
            return Ok(());
        }
        if file.shared && with_retries(&self.permit, || self.target.head(&file.target_key)).await?.is_some() {
            let uri = self.target.uri(&file.target_key);
            return Err(Fault::Permanent(format!(
                "target object {uri}, which segments share, exists already with another content; choose another target"
            )));
        }
        self.copy(file).await
    }

    /// What is copied in one go: a run of small local files, or one file. Under a limit of bytes a second all go alone, so
    /// that progress and stops stay prompt.
    pub(crate) fn runs<'a>(&self, files: &'a [FileCopy], claimed: bool) -> Vec<Vec<&'a FileCopy>> {
        let is_local = self.source.folder().is_some() && self.target.folder().is_some();
        let in_runs = is_local && !claimed && !self.read_back && self.limits.are_none();
        let (small, others): (Vec<&FileCopy>, Vec<&FileCopy>) =
            files.iter().partition(|file| in_runs && !file.shared && file.source.size_bytes <= small::FILE_BYTES_MAX);
        let runs = small.chunks(small::run_max(self.waiting.as_ref())).map(<[_]>::to_vec);
        runs.chain(others.into_iter().map(|file| vec![file])).collect()
    }

    /// Where the file is to wait for its sync, if it does not get one alone.
    fn waiting_for(&self, file: &FileCopy) -> Option<&Arc<Waiting>> {
        // Others look for shared ones, and what is read back is read from the disk.
        let may_wait = !file.shared && !self.read_back;
        self.waiting.as_ref().filter(|waiting| may_wait && waiting.takes(file.source.size_bytes))
    }

    /// Copies a run of files.
    pub(crate) async fn copy_run(&self, run: Vec<&FileCopy>, claimed: bool) -> Result<(), Fault> {
        self.permit.check()?;
        // A limit may have been set since the runs were made.
        if run.len() == 1 || !self.limits.are_none() {
            for file in run {
                self.copy_or_keep(file, claimed).await?;
            }
            return Ok(());
        }
        let copied = small::copy(self, &run).await?;
        for (file, _) in run.iter().zip(copied).filter(|(_, copied)| !copied) {
            self.copy_or_keep(file, claimed).await?;
        }
        Ok(())
    }

    /// Copies the object over whatever is at its target, with a few tries.
    async fn copy(&self, file: &FileCopy) -> Result<(), Fault> {
        let meter = FileMeter { meter: &self.meter, reached: AtomicU64::new(0) };
        with_retries(&self.permit, || self.copy_once(file, &meter)).await
    }

    async fn copy_once(&self, file: &FileCopy, meter: &FileMeter<'_>) -> Result<(), Fault> {
        if let (Some(source), Some(target)) = (self.source.folder(), self.target.folder()) {
            return local::copy(self, file, meter, source, target).await;
        }
        let mut refusals = Vec::new();
        for way in self.ways_inside(file) {
            let copied = match way {
                Inside::InParts => copy_parts::copy(self, file, meter).await?,
                Inside::Whole => server_side::copy(self, file, meter).await?,
            };
            match copied {
                ServerSide::Copied => {
                    self.learn(refusals);
                    return Ok(());
                }
                ServerSide::Refused { reason, for_good } => refusals.push((way, reason, for_good)),
            }
        }
        stream::copy(self, file, meter).await?;
        self.learn(refusals);
        Ok(())
    }

    /// How the store may be asked to copy the object by itself, best first. Under a limit of bytes a second, what takes more
    /// than a moment goes in parts where it can: the limit holds in each second then, not only on the whole.
    fn ways_inside(&self, file: &FileCopy) -> Vec<Inside> {
        let (source, target) = (self.source.location(), self.target.location());
        let size_bytes = file.source.size_bytes;
        if !target.copies_of(source) {
            return Vec::new();
        }
        let whole = size_bytes < IN_PARTS_FROM_BYTES || target.copies_in_background();
        let in_parts = !whole || (!self.limits.are_none() && size_bytes > copy_parts::part_bytes(self, file));
        let mut ways = Vec::new();
        ways.extend((in_parts && target.copies_in_parts()).then_some(Inside::InParts));
        ways.extend(whole.then_some(Inside::Whole));
        ways
    }

    /// Remembers the store's refusals once the object was copied in another way: then it was not the object's fault.
    fn learn(&self, refusals: Vec<(Inside, Fault, bool)>) {
        let (source, target) = (self.source.location(), self.target.location());
        for (way, reason, for_good) in refusals {
            let is_news = match way {
                Inside::InParts => for_good && target.refused_copies_in_parts(),
                Inside::Whole => target.refused_copy(source, for_good),
            };
            if is_news {
                tracing::warn!(%reason, ?way, "the store refuses to copy inside itself in this way: another one is used");
            }
        }
    }

    /// Whether what is at the target is the copy already, as far as that can be known.
    async fn is_copied(&self, file: &FileCopy) -> Result<bool, Fault> {
        let found = with_retries(&self.permit, || self.target.head(&file.target_key)).await?;
        if found.is_none_or(|found| found.size_bytes != file.source.size_bytes) {
            return Ok(false);
        }
        let Some(expected) = self.expected(file, None).await? else { return Ok(true) };
        let found = with_retries(&self.permit, || self.target.checksum(&file.target_key, &self.permit)).await;
        match found {
            Ok(found) => Ok(found == expected),
            Err(Fault::Permanent(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The checksum the copy is compared with: the snapshot's, else, when every copy is read back, the source's own as it
    /// passed through or as it is read now.
    async fn expected(&self, file: &FileCopy, passed: Option<Checksum>) -> Result<Option<Checksum>, Fault> {
        match (file.checksum.or(passed), self.read_back) {
            (Some(known), _) => Ok(Some(known)),
            (None, true) => self.source.checksum(&file.source_key, &self.permit).await.map(Some),
            (None, false) => Ok(None),
        }
    }

    /// Verifies what is in the target's store after a copy; `passed` is the checksum of the bytes that went through us.
    async fn verify_in_store(&self, file: &FileCopy, passed: Option<Checksum>) -> Result<(), Fault> {
        if let (Some(passed), Some(expected)) = (passed, file.checksum)
            && passed != expected
        {
            return Err(self.blame(file, passed, expected).await);
        }
        if self.waits_unseen(file, passed) {
            return Ok(());
        }
        let found = self.target.head(&file.target_key).await?;
        let size_bytes = found.map(|found| found.size_bytes);
        if size_bytes != Some(file.source.size_bytes) {
            return Err(self.corrupted(file, &format!("it has {} bytes", size_bytes.unwrap_or(0))));
        }
        let unseen = passed.is_none() && file.checksum.is_some();
        if (unseen || self.read_back)
            && let Some(expected) = self.expected(file, passed).await?
        {
            let found = self.target.checksum(&file.target_key, &self.permit).await?;
            if found != expected {
                return Err(self.blame(file, found, expected).await);
            }
        }
        self.check_still_unchanged(file, passed.is_some()).await
    }

    /// Looks at the source again, unless all that was read came under its strong entity tag: then it is of the version that
    /// was planned, whatever became of the source since.
    async fn check_still_unchanged(&self, file: &FileCopy, is_streamed: bool) -> Result<(), Fault> {
        if is_streamed && file.source.entity_tag().is_some() {
            return Ok(());
        }
        let after = self.source.head(&file.source_key).await?;
        self.check_unchanged(file, after.as_ref())
    }

    /// Says whose fault a wrong checksum is: the source's, for ever, or that of the way it took.
    async fn blame(&self, file: &FileCopy, found: Checksum, expected: Checksum) -> Fault {
        match self.source.checksum(&file.source_key, &self.permit).await {
            Err(fault) => fault,
            Ok(source) if source != expected => self.altered(file, source, expected),
            Ok(_) => self.corrupted(file, &format!("its CRC32C is {:08x}, not {:08x}", found.crc32c, expected.crc32c)),
        }
    }

    fn altered(&self, file: &FileCopy, found: Checksum, expected: Checksum) -> Fault {
        Fault::Permanent(format!(
            "source object {} is altered: {} bytes with CRC32C {:08x}, where the snapshot has {} bytes with {:08x}; \
             restore it, or take the snapshot again",
            self.source.uri(&file.source_key),
            found.size_bytes,
            found.crc32c,
            expected.size_bytes,
            expected.crc32c,
        ))
    }

    fn corrupted(&self, file: &FileCopy, what: &str) -> Fault {
        let (source, target) = (self.source.uri(&file.source_key), self.target.uri(&file.target_key));
        Fault::Transient(format!("the copy {target} of {source} is not what its source is: {what}; it is copied again"))
    }

    /// A source is immutable: one that changed while it was copied is no source.
    fn check_unchanged(&self, file: &FileCopy, after: Option<&Meta>) -> Result<(), Fault> {
        match after {
            Some(after) if *after == file.source => Ok(()),
            Some(_) => Err(self.written_to(file)),
            None => Err(Fault::Permanent(format!(
                "source object {} vanished while it was copied; restore it, then submit a new job",
                self.source.uri(&file.source_key)
            ))),
        }
    }

    fn written_to(&self, file: &FileCopy) -> Fault {
        Fault::Permanent(format!(
            "source object {} was written to while it was copied; stop its writer, then take the snapshot again",
            self.source.uri(&file.source_key)
        ))
    }
}
