//! The two forms of `Tables` are one: whatever a command does to rows in memory, it does to rows on the disk.

use crate::any::Dice;
use crate::open;
use ferry_machine::apply;
use ferry_machine::command::Command;
use ferry_machine::id::EventId;
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::{Memory, Read, Tables};
use ferry_machine::testing::{ID_START, next_revision, resolve, steps};
use ferry_machine::time::Stamp;
use ferry_store::Store;
use ferry_store::codec::{decode_batch, encode_batch};
use ferry_store::rows::{Batch, Rows};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::Cell;
use std::ops::Bound;
use std::sync::Arc;

const CASES: u32 = 1_000;
/// Of the one entry of a case.
const REVISION: u64 = 7;

/// The last key there is.
const LAST: Key = Key::Event(EventId::END);

/// Everything, in order.
fn all(tables: &impl Read) -> Vec<(Key, Row)> {
    let mut rows = tables.scan(Bound::Unbounded, &LAST, usize::MAX);
    rows.extend(tables.get(&LAST).map(|row| (LAST, row)));
    rows
}

/// One database for all cases: each begins by removing what the one before left.
struct Disk {
    rows: Arc<Rows>,
    index: Cell<u64>,
}

impl Disk {
    fn write<T>(&self, change: impl FnOnce(&mut Batch<'_>) -> T) -> T {
        self.index.set(self.index.get() + 1);
        self.rows.write((self.index.get(), Vec::new()), None, change).expect("written")
    }

    fn clear(&self) {
        self.write(|tables| {
            for (key, _) in all(tables) {
                tables.delete(&key);
            }
        });
    }
}

fn each_case<S: Strategy>(cases: &S, case: impl Fn(&Disk, S::Value) -> Result<(), TestCaseError>) {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { rows, .. } = open(folder.path()).expect("a new store");
    let disk = Disk { rows, index: Cell::new(0) };
    let run = |value| {
        disk.clear();
        case(&disk, value)
    };
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(CASES) })
        .run(cases, run)
        .unwrap_or_else(|error| panic!("{error}"));
}

/// A put, a delete, a read or a scan, near one of a few keys so that they meet.
fn step(tables: &mut impl Tables, keys: &[Key], dice: &mut Dice) -> Vec<(Key, Row)> {
    let key = dice.pick(keys);
    match dice.below(5) {
        0 | 1 => {
            let row = dice.row(&key);
            tables.put(key, row);
            Vec::new()
        }
        2 => {
            tables.delete(&key);
            Vec::new()
        }
        3 => tables.get(&key).map(|row| (key, row)).into_iter().collect(),
        _ => {
            let from = match dice.below(3) {
                0 => Bound::Unbounded,
                1 => Bound::Included(key),
                _ => Bound::Excluded(key),
            };
            let to = dice.pick(keys);
            let rows_max = dice.below(8);
            tables.scan(from, &to, rows_max)
        }
    }
}

#[test]
fn puts_deletes_reads_and_scans_are_the_same_in_memory_and_on_the_disk() {
    each_case(&proptest::num::u64::ANY, |disk, seed| {
        let dice = &mut Dice::new(seed);
        let keys: Vec<Key> = (0..12).map(|_| dice.key()).collect();
        let mut memory = Memory::default();
        for _batch in 0..3 {
            let (seed, steps) = (dice.bits(), dice.below(20));
            let run = |tables: &mut dyn FnMut(&mut Dice) -> Vec<(Key, Row)>| -> Vec<_> {
                let mut dice = Dice::new(seed);
                (0..steps).map(|_| tables(&mut dice)).collect()
            };
            let expected = run(&mut |dice| step(&mut memory, &keys, dice));
            let found = disk.write(|tables| run(&mut |dice| step(tables, &keys, dice)));
            proptest::prop_assert_eq!(found, expected);
            let view = disk.rows.view();
            proptest::prop_assert_eq!(all(&view), all(&memory));
            view.check_error().expect("readable");
        }
        Ok(())
    });
}

#[test]
fn commands_do_the_same_in_memory_and_on_the_disk() {
    each_case(&steps(60), |disk, steps| {
        let mut memory = Memory::default();
        let first = (Command::Bootstrap { cluster_id: 9, id_start: ID_START }, Stamp::default());
        for number in 0..=steps.len() {
            let (command, stamp) =
                number.checked_sub(1).map_or_else(|| first.clone(), |step| resolve(&steps[step], &memory));
            let revision = next_revision(&memory);
            let expected = apply(&mut memory, &command, stamp, revision);
            // The disk's side takes the way through the log.
            let (stamp, commands) = decode_batch(&encode_batch(stamp, &[command])).expect("a batch");
            let found = disk.write(|tables| apply(tables, &commands[0], stamp, revision));
            proptest::prop_assert_eq!(found, expected, "{:?}", commands);
        }
        let view = disk.rows.view();
        proptest::prop_assert_eq!(all(&view), all(&memory));
        view.check_error().expect("readable");
        Ok(())
    });
}

#[test]
fn commands_of_one_entry_see_what_those_before_them_changed() {
    each_case(&steps(30), |disk, steps| {
        let mut memory = Memory::default();
        let mut entry = vec![(Command::Bootstrap { cluster_id: 9, id_start: ID_START }, Stamp::default())];
        let mut expected = vec![apply(&mut memory, &entry[0].0, entry[0].1, REVISION)];
        for step in &steps {
            let (command, stamp) = resolve(step, &memory);
            expected.push(apply(&mut memory, &command, stamp, REVISION));
            entry.push((command, stamp));
        }
        let found = disk.write(|tables| -> Vec<_> {
            entry.iter().map(|(command, stamp)| apply(tables, command, *stamp, REVISION)).collect()
        });
        proptest::prop_assert_eq!(found, expected);
        proptest::prop_assert_eq!(all(&disk.rows.view()), all(&memory));
        Ok(())
    });
}
