//! The rows as of one moment: made without reading, shared by threads, valid for as long as anyone holds it.

use super::RowsError;
use super::batch::is_empty;
use super::generation::{APPLIED, Generation, unseal};
use super::reading::{self, Cursor};
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::Read;
use rocksdb::ReadOptions;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

type Snapshot<'a> = rocksdb::Snapshot<'a>;

self_cell::self_cell! {
    /// A RocksDB snapshot borrows its database; here the two travel together.
    struct Moment {
        owner: Arc<Generation>,
        #[covariant]
        dependent: Snapshot,
    }
}

/// A consistent view of the rows. Reads cannot fail one by one: after the last, ask `check_error`, and throw away
/// what was read where it answers an error.
pub struct RowsView {
    moment: Moment,
    error: OnceLock<RowsError>,
}

impl RowsView {
    pub(crate) fn new(generation: Arc<Generation>) -> Self {
        Self { moment: Moment::new(generation, |owner| owner.db().snapshot()), error: OnceLock::new() }
    }

    /// Index of the last entry that was applied at that moment.
    pub fn applied_index(&self) -> Option<u64> {
        let value = self.generation().db().get_opt(APPLIED, &self.options());
        let value = self.remember(value.map_err(|error| self.generation().engine_error(error)));
        value.and_then(unseal).map(|(index, _)| index)
    }

    /// The first error of a read, if there was one.
    pub fn check_error(&self) -> Result<(), RowsError> {
        self.error.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn generation(&self) -> &Generation {
        self.moment.borrow_owner()
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.moment.borrow_dependent());
        options
    }

    fn collect(&self, from: &Bound<Key>, to: &Key, rows_max: usize) -> Result<Vec<(Key, Row)>, RowsError> {
        let mut cursor = Cursor::new(self.generation(), self.options(), from, to);
        let mut found = Vec::new();
        while found.len() < rows_max
            && let Some(key) = cursor.key()?
        {
            let row = cursor.row(&key)?;
            found.push((key, row));
            cursor.next();
        }
        Ok(found)
    }

    fn remember<T: Default>(&self, read: Result<T, RowsError>) -> T {
        read.unwrap_or_else(|error| {
            self.error.get_or_init(|| error);
            T::default()
        })
    }
}

impl Read for RowsView {
    fn get(&self, key: &Key) -> Option<Row> {
        self.remember(reading::get(self.generation(), &self.options(), key))
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        if is_empty(&from, to) {
            return Vec::new();
        }
        self.remember(self.collect(&from, to, rows_max))
    }
}
