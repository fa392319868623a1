//! One side of a copy: single requests to its store, each bounded in time, with its errors read as that side means them.
//! A local folder is always reached through [`Folder`], never by path.

mod looks;

use crate::bandwidth::Turns;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::writes::{GoesOn, Writes};
use ferry_objects::{Checksum, Folder, FolderError, Location, Reason, StoreError, blocking};
use looks::head_local;
use nix::sys::stat::FileStat;
use object_store::{GetOptions, GetRange, GetResult, ObjectStoreExt};
use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much is read at a time when only a checksum is wanted.
const READ_BYTES: usize = 1 << 20;

/// What a store says of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Its size.
    pub(crate) size_bytes: u64,
    /// Changes when the object is written again.
    pub(crate) version: Version,
}

/// What tells an object from what is written in its place later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The store can be asked for the object under this tag, and for no other.
    EntityTag(String),
    /// It can only be compared, before and after.
    Compared(String),
}

impl Meta {
    /// The tag that a request can be conditioned on.
    pub(crate) fn entity_tag(&self) -> Option<&str> {
        match &self.version {
            Version::EntityTag(tag) => Some(tag),
            Version::Compared(_) => None,
        }
    }
}

/// One side of a copy.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    location: Location,
    folder: Option<Arc<Folder>>,
    side: Side,
    request_timeout: Duration,
    writes: Writes,
    /// By the limit of the job; unset: as they come.
    turns: Option<Turns>,
}

impl Place {
    pub(crate) fn new(location: Location, side: Side, request_timeout: Duration) -> Place {
        let folder = location.local_root().map(|root| Arc::new(Folder::new(root)));
        Place { location, folder, side, request_timeout, writes: Writes::default(), turns: None }
    }

    /// The same place, whose writing requests count in `writes`.
    pub(crate) fn counted_in(self, writes: &Writes) -> Place {
        Place { writes: writes.clone(), ..self }
    }

    /// The same place, whose requests take their turns there as well.
    pub(crate) fn paced_by(self, turns: Turns) -> Place {
        Place { turns: Some(turns), ..self }
    }

    /// How long one request may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The folder, when the place is on this machine.
    pub(crate) fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// The object's URI, for messages.
    pub(crate) fn uri(&self, key: &str) -> String {
        self.location.object_uri(key)
    }

    /// What the object is; `None` when there is none.
    pub(crate) async fn head(&self, key: &str) -> Result<Option<Meta>, Fault> {
        let Some(folder) = self.folder.clone() else { return self.head_remote(key).await };
        let (side, key) = (self.side, key.to_owned());
        blocking(move || head_local(&mut folder.walk(), &key, side)).await
    }

