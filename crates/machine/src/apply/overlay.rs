//! The changes of one command, kept beside the tables until it succeeded: a dropped overlay leaves no trace.

use crate::key::Key;
use crate::limits;
use crate::row::Row;
use crate::tables::{Read, Tables};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Tables with the changes of one command on top of them.
pub(super) struct Overlay<'a> {
    base: &'a mut dyn Tables,
    /// A row that was set, or `None` for one that was removed.
    changes: BTreeMap<Key, Option<Row>>,
    /// Every row read or written, counted where assertions are on.
    touched: RefCell<BTreeSet<Key>>,
}

impl<'a> Overlay<'a> {
    pub(super) fn new(base: &'a mut dyn Tables) -> Self {
        Self { base, changes: BTreeMap::new(), touched: RefCell::default() }
    }

    /// Writes the changes into the tables.
    pub(super) fn flush(self) {
        let touched = self.touched.borrow().len();
        debug_assert!(touched <= limits::ROWS_PER_COMMAND_MAX, "one command touched {touched} rows");
        for (key, change) in self.changes {
            match change {
                Some(row) => self.base.put(key, row),
                None => self.base.delete(&key),
            }
        }
    }

    fn touch(&self, key: &Key) {
        if cfg!(debug_assertions) {
            self.touched.borrow_mut().insert(key.clone());
        }
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &Key) -> Option<Row> {
        self.touch(key);
        match self.changes.get(key) {
            Some(change) => change.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        if let Bound::Included(key) | Bound::Excluded(key) = &from
            && key >= to
        {
            return Vec::new();
        }
        let changes: Vec<_> = self.changes.range((from.clone(), Bound::Excluded(to.clone()))).collect();
        // Each change hides at most one row of the base, so this many are enough to fill the answer.
        let below = self.base.scan(from, to, rows_max.saturating_add(changes.len()));
        let mut merged: BTreeMap<Key, Row> = below.into_iter().collect();
        for (key, change) in changes {
            match change {
                Some(row) => merged.insert(key.clone(), row.clone()),
                None => merged.remove(key),
            };
        }
        let rows: Vec<_> = merged.into_iter().take(rows_max).collect();
        rows.iter().for_each(|(key, _)| self.touch(key));
        rows
    }
}

impl Tables for Overlay<'_> {
    fn put(&mut self, key: Key, row: Row) {
        self.touch(&key);
        self.changes.insert(key, Some(row));
    }

    fn delete(&mut self, key: &Key) {
        self.touch(key);
        self.changes.insert(key.clone(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;
    use crate::id::JobId;
    use crate::key::{Key, Stage};
    use crate::row::Row;
    use crate::tables::{Memory, Read, Tables};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::ops::Bound;

    fn change(rows: &mut dyn Tables, (job, put): (i64, bool)) {
        let key = Key::Stage(Stage::Settling, JobId(job));
        if put { rows.put(key, Row::Index) } else { rows.delete(&key) }
    }

    proptest! {
        /// Reads see earlier writes, and a flush leaves the tables as if there had been no overlay.
        #[test]
        fn an_overlay_reads_and_flushes_like_the_tables_themselves(
            before in proptest::collection::vec((0_i64..20, any::<bool>()), 0..40),
            after in proptest::collection::vec((0_i64..20, any::<bool>()), 0..40),
            (from, to, rows_max) in (0_i64..20, 0_i64..21, 0_usize..25),
        ) {
            let mut base = Memory::default();
            before.iter().for_each(|one| change(&mut base, *one));
            let mut direct = base.clone();
            after.iter().for_each(|one| change(&mut direct, *one));
            let mut overlay = Overlay::new(&mut base);
            after.iter().for_each(|one| change(&mut overlay, *one));
            let key = |job| Key::Stage(Stage::Settling, JobId(job));
            for start in [Bound::Included(key(from)), Bound::Excluded(key(from)), Bound::Unbounded] {
                let read = overlay.scan(start.clone(), &key(to), rows_max);
                prop_assert_eq!(read, direct.scan(start, &key(to), rows_max));
            }
            prop_assert_eq!(overlay.get(&key(from)), direct.get(&key(from)));
            overlay.flush();
            prop_assert_eq!(base, direct);
        }
    }
}
