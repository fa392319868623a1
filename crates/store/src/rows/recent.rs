//! The rows that were written last, decoded: what one command changed the next one asks for. Only the one writer at a time
//! reads them; views read RocksDB.

use ferry_machine::key::Key;
use ferry_machine::row::Row;
use std::collections::BTreeMap;

/// Rows in either half; a task of ten segments takes about a kilobyte.
const ROWS_MAX: usize = 2_048;

/// Rows as they are now. When the younger half is full it becomes the older one, and the older one is forgotten.
#[derive(Default)]
pub(super) struct Recent {
    younger: BTreeMap<Key, Row>,
    older: BTreeMap<Key, Row>,
}

impl Recent {
    pub(super) fn get(&self, key: &Key) -> Option<&Row> {
        self.younger.get(key).or_else(|| self.older.get(key))
    }

    /// A row was put, or deleted.
    pub(super) fn note(&mut self, key: &Key, row: Option<&Row>) {
        match row.filter(|_| is_asked_for_again(key)) {
            Some(row) => {
                if self.younger.len() == ROWS_MAX {
                    self.older = std::mem::take(&mut self.younger);
                }
                self.younger.insert(key.clone(), row.clone());
            }
            None => {
                self.younger.remove(key);
                self.older.remove(key);
            }
        }
    }

    /// The rows are others now, or nobody knows which.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Commands about the same job, task or worker follow each other; other rows are read once, or in ranges.
fn is_asked_for_again(key: &Key) -> bool {
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
    use super::{ROWS_MAX, Recent};
    use ferry_machine::id::{JobId, WorkerId};
    use ferry_machine::key::Key;
    use ferry_machine::row::{Request, Row};

    fn request(number: usize) -> (Key, Row) {
        let row = Request { hash: Vec::new(), job: JobId(number as i64), expires_at: None };
        (Key::Request((number % 3_000).to_string()), Row::Request(row))
    }

    #[test]
    fn the_last_rows_are_known_as_they_were_put_last_and_never_more_than_two_halves() {
        let mut recent = Recent::default();
        for number in 0..10_000 {
            let (key, row) = request(number);
            recent.note(&key, Some(&row));
            for known in number.saturating_sub(ROWS_MAX - 1)..=number {
                let (key, row) = request(known);
                assert!(number % 500 != 0 || recent.get(&key) == Some(&row), "{known} of {number}");
            }
            assert!(recent.younger.len() <= ROWS_MAX && recent.older.len() <= ROWS_MAX);
        }
        let (key, _) = request(9_999);
        recent.note(&key, None);
        assert_eq!(recent.get(&key), None);
    }

    #[test]
    fn a_row_that_was_deleted_is_unknown_also_where_an_older_one_was_known() {
        let mut recent = Recent::default();
        let (key, old) = request(0);
        recent.note(&key, Some(&old));
        (1..=ROWS_MAX).map(request).for_each(|(key, row)| recent.note(&key, Some(&row)));
        assert_eq!(recent.get(&key), Some(&old), "in the older half");
        recent.note(&key, Some(&request(3_000).1));
        recent.note(&key, None);
        assert_eq!(recent.get(&key), None);
        let name = Key::WorkerName("w".to_owned());
        recent.note(&name, Some(&Row::WorkerName(WorkerId(1))));
        assert_eq!(recent.get(&name), None, "nobody asks for it again");
    }
}
