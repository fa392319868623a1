//! Raft's log: entries by index, readable once appended, durable once a group sync has covered them.
//!
//! Appends go to the buffer of RocksDB's WAL; one thread syncs it and then completes every waiting callback, so
//! callers that wait at the same time share one sync. Truncations and purges lie in the same WAL, in order. Entries
//! are opaque bytes, each followed by a CRC32C over its index and itself.

mod entry;
mod flusher;
mod mark;
mod recent;
mod verify;

use self::flusher::Flusher;
use self::mark::Mark;
use self::recent::Recent;
use crate::disk::Disk;
use crate::files::{FileError, next_step_of_engine};
use crate::options::Engine;
use bytes::Bytes;
use ferry_planted::Bug;
use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) use verify::{LogOpenError, Promised};

/// The log cannot be read or written; raft stops the node on it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// RocksDB refused, naming the file.
    #[error(
        "the raft log in {} failed: {source}; {}",
        folder.display(),
        next_step_of_engine(source)
    )]
    Engine {
        /// Where the log is.
        folder: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// The checksum of an entry does not fit.
    #[error(
        "entry {index} of the raft log in {} is damaged: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        folder.display()
    )]
    Damaged {
        /// Where the log is.
        folder: PathBuf,
        /// Which entry.
        index: u64,
    },
    /// An entry is not there though later ones are.
    #[error(
        "entry {index} of the raft log in {} is missing: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        folder.display()
    )]
    Missing {
        /// Where the log is.
        folder: PathBuf,
        /// Which entry.
        index: u64,
    },
    /// The note of what is durable cannot be written.
    #[error(transparent)]
    Mark(#[from] FileError),
}

/// Called once the group sync that covers it has ended.
pub type Durable = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The log of one node.
pub struct Log {
    inner: Arc<Inner>,
    flusher: Flusher,
}

/// What the callers and the flusher share.
struct Inner {
    folder: PathBuf,
    disk: Disk,
    db: DB,
    end: Mutex<End>,
    /// Changed only with `end` locked.
    recent: Mutex<Recent>,
    /// Held during a sync.
    syncing: Mutex<()>,
    /// The first failed write or sync: what followed it may be lost, whatever a later sync says.
    failed: OnceLock<LogError>,
}

/// Where the log ends, and how much of it is known to be durable.
struct End {
    /// Index of the last entry, or of the last purged one where there is none.
    last: Option<u64>,
    /// Grows with each truncation, so that a sync begun before one does not raise the mark after it.
    truncations: u64,
    mark: Mark,
}

const META: &str = "meta";
const LOG: &str = "log";
const PURGED: &[u8] = b"purged";
const COMMITTED: &[u8] = b"committed";

impl Log {
    /// Opens the log in `folder`, or makes a new one, and reads it through once.
    pub(crate) fn open(folder: &Path, mark: &Path, engine: &Engine) -> Result<(Self, Promised), LogOpenError> {
        let options = engine.log_options();
        let families = [META, LOG].map(|name| (name, engine.log_family_options()));
        let db = DB::open_cf_with_opts(&options, folder, families)
            .map_err(|source| LogOpenError::Engine { folder: folder.to_path_buf(), source })?;
        let mark = Mark::open(mark)?;
        let end = End { last: None, truncations: 0, mark };
        let (folder, disk) = (folder.to_path_buf(), engine.disk().clone());
        let inner = Inner {
            folder,
            disk,
            db,
            end: Mutex::new(end),
            recent: Mutex::default(),
            syncing: Mutex::default(),
            failed: OnceLock::new(),
        };
        let promised = verify::verify(&inner)?;
        inner.end().last = promised.end;
        let inner = Arc::new(inner);
        let flusher = Flusher::start(Arc::clone(&inner))?;
        Ok((Self { inner, flusher }, promised))
    }

    /// Appends entries, in order; they can be read on return and are durable when `when_durable` says so.
    pub fn append(&self, entries: Vec<(u64, Vec<u8>)>) -> Result<(), LogError> {
        let Some(last) = entries.last().map(|(index, _)| *index) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        let family = self.inner.family(LOG);
        let sealed: Vec<(u64, Bytes)> =
            entries.into_iter().map(|(index, bytes)| (index, entry::seal(index, bytes).into())).collect();
        for (index, value) in &sealed {
            batch.put_cf(family, entry::key(*index), value);
        }
        let mut end = self.inner.end();
        self.inner.write(batch)?;
        end.last = Some(last);
        let mut recent = self.inner.recent();
        for (index, value) in sealed {
            recent.push(index, entry::without_checksum(&value));
        }
        Ok(())
    }

    /// Calls back after the next group sync, which covers all that was appended before this call.
    pub fn when_durable(&self, done: Durable) {
        // What a cluster is made of is synced, so that it comes back and shows what it has lost.
        if ferry_planted::is(Bug::LogNotSynced) && self.inner.end().last > Some(50) {
            return done(Ok(()));
        }
        self.flusher.join(done);
    }

    /// Makes durable all that was appended before this call.
    pub fn sync(&self) -> Result<(), LogError> {
        self.inner.sync()
    }

    /// Entries from index zero on that a sync made durable.
    #[cfg(test)]
    pub(crate) fn durable(&self) -> u64 {
        self.inner.end().mark.entries()
    }