    async fn head_remote(&self, key: &str) -> Result<Option<Meta>, Fault> {
        match self.bounded(key, self.location.head(key)).await {
            Ok(meta) => Ok(Some(meta_of(&meta))),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// Begins to read a range of the object, provided that it is what `meta` says where the store can tell: `None` when it
    /// is not. What the store's client reads again after a broken connection is under the same condition, so that no two
    /// versions are mixed.
    pub(crate) async fn get_unchanged(
        &self,
        key: &str,
        meta: &Meta,
        range: Range<u64>,
    ) -> Result<Option<GetResult>, Fault> {
        let path = self.path(key)?;
        // An empty object has no range that could be asked for.
        let range = (range != (0..meta.size_bytes)).then_some(GetRange::Bounded(range));
        let options = GetOptions::new().with_if_match(meta.entity_tag()).with_range(range);
        match self.ask(key, self.location.store().get_opts(&path, options)).await {
            // Some servers answer with what is there now, whatever the condition was.
            Ok(result) if meta_of(&result.meta) != *meta => Ok(None),
            Ok(result) => Ok(Some(result)),
            Err(StoreError::Answer { reason: Reason::Precondition, .. }) => Ok(None),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// The object's size and CRC32C, by reading all of it.
    pub(crate) async fn checksum(&self, key: &str, permit: &Permit) -> Result<Checksum, Fault> {
        let Some(folder) = self.folder.clone() else {
            let read = permit.unless_ended(self.location.checksum(key)).await?;
            return read.map_err(|error| self.fault(&error));
        };
        let (side, key, permit) = (self.side, key.to_owned(), permit.clone());
        blocking(move || {
            let file = folder.open(&key).map_err(|error| Fault::of_folder(&error, side))?;
            checksum_of(&file, &permit, |error| io_fault(&folder, &key, error, side))
        })
        .await
    }

    /// Deletes the object; what is not there is deleted already.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), Fault> {
        if let Some(folder) = self.folder.clone() {
            let (side, key) = (self.side, key.to_owned());
            return blocking(move || folder.delete(&key).map_err(|error| Fault::of_folder(&error, side))).await;
        }
        let path = self.path(key)?;
        match self.write(key, self.location.store().delete(&path)).await {
            Ok(()) | Err(StoreError::Missing { .. }) => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// What an answer of this side's store means.
    pub(crate) fn fault(&self, error: &StoreError) -> Fault {
        Fault::of_store(error, self.side)
    }

    /// The object's path in its store.
    pub(crate) fn path(&self, key: &str) -> Result<object_store::path::Path, Fault> {
        self.location.path(key).map_err(|error| self.fault(&error))
    }

    /// One request about `key`, bounded in time.
    pub(crate) async fn call<T>(
        &self,
        key: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Fault> {
        self.ask(key, request).await.map_err(|error| self.fault(&error))
    }

    /// One request that makes an object appear under `key`, or disappear: a put, a copy inside the store, the completion of
    /// an upload, a delete. Each goes through here, because one that is given up without an answer goes on in the store.
    pub(crate) async fn write<T>(
        &self,
        key: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let request = async { request.await.map_err(|source| StoreError::of(self.uri(key), &source)) };
        self.write_bounded(key, request).await
    }

    /// The same for requests of which the location itself says what an answer means.
    pub(crate) async fn write_bounded<T>(
        &self,
        key: &str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.turn_of_job(key).await?;
        // Whoever waits for the end of a lease waits for one request more: the turn has to come within its time, and what
        // was never sent is not counted.
        let began = Instant::now();
        let turn = async {
            self.location.turn().await;
            self.writes.begin().await
        };
        let Ok(begun) = tokio::time::timeout(self.request_timeout, turn).await else {
            return Err(StoreError::no_turn(self.uri(key), self.request_timeout));
        };
        let left = self.request_timeout.saturating_sub(began.elapsed());
        // A process that stood still may find its turn when its time is over: even then it would be sent.
        if left.is_zero() {
            return Err(StoreError::no_turn(self.uri(key), self.request_timeout));
        }
        let answer = begun.send(self.within(left, key, request)).await;
        self.location.keep_pace(&answer);
        answer
    }

    /// The same for what is not to wait behind other requests: an abort that comes late leaves what is paid for.
    pub(crate) async fn at_once<T>(
        &self,
        key: &str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.unless_silent(key, request).await
    }

    /// The store goes on with a write that it has answered already.
    pub(crate) fn goes_on(&self) -> GoesOn {
        self.writes.goes_on()
    }

    /// The same as `call`, where the answer decides what is done next.
    pub(crate) async fn ask<T>(
        &self,
        key: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let request = async { request.await.map_err(|source| StoreError::of(self.uri(key), &source)) };
        self.bounded(key, request).await
    }

    /// The same for requests of which the location itself says what an answer means.
    pub(crate) async fn bounded<T>(
        &self,
        key: &str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.turn_of_job(key).await?;
        // The time that the store's pace takes is not the store's silence.
        self.location.turn().await;
        let answer = self.unless_silent(key, request).await;
        self.location.keep_pace(&answer);
        answer
    }

    /// Waits for a turn by the limit of the job. An attempt that has ended meanwhile gets none, and sends nothing.
    async fn turn_of_job(&self, key: &str) -> Result<(), StoreError> {
        let Some(turns) = &self.turns else { return Ok(()) };
        let began = Instant::now();
        turns.next().await.map_err(|_| StoreError::no_turn(self.uri(key), began.elapsed()))
    }

    /// The next part of an answer whose request was paced when it was sent.
    pub(crate) async fn next_part<T>(
        &self,
        key: &str,
        part: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Fault> {
        let part = async { part.await.map_err(|source| StoreError::of(self.uri(key), &source)) };
        self.unless_silent(key, part).await.map_err(|error| self.fault(&error))
    }

    async fn unless_silent<T>(
        &self,
        key: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.within(self.request_timeout, key, answer).await
    }

    async fn within<T>(
        &self,
        time: Duration,
        key: &str,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::silent(self.uri(key), time)),
        }
    }
}

fn meta_of_stat(stat: &FileStat) -> Meta {
    Meta {
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        version: version_of_file(stat.st_ino, stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The same file has the same version as long as nobody writes to it.
fn version_of_file(inode: u64, mtime_s: i64, mtime_ns: i64) -> Version {
    Version::Compared(format!("{inode}-{mtime_s}.{mtime_ns}"))
}

/// What an open file is; the same file gives the same answer as long as nobody writes to it.
pub(crate) fn meta_of_file(file: &File) -> std::io::Result<Meta> {
    let meta = file.metadata()?;
    let version = version_of_file(meta.ino(), meta.mtime(), meta.mtime_nsec());
    Ok(Meta { size_bytes: meta.len(), version })
}

/// What a store says of an object.
pub(crate) fn meta_of(meta: &object_store::ObjectMeta) -> Meta {
    let version = match &meta.e_tag {
        // A weak tag may stay when the content changes a little, and never meets a condition (RFC 9110, 13.1.1).
        Some(tag) if tag.starts_with("W/") => Version::Compared(format!("{tag} {}", meta.last_modified.to_rfc3339())),
        Some(tag) => Version::EntityTag(tag.clone()),
        None => Version::Compared(meta.last_modified.to_rfc3339()),
    };
    Meta { size_bytes: meta.size, version }
}

/// The checksum of a file's whole content, wherever its cursor is.
pub(crate) fn checksum_of(
    file: &File,
    permit: &Permit,
    fault: impl Fn(&std::io::Error) -> Fault,
) -> Result<Checksum, Fault> {
    let mut checksum = Checksum::default();
    let size_bytes = file.metadata().map_err(|error| fault(&error))?.len();
    let mut buffer = vec![0; usize::try_from(size_bytes).map_or(READ_BYTES, |size| size.clamp(1, READ_BYTES))];
    loop {
        permit.check()?;
        match file.read_at(&mut buffer, checksum.size_bytes) {
            Ok(0) => return Ok(checksum),
            Ok(count) => checksum.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(fault(&error)),
        }
    }
}

/// An error of the standard library on a file below a folder.
pub(crate) fn io_fault(folder: &Folder, key: &str, error: &std::io::Error, side: Side) -> Fault {
    Fault::of_folder(&FolderError::of_io(&folder.path(key), error), side)
}
