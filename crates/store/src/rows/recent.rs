//! The rows that were written last, decoded: what one command changed the next one asks for. Only the one writer at a time
//! reads them; views read RocksDB.

use ferry_machine::key::Key;
use ferry_machine::row::Row;
use std::collections::BTreeMap;

/// Bytes of the rows in either half, as they are written; decoded they take more.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Rows as they are now. When the younger half is full it becomes the older one, and the older one is forgotten.
#[derive(Default)]
pub(super) struct Recent {
    younger: BTreeMap<Key, Row>,
    older: BTreeMap<Key, Row>,
    /// Of all that was put into the younger half.
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, key: &Key) -> Option<&Row> {
        self.younger.get(key).or_else(|| self.older.get(key))
    }

    /// A row of so many bytes was put.
    pub(super) fn put(&mut self, key: Key, row: Row, bytes: usize) {
        if self.bytes + bytes > BYTES_MAX {
            self.older = std::mem::take(&mut self.younger);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.younger.insert(key, row);
    }

    /// A row was deleted.
    pub(super) fn delete(&mut self, key: &Key) {
        self.younger.remove(key);
        self.older.remove(key);
    }

    /// The rows are others now, or nobody knows which.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Commands about the same job, task or worker follow each other; other rows are read once, or in ranges.
pub(super) fn is_asked_for_again(key: &Key) -> bool {
    match key {
        Key::Cluster | Key::Job(_) | Key::Task(_) | Key::Request(_) | Key::Worker(_) => true,
        Key::Targets(_)
        | Key::JobTargets(..)
        | Key::WorkerName(_)
        | Key::Stage(..)
        | Key::Due(..)
        | Key::Dispatch(..)
        | Key::Queue(..)
        | Key::Assignment(..)
        | Key::LostWorker(_)
        | Key::Event(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Recent};
    use ferry_machine::id::JobId;
    use ferry_machine::key::Key;
    use ferry_machine::row::{Request, Row};

    /// Rows of which a half holds this many.
    const HALF: usize = 2_000;

    fn put(recent: &mut Recent, number: usize) {
        let (key, row) = request(number);
        recent.put(key, row, BYTES_MAX / HALF);
    }

    fn request(number: usize) -> (Key, Row) {
        let row = Request { hash: Vec::new(), job: JobId(number as i64), expires_at: None };
        (Key::Request((number % 3_000).to_string()), Row::Request(row))
    }

    #[test]
    fn the_last_rows_are_known_as_they_were_put_last_and_never_more_than_two_halves() {
        let mut recent = Recent::default();
        for number in 0..10_000 {
            put(&mut recent, number);
            for known in number.saturating_sub(HALF - 1)..=number {
                let (key, row) = request(known);
                assert!(number % 500 != 0 || recent.get(&key) == Some(&row), "{known} of {number}");
            }
            assert!(recent.younger.len() <= HALF + 1 && recent.older.len() <= HALF + 1);
        }
        recent.delete(&request(9_999).0);
        assert_eq!(recent.get(&request(9_999).0), None);
    }

    #[test]
    fn a_row_that_was_deleted_is_unknown_also_where_an_older_one_was_known() {
        let mut recent = Recent::default();
        (0..=HALF).for_each(|number| put(&mut recent, number));
        let (key, old) = request(0);
        assert_eq!(recent.get(&key), Some(&old), "in the older half");
        put(&mut recent, 3_000);
        recent.delete(&key);
        assert_eq!(recent.get(&key), None);
    }
}
