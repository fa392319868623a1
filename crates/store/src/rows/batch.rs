//! Changes of rows that are not written yet: reads see them, and RocksDB gets them in one write batch.
//!
//! A row that several commands of an entry change is written once. After a failed read nothing is written.

use super::RowsError;
use super::generation::{APPLIED, Generation, MEMBERSHIP, seal};
use super::reading::{self, Cursor};
use super::recent::{Recent, is_asked_for_again};
use crate::codec::{key, rows};
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::{Read, Tables};
use ferry_planted::Bug;
use rocksdb::{ReadOptions, WriteBatch, WriteOptions};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes that RocksDB's memtable takes for an entry besides its key and value, at most.
const MEMTABLE_BYTES_PER_ENTRY: usize = 100;

/// The rows with the changes of one write on top.
pub struct Batch<'a> {
    base: &'a Generation,
    /// Rows of the base that need not be read from it.
    recent: &'a mut Recent,
    /// What was put, or `None` where something was deleted.
    changes: BTreeMap<Key, Option<Row>>,
    /// The first failed read: what the machine decided on it must not be written.
    error: OnceCell<RowsError>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(base: &'a Generation, recent: &'a mut Recent) -> Self {
        Self { base, recent, changes: BTreeMap::new(), error: OnceCell::new() }
    }

    /// Writes everything, and answers about how many bytes it takes in memory.
    pub(super) fn write(self, applied: (u64, Vec<u8>), membership: Option<Vec<u8>>) -> Result<usize, RowsError> {
        if let Some(error) = self.error.into_inner() {
            return Err(error);
        }
        let mut batch = WriteBatch::default();
        if ferry_planted::is(Bug::AppliedBesideRows) {
            self.base.note_applied_beside(&seal(applied.0, applied.1.clone()))?;
        }
        batch.put(APPLIED, seal(applied.0, applied.1));
        if let Some(membership) = membership {
            batch.put(MEMBERSHIP, membership);
        }
        for (key, row) in self.changes {
            let Some(row) = row else {
                batch.delete(key::encode(&key));
                self.recent.delete(&key);
                continue;
            };
            let kept = is_asked_for_again(&key).then(|| row.clone());
            let bytes = rows::encode(row);
            batch.put(key::encode(&key), &bytes);
            if let Some(row) = kept {
                self.recent.put(key, row, bytes.len());
            }
        }
        let bytes = batch.size_in_bytes() + batch.len() * MEMTABLE_BYTES_PER_ENTRY;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.base.db().write_opt(batch, &options).map_err(|error| self.base.engine_error(error))?;
        Ok(bytes)
    }

    fn remember<T: Default>(&self, read: Result<T, RowsError>) -> T {
        read.unwrap_or_else(|error| {
            self.error.get_or_init(|| error);
            T::default()
        })
    }

    /// Merges the changes with the rows below them; of two with the same key the change counts.
    fn merge(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Result<Vec<(Key, Row)>, RowsError> {
        let mut below = Cursor::new(self.base, ReadOptions::default(), &from, to);
        let mut changes = self.changes.range((from, Bound::Excluded(to.clone()))).peekable();
        let mut merged = Vec::new();
        while merged.len() < rows_max {
            let stored = below.key()?;
            let changed = changes.next_if(|(key, _)| stored.as_ref().is_none_or(|stored| *key <= stored));
            match (changed, stored) {
                (Some((key, row)), stored) => {
                    if stored.as_ref() == Some(key) {
                        below.next();
                    }
                    merged.extend(row.clone().map(|row| (key.clone(), row)));
                }
                (None, Some(key)) => {
                    let row = below.row(&key)?;
                    merged.push((key, row));
                    below.next();
                }
                (None, None) => break,
            }
        }
        Ok(merged)
    }
}

impl Read for Batch<'_> {
    fn get(&self, key: &Key) -> Option<Row> {
        if let Some(row) = self.changes.get(key) {
            return row.clone();
        }
        if let Some(row) = self.recent.get(key) {
            return Some(row.clone());
        }
        self.remember(reading::get(self.base, &ReadOptions::default(), key))
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        if is_empty(&from, to) {
            return Vec::new();
        }
        self.remember(self.merge(from, to, rows_max))
    }
}

impl Tables for Batch<'_> {
    fn put(&mut self, key: Key, row: Row) {
        self.changes.insert(key, Some(row));
    }

    fn delete(&mut self, key: &Key) {
        self.changes.insert(key.clone(), None);
    }
}

/// Whether no key can lie in a range.
pub(super) fn is_empty(from: &Bound<Key>, to: &Key) -> bool {
    match from {
        Bound::Included(key) | Bound::Excluded(key) => key >= to,
        Bound::Unbounded => false,
    }
}
