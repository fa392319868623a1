//! Reads of rows from RocksDB, for views and batches alike: keys and rows are decoded here and nowhere else.

use super::RowsError;
use super::generation::Generation;
use crate::codec::{key, rows};
use crate::options;
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use rocksdb::{DBRawIterator, ReadOptions};
use std::ops::Bound;

/// The row at a key.
pub(super) fn get(source: &Generation, read: &ReadOptions, key: &Key) -> Result<Option<Row>, RowsError> {
    options::count_nothing();
    let found = source.db().get_pinned_opt(key::encode(key), read).map_err(|error| source.engine_error(error))?;
    found.map(|bytes| rows::decode(key, &bytes).map_err(|error| source.codec_error(error))).transpose()
}

/// Keys and rows of a range, in order.
pub(super) struct Cursor<'a> {
    source: &'a Generation,
    raw: DBRawIterator<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a Generation, mut read: ReadOptions, from: &Bound<Key>, to: &Key) -> Self {
        options::count_nothing();
        read.set_iterate_upper_bound(key::encode(to));
        let mut raw = source.db().raw_iterator_opt(read);
        raw.seek(first_key(from));
        Self { source, raw }
    }

    /// The key at which the cursor stands.
    pub(super) fn key(&self) -> Result<Option<Key>, RowsError> {
        match self.raw.key() {
            Some(bytes) => key::decode(bytes).map(Some).map_err(|error| self.source.codec_error(error)),
            None => self.raw.status().map(|()| None).map_err(|error| self.source.engine_error(error)),
        }
    }

    /// The row at which the cursor stands, which must be that of `key`.
    pub(super) fn row(&self, key: &Key) -> Result<Row, RowsError> {
        let bytes = self.raw.value().unwrap_or_default();
        rows::decode(key, bytes).map_err(|error| self.source.codec_error(error))
    }

    pub(super) fn next(&mut self) {
        self.raw.next();
    }
}

/// Encoded, the least key of the range: the successor of a key is the key with a zero behind it.
fn first_key(from: &Bound<Key>) -> Vec<u8> {
    match from {
        Bound::Included(key) => key::encode(key),
        Bound::Excluded(key) => {
            let mut bytes = key::encode(key);
            bytes.push(0);
            bytes
        }
        Bound::Unbounded => key::encode(&Key::Cluster),
    }
}
