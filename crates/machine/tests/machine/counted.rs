//! How much one command looks at: no command stalls the log however large its job.

use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::{Memory, Read, Tables};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Tables that count the rows a command reads or writes.
pub(crate) struct Counted<'a> {
    pub(crate) rows: &'a mut Memory,
    pub(crate) touched: RefCell<BTreeSet<Key>>,
    pub(crate) looks: Cell<usize>,
}

impl Read for Counted<'_> {
    fn get(&self, key: &Key) -> Option<Row> {
        self.touched.borrow_mut().insert(key.clone());
        self.looks.update(|looks| looks + 1);
        self.rows.get(key)
    }

    fn scan(&self, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<(Key, Row)> {
        let rows = self.rows.scan(from, to, rows_max);
        self.touched.borrow_mut().extend(rows.iter().map(|(key, _)| key.clone()));
        self.looks.update(|looks| looks + rows.len());
        rows
    }
}

impl Tables for Counted<'_> {
    fn put(&mut self, key: Key, row: Row) {
        self.touched.borrow_mut().insert(key.clone());
        self.rows.put(key, row);
    }

    fn delete(&mut self, key: &Key) {
        self.touched.borrow_mut().insert(key.clone());
        self.rows.delete(key);
    }
}
