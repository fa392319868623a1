//! Rows and how far they are change together; views show one moment.

use crate::any::Dice;
use crate::{child_folder, crash, open};
use ferry_machine::id::JobId;
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::{Read, Tables};
use ferry_store::Store;
use ferry_store::rows::{Rows, RowsView};
use std::ops::Bound;

fn put(rows: &Rows, index: u64, key: &Key) -> Row {
    let row = Dice::new(index).row(key);
    let put = |tables: &mut ferry_store::rows::Batch<'_>| tables.put(key.clone(), row.clone());
    rows.write((index, index.to_be_bytes().to_vec()), None, put).expect("written");
    row
}

fn job(id: i64) -> Key {
    Key::Job(JobId(id))
}

fn jobs(view: &RowsView) -> Vec<Key> {
    let found = view.scan(Bound::Included(job(i64::MIN)), &job(i64::MAX), 1_000);
    view.check_error().expect("readable");
    found.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn rows_and_how_far_they_are_survive_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let row = {
        let Store { log, rows, .. } = open(folder.path()).expect("a new store");
        log.append((0..6).map(|index| (index, Vec::new())).collect()).expect("appended");
        rows.write((4, b"four".to_vec()), Some(b"members".to_vec()), |_| ()).expect("written");
        put(&rows, 5, &job(1))
    };
    let Store { rows, .. } = open(folder.path()).expect("the same store");
    assert_eq!(rows.applied().expect("readable"), Some(5_u64.to_be_bytes().to_vec()));
    assert_eq!(rows.applied_index().expect("readable"), Some(5));
    assert_eq!(rows.membership().expect("readable"), Some(b"members".to_vec()));
    assert_eq!(rows.view().get(&job(1)), Some(row));
}

#[test]
fn a_change_that_read_what_cannot_be_read_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, rows, .. } = open(folder.path()).expect("a new store");
        log.append((0..2).map(|index| (index, Vec::new())).collect()).expect("appended");
        put(&rows, 0, &job(1));
    }
    spoil(folder.path(), &job(1));
    let Store { rows, .. } = open(folder.path()).expect("the same store");
    let written = rows.write((1, Vec::new()), None, |tables| {
        assert_eq!(tables.get(&job(1)), None);
        tables.put(job(2), Dice::new(1).row(&job(2)));
    });
    let error = written.expect_err("the read failed").to_string();
    assert!(error.contains("job's row has format Some(99)"), "{error}");
    let view = rows.view();
    assert_eq!((view.get(&job(2)), view.applied_index()), (None, Some(0)));
    view.check_error().expect("this view read nothing damaged");
    assert_eq!(view.scan(Bound::Unbounded, &job(i64::MAX), 10), Vec::new());
    view.check_error().expect_err("the scan met the damaged row");
}

/// Writes a value of a later version where a row is.
fn spoil(folder: &std::path::Path, key: &Key) {
    let state = folder.join("state");
    let live = std::fs::read_to_string(state.join("CURRENT")).expect("a name");
    let database = rocksdb::DB::open_default(state.join(live.trim_end())).expect("the rows' database");
    database.put(ferry_store::codec::key::encode(key), [99]).expect("written");
}

#[test]
fn a_view_does_not_see_later_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { rows, .. } = open(folder.path()).expect("a new store");
    let empty = rows.view();
    put(&rows, 0, &job(1));
    let one = rows.view();
    put(&rows, 1, &job(2));
    rows.write((2, Vec::new()), None, |tables| tables.delete(&job(1))).expect("written");
    rows.flush().expect("flushed");
    let later = rows.view();
    assert_eq!((jobs(&empty), empty.applied_index()), (vec![], None));
    assert_eq!((jobs(&one), one.applied_index()), (vec![job(1)], Some(0)));
    assert_eq!((jobs(&later), later.applied_index()), (vec![job(2)], Some(2)));
}

#[test]
fn a_view_outlives_the_store_and_serves_many_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let view = {
        let Store { rows, .. } = open(folder.path()).expect("a new store");
        put(&rows, 0, &job(1));
        rows.view()
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| jobs(&view))).collect();
        for reader in readers {
            assert_eq!(reader.join().expect("no panic"), vec![job(1)]);
        }
    });
}

#[test]
fn scans_keep_their_bounds_and_their_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { rows, .. } = open(folder.path()).expect("a new store");
    for index in 0..10 {
        put(&rows, index, &job(index.cast_signed() - 5));
    }
    let view = rows.view();
    let scan = |from: Bound<Key>, to: Key, rows_max| -> Vec<Key> {
        view.scan(from, &to, rows_max).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(scan(Bound::Included(job(-2)), job(1), 9), vec![job(-2), job(-1), job(0)]);
    assert_eq!(scan(Bound::Excluded(job(-2)), job(1), 9), vec![job(-1), job(0)]);
    assert_eq!(scan(Bound::Excluded(job(-2)), job(i64::MAX), 1), vec![job(-1)]);
    assert_eq!(scan(Bound::Unbounded, job(-3), 9), vec![job(-5), job(-4)]);
    assert_eq!(scan(Bound::Included(job(3)), job(-3), 9), vec![]);
}

