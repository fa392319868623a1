//! One database of rows in a folder of its own; the file CURRENT names the live one, and is replaced as a whole.

use super::{GENERATION, RowsError};
use crate::codec::CodecError;
use crate::codec::key::table;
use crate::files::{self, FileError};
use crate::options::Engine;
use ferry_planted::Bug;
use rocksdb::{DB, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Table 0 of the rows: how far they are. Each value has eight bytes at its end, the index it stands for.
pub(super) const APPLIED: &[u8] = &[0, 1];
/// Table 0 of the rows: raft's membership.
pub(super) const MEMBERSHIP: &[u8] = &[0, 2];

/// An open database of rows.
pub(crate) struct Generation {
    // Closed before its folder may be removed: fields are dropped in this order.
    db: DB,
    folder: Folder,
}

struct Folder {
    path: PathBuf,
    retired: AtomicBool,
}

impl Generation {
    /// Opens the database in a folder; only the first generation is made here.
    pub(crate) fn open(path: PathBuf, engine: &Engine, create: bool) -> Result<Self, RowsError> {
        let mut options = engine.rows_options();
        options.create_if_missing(create);
        Self::with(path, |path| DB::open(&options, path))
    }

    /// Opens the database in a folder that must not change.
    pub(crate) fn open_read_only(path: PathBuf, engine: &Engine) -> Result<Self, RowsError> {
        Self::with(path, |path| DB::open_for_read_only(&engine.rows_options(), path, false))
    }

    fn with(path: PathBuf, open: impl FnOnce(&Path) -> Result<DB, rocksdb::Error>) -> Result<Self, RowsError> {
        let db = open(&path).map_err(|source| RowsError::Engine { folder: path.clone(), source })?;
        Ok(Self { db, folder: Folder { path, retired: AtomicBool::new(false) } })
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Index and marker of the last entry applied.
    pub(crate) fn applied(&self) -> Result<Option<(u64, Vec<u8>)>, RowsError> {
        let value = self.db.get(APPLIED).map_err(|source| self.engine_error(source))?;
        let value = if ferry_planted::is(Bug::AppliedBesideRows) { self.applied_beside()?.or(value) } else { value };
        Ok(value.and_then(unseal))
    }

    /// Where a planted bug notes how far the rows are.
    fn beside(&self) -> PathBuf {
        self.path().join("applied")
    }

    pub(super) fn note_applied_beside(&self, applied: &[u8]) -> Result<(), FileError> {
        files::write_unsynced(&self.beside(), applied)
    }

    fn applied_beside(&self) -> Result<Option<Vec<u8>>, FileError> {
        files::read_optional(&self.beside())
    }

    /// The membership last written.
    pub(crate) fn membership(&self) -> Result<Option<Vec<u8>>, RowsError> {
        self.db.get(MEMBERSHIP).map_err(|source| self.engine_error(source))
    }

    /// A copy of the database in a new folder, made of links where files never change.
    pub(crate) fn checkpoint(&self, folder: &Path) -> Result<(), RowsError> {
        rocksdb::checkpoint::Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map_err(|source| self.engine_error(source))
    }

    /// What a planted bug does to an installed checkpoint.
    pub(super) fn lose_last_segment(&self) -> Result<(), RowsError> {
        let mut cursor = self.db.raw_iterator();
        cursor.seek_for_prev([table::TARGETS + 1]);
        let Some(last) = cursor.key() else { return Ok(()) };
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.delete_opt(last, &options).map_err(|source| self.engine_error(source))
    }

    /// The folder goes with the last view.
    pub(super) fn retire(&self) {
        self.folder.retired.store(true, Ordering::Release);
    }

    pub(super) fn engine_error(&self, source: rocksdb::Error) -> RowsError {
        RowsError::Engine { folder: self.folder.path.clone(), source }
    }

    pub(super) fn codec_error(&self, source: CodecError) -> RowsError {
        RowsError::Codec { folder: self.folder.path.clone(), source }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = files::remove_folder(&self.path)
        {
            tracing::warn!(%error, "an old generation of rows stays until the next start");
        }
    }
}

/// Raft's marker, then its index.
pub(super) fn seal(index: u64, mut marker: Vec<u8>) -> Vec<u8> {
    marker.extend_from_slice(&index.to_be_bytes());
    marker
}

pub(super) fn unseal(mut value: Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let index = u64::from_be_bytes(*value.last_chunk()?);
    value.truncate(value.len() - size_of::<u64>());
    Some((index, value))
}

/// Name of the live generation; `None` before the first.
pub(super) fn live_name(folder: &Path) -> Result<Option<String>, RowsError> {
    let path = folder.join("CURRENT");
    let Some(bytes) = files::read_optional(&path)? else { return Ok(None) };
    let name = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    match files::index_of(&name, GENERATION) {
        Some(_) => Ok(Some(name)),
        None => Err(RowsError::Current { path, name }),
    }
}

/// Makes a generation the live one, durably.
pub(super) fn make_live(folder: &Path, name: &str) -> Result<(), FileError> {
    files::write_atomically(&folder.join("CURRENT"), format!("{name}\n").as_bytes())
}

/// Removes every generation but the live one.
pub(super) fn remove_others(folder: &Path, live: &Path) -> Result<(), FileError> {
    for name in files::names_in(folder)? {
        let path = folder.join(&name);
        if files::index_of(&name, GENERATION).is_some() && path != live {
            files::remove_folder(&path)?;
        }
    }
    Ok(())
}
