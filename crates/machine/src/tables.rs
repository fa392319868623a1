//! Access to rows, and its in-memory form. The machine reads and writes through these two traits alone.
//!
//! Reads and writes cannot fail here: an implementation over a disk remembers its first error and refuses to commit,
//! which stops the node. What the machine decided on a failed read is then never seen.

use crate::key::Key;
use crate::row::Row;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows as of one moment.
pub trait Read {
    /// The row at a key.
    fn get(&self, key: &Key) -> Option<Row>;

    /// Rows with `from <= key` (or `from < key`) `< to`, in the order of their keys, at most `rows_max`.
    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)>;
}

/// Rows that can be changed; reads see earlier writes.
pub trait Tables: Read {
    /// Sets the row at a key.
    fn put(&mut self, key: Key, row: Row);

    /// Removes the row at a key, if there is one.
    fn delete(&mut self, key: &Key);
}

/// Rows in memory, for tests and simulation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    rows: BTreeMap<Key, Row>,
}

impl Memory {
    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, &Row)> {
        self.rows.iter()
    }
}

impl Read for Memory {
    fn get(&self, key: &Key) -> Option<Row> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        let start = match &from {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &Key::Cluster,
        };
        if start >= to {
            return Vec::new();
        }
        let range = (from, Bound::Excluded(to.clone()));
        self.rows.range(range).take(rows_max).map(|(key, row)| (key.clone(), row.clone())).collect()
    }
}

impl Tables for Memory {
    fn put(&mut self, key: Key, row: Row) {
        self.rows.insert(key, row);
    }

    fn delete(&mut self, key: &Key) {
        self.rows.remove(key);
    }
}
