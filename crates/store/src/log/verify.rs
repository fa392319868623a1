//! The look at a log when it is opened: every entry is read, and a log that lost what was promised is refused.
//!
//! A tail that was never synced may be gone, or be there in part, after power loss: it is cut, for nobody relied on
//! it. What the mark or the committed index says was durable must be there.

use super::{COMMITTED, Inner, LOG, LogError, PURGED, count, entry};
use crate::files::FileError;
use rocksdb::{ReadOptions, WriteBatch};
use std::path::PathBuf;

/// A log that cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LogOpenError {
    /// RocksDB refused.
    #[error("{source}")]
    Engine { folder: PathBuf, source: rocksdb::Error },
    /// A file beside it.
    #[error(transparent)]
    File(#[from] FileError),
    /// An entry is damaged, or cannot be read.
    #[error(transparent)]
    Entry(#[from] LogError),
    /// Entries are gone.
    #[error("the raft log ends before entry {lost}, though {promise}")]
    Lost { folder: PathBuf, lost: u64, promise: &'static str },
}

/// What a log holds; everything before `first` was purged.
pub(crate) struct Promised {
    /// Index of the first entry that is or will be there.
    pub(crate) first: u64,
    /// Index of the last entry, or of the last purged one.
    pub(crate) end: Option<u64>,
}

pub(super) fn verify(log: &Inner) -> Result<Promised, LogOpenError> {
    let purged = log.meta(PURGED)?.map(|(index, _)| index);
    let (first, last) = read_through(log, count(purged))?;
    let end = last.max(purged);
    let committed = count(log.meta(COMMITTED)?.map(|(index, _)| index));
    let durable = log.end().mark.entries();
    for (entries, promise) in [(durable, "it was synced to the disk"), (committed, "it was committed")] {
        if count(end) < entries {
            return Err(LogOpenError::Lost { folder: log.folder.clone(), lost: count(end), promise });
        }
    }
    cut_after(log, end)?;
    Ok(Promised { first: first.unwrap_or(count(purged)), end })
}

/// The first entry and the last of the unbroken run that begins with it.
fn read_through(log: &Inner, from: u64) -> Result<(Option<u64>, Option<u64>), LogOpenError> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    let mut cursor = log.db.raw_iterator_cf_opt(log.family(LOG), options);
    cursor.seek(entry::key(from));
    let (mut first, mut last) = (None, None);
    while let Some((key, value)) = cursor.item() {
        let index = entry::index(key);
        if last.is_some_and(|last| last + 1 != index) {
            break;
        }
        if entry::unseal(index, value).is_none() {
            return Err(LogError::Damaged { folder: log.folder.clone(), index }.into());
        }
        first = first.or(Some(index));
        last = Some(index);
        cursor.next();
    }
    cursor.status().map_err(|source| log.engine_error(source))?;
    Ok((first, last))
}

/// Removes what lies behind a gap: the gap was not synced, so neither was anything after it.
fn cut_after(log: &Inner, end: Option<u64>) -> Result<(), LogError> {
    let mut cursor = log.db.raw_iterator_cf(log.family(LOG));
    cursor.seek(entry::key(count(end)));
    cursor.status().map_err(|source| log.engine_error(source))?;
    if cursor.valid() {
        tracing::warn!(folder = %log.folder.display(), entries = count(end), "cutting a torn tail off the raft log");
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(log.family(LOG), entry::key(count(end)), entry::key(u64::MAX));
        log.write(batch)?;
    }
    Ok(())
}