#[test]
fn a_panic_in_a_change_writes_nothing_and_blocks_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { rows, .. } = open(folder.path()).expect("a new store");
    let change = std::panic::AssertUnwindSafe(|| {
        rows.write((0, Vec::new()), None, |tables| {
            tables.put(job(1), Dice::new(1).row(&job(1)));
            panic!("a bug in a command");
        })
    });
    std::panic::catch_unwind(change).map(|written| written.expect("written")).expect_err("it panicked");
    put(&rows, 0, &job(2));
    assert_eq!(jobs(&rows.view()), vec![job(2)]);
}

/// Entries `0..count`, in the log and in the rows, far larger than what the write buffers of `open` hold.
fn write_much(store: &Store, count: u64) {
    for index in 0..count {
        store.log.append(vec![(index, vec![1; 100])]).expect("appended");
        let change = |tables: &mut ferry_store::rows::Batch<'_>| {
            for id in 0..20 {
                let key = Key::Request(format!("{index}-{id}-{}", "x".repeat(100)));
                let row = Dice::new(index).row(&key);
                tables.put(key, row);
            }
        };
        store.rows.write((index, Vec::new()), None, change).expect("written");
    }
}

#[test]
fn rows_that_are_flushed_on_the_way_are_never_ahead_of_the_log() {
    if let Some(folder) = child_folder() {
        let store = open(&folder).expect("a new store");
        write_much(&store, 4_000);
        std::process::abort();
    }
    let folder = tempfile::tempdir().expect("a folder");
    crash("rows::rows_that_are_flushed_on_the_way_are_never_ahead_of_the_log", folder.path());
    let Store { log, rows, .. } = open(folder.path()).expect("the log holds what the rows do");
    let flushed = rows.applied_index().expect("readable").expect("rows were flushed on the way");
    let (last, _) = log.last().expect("readable").expect("entries were synced before");
    assert!(flushed > 1_000 && flushed <= last, "rows at {flushed}, log at {last}");
}

#[test]
fn a_checkpoint_is_never_ahead_of_the_log() {
    if let Some(folder) = child_folder() {
        let store = open(&folder).expect("a new store");
        write_much(&store, 10);
        store.checkpoints.build().expect("built");
        std::process::abort();
    }
    let folder = tempfile::tempdir().expect("a folder");
    crash("rows::a_checkpoint_is_never_ahead_of_the_log", folder.path());
    let Store { log, rows, checkpoints, .. } = open(folder.path()).expect("the log holds what the rows do");
    assert_eq!(rows.applied_index().expect("readable"), Some(9));
    assert_eq!(checkpoints.current().expect("the one that was built").manifest().index, 9);
    assert_eq!(log.last().expect("readable").map(|(index, _)| index), Some(9));
}

#[test]
fn checkpoints_that_are_built_while_entries_are_applied_are_never_ahead_of_the_log() {
    if let Some(folder) = child_folder() {
        let store = open(&folder).expect("a new store");
        write_much(&store, 1);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_much(&store, 3_000));
            let mut built = Vec::new();
            while !writer.is_finished() {
                built.push(store.checkpoints.build().expect("built").manifest().index);
            }
            assert!(built.iter().any(|index| (1..2_999).contains(index)), "{built:?}: none in the middle");
        });
        std::process::abort();
    }
    let folder = tempfile::tempdir().expect("a folder");
    crash("rows::checkpoints_that_are_built_while_entries_are_applied_are_never_ahead_of_the_log", folder.path());
    let Store { log, rows, checkpoints, .. } = open(folder.path()).expect("the log holds what the rows do");
    let last = log.last().expect("readable").map(|(index, _)| index);
    let flushed = rows.applied_index().expect("readable");
    let checkpoint = checkpoints.current().expect("the last one").manifest().index;
    assert!(Some(checkpoint) <= flushed && flushed <= last, "checkpoint {checkpoint}, rows {flushed:?}, log {last:?}");
}

#[test]
fn rows_that_were_not_flushed_come_back_by_replay() {
    if let Some(folder) = child_folder() {
        let store = open(&folder).expect("a new store");
        write_much(&store, 10);
        store.log.sync().expect("synced");
        std::process::abort();
    }
    let folder = tempfile::tempdir().expect("a folder");
    crash("rows::rows_that_were_not_flushed_come_back_by_replay", folder.path());
    let Store { log, rows, .. } = open(folder.path()).expect("rows may be behind the log");
    assert_eq!(rows.applied_index().expect("readable"), None);
    assert_eq!(log.read(0, 100, usize::MAX).expect("readable").len(), 10);
}