    /// Entries from `from` on and before `to_exclusive`, about `bytes_max` bytes of them, but at least one where
    /// there is one. Entries that were purged are left out.
    pub fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, LogError> {
        if let Some(recent) = self.inner.recent().read(from, to_exclusive, bytes_max) {
            return Ok(recent);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(entry::key(to_exclusive));
        let mut cursor = self.inner.db.raw_iterator_cf_opt(self.inner.family(LOG), options);
        cursor.seek(entry::key(from));
        let mut entries: Vec<(u64, Bytes)> = Vec::new();
        let mut bytes_read = 0;
        while let Some((key, value)) = cursor.item() {
            let (index, bytes) = self.inner.unseal(key, value)?;
            if let Some((before, _)) = entries.last()
                && before + 1 != index
            {
                return Err(LogError::Missing { folder: self.inner.folder.clone(), index: before + 1 });
            }
            bytes_read += bytes.len();
            entries.push((index, bytes.into()));
            if bytes_read >= bytes_max {
                break;
            }
            cursor.next();
        }
        cursor.status().map_err(|source| self.inner.engine_error(source))?;
        Ok(entries)
    }

    /// The last entry; `None` where there is none, or where all were purged.
    pub fn last(&self) -> Result<Option<(u64, Vec<u8>)>, LogError> {
        let mut cursor = self.inner.db.raw_iterator_cf(self.inner.family(LOG));
        cursor.seek_to_last();
        let last = cursor.item().map(|(key, value)| self.inner.unseal(key, value)).transpose()?;
        cursor.status().map_err(|source| self.inner.engine_error(source))?;
        Ok(last)
    }

    /// Removes every entry after `index`, all of them for `None`; later appends stay behind it in the WAL.
    pub fn truncate_after(&self, index: Option<u64>) -> Result<(), LogError> {
        let mut end = self.inner.end();
        let purged = self.inner.meta(PURGED)?.map(|(purged, _)| purged);
        let last = index.max(purged).min(end.last);
        end.truncations += 1;
        // First the mark: a truncation that is durable under a mark that is not lowered would look like a loss.
        end.mark.lower(count(last))?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.inner.family(LOG), entry::key(count(index)), entry::key(u64::MAX));
        self.inner.write(batch)?;
        end.last = last;
        self.inner.recent().truncate_from(count(index));
        Ok(())
    }

    /// Removes the entries up to and including `up_to`, and keeps `marker` in their place.
    pub fn purge(&self, up_to: u64, marker: Vec<u8>) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.inner.family(LOG), entry::key(0), entry::key(up_to + 1));
        batch.put_cf(self.inner.family(META), PURGED, entry::seal_marker(up_to, marker));
        let mut end = self.inner.end();
        self.inner.write(batch)?;
        end.last = end.last.max(Some(up_to));
        self.inner.recent().purge_before(up_to + 1);
        Ok(())
    }

    /// The marker of the last purge.
    pub fn purged(&self) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.inner.meta(PURGED)?.map(|(_, marker)| marker))
    }

    /// Notes how far the log is committed: durable with the next sync, which is soon enough.
    pub fn save_committed(&self, index: u64, marker: Vec<u8>) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.inner.family(META), COMMITTED, entry::seal_marker(index, marker));
        self.inner.write(batch)
    }

    /// The marker last saved.
    pub fn committed(&self) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.inner.meta(COMMITTED)?.map(|(_, marker)| marker))
    }
}

/// Entries up to and including `last`, counted from index zero.
fn count(last: Option<u64>) -> u64 {
    last.map_or(0, |index| index + 1)
}

impl Inner {
    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("the column family was opened with the database")
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), LogError> {
        if let Some(failed) = self.failed.get() {
            return Err(failed.clone());
        }
        let written = self.disk.during("writing to the raft log", || self.db.write(batch));
        written.map_err(|source| self.fail(self.engine_error(source)))
    }

    /// One sync at a time: the system tells of data that it lost only once, so a sync that began before the first
    /// failure was noted could say that all is well. After a failure RocksDB is not asked again.
    fn sync(&self) -> Result<(), LogError> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = self.failed.get() {
            return Err(failed.clone());
        }
        self.disk.during("syncing the raft log", || self.try_sync()).map_err(|error| self.fail(error))
    }

    /// Notes the first failure, which every later write and sync answers with.
    fn fail(&self, error: LogError) -> LogError {
        self.failed.get_or_init(|| error).clone()
    }

    fn try_sync(&self) -> Result<(), LogError> {
        let (covered, truncations) = {
            let end = self.end();
            (count(end.last), end.truncations)
        };
        self.db.flush_wal(true).map_err(|source| self.engine_error(source))?;
        let mut end = self.end();
        if end.truncations == truncations {
            end.mark.raise(covered)?;
        }
        Ok(())
    }

    fn unseal(&self, key: &[u8], value: &[u8]) -> Result<(u64, Vec<u8>), LogError> {
        let index = entry::index(key);
        match entry::unseal(index, value) {
            Some(bytes) => Ok((index, bytes.to_vec())),
            None => Err(LogError::Damaged { folder: self.folder.clone(), index }),
        }
    }

    fn meta(&self, name: &[u8]) -> Result<Option<(u64, Vec<u8>)>, LogError> {
        let value = self.db.get_cf(self.family(META), name).map_err(|source| self.engine_error(source))?;
        Ok(value.and_then(entry::unseal_marker))
    }

    fn engine_error(&self, source: rocksdb::Error) -> LogError {
        LogError::Engine { folder: self.folder.clone(), source }
    }
}
