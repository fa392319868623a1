//! The log keeps what it promised: entries in order, durable when it says so, and a loss is recognised.

use crate::open;
use ferry_store::log::{Log, LogError};
use ferry_store::{OpenError, Store};
use std::path::Path;
use std::sync::mpsc;
use tempfile::TempDir;

fn entries(indexes: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
    indexes.map(|index| (index, format!("entry {index}").into_bytes())).collect()
}

fn read(log: &Log, from: u64, to_exclusive: u64, bytes_max: usize) -> Vec<(u64, Vec<u8>)> {
    let read = log.read(from, to_exclusive, bytes_max).expect("readable");
    read.into_iter().map(|(index, bytes)| (index, bytes.to_vec())).collect()
}

fn all(log: &Log) -> Vec<u64> {
    log.read(0, u64::MAX, usize::MAX).expect("readable").into_iter().map(|(index, _)| index).collect()
}

fn wait_until_durable(log: &Log) -> Result<(), LogError> {
    let (sender, receiver) = mpsc::channel();
    log.when_durable(Box::new(move |synced| sender.send(synced).expect("the test waits")));
    receiver.recv().expect("every callback is called")
}

/// The folder as a power loss would leave it if nothing but what is on disk now survived.
fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(folder, copy.path());
    copy
}

fn copy_folder(source: &Path, target: &Path) {
    for entry in std::fs::read_dir(source).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = target.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).expect("a new folder");
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

fn refusal(folder: &Path) -> OpenError {
    open(folder).err().expect("the folder must be refused")
}

/// The WAL that holds the entries: the largest one.
fn wal_of(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder.join("raft")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let wals = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    wals.max_by_key(|path| path.metadata().expect("a file").len()).expect("a WAL")
}

#[test]
fn entries_are_read_in_order_by_range_and_by_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { log, .. } = open(folder.path()).expect("a new store");
    assert_eq!(log.last().expect("readable"), None);
    log.append(entries(0..300)).expect("appended");
    reads_well(&log);
    drop(log);
    // What was appended before the start is read from the disk.
    reads_well(&open(folder.path()).expect("a store").log);
}

fn reads_well(log: &Log) {
    assert_eq!(read(log, 10, 13, usize::MAX), entries(10..13));
    assert_eq!(read(log, 298, 900, usize::MAX), entries(298..300));
    assert_eq!(read(log, 300, 900, usize::MAX), Vec::new());
    assert_eq!(read(log, 20, 20, usize::MAX), Vec::new());
    // Two entries have 16 bytes together; one is given even where it is too large.
    assert_eq!(read(log, 1, 300, 14), entries(1..3));
    assert_eq!(read(log, 1, 300, 0), entries(1..2));
    assert_eq!(log.last().expect("readable"), entries(299..300).pop());
}

#[test]
fn what_was_appended_last_is_read_as_the_log_is_after_truncations_and_purges() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { log, .. } = open(folder.path()).expect("a new store");
    log.append(entries(0..20)).expect("appended");
    log.truncate_after(Some(9)).expect("truncated");
    assert_eq!(read(&log, 5, 100, usize::MAX), entries(5..10));
    let others: Vec<_> = (10..15).map(|index| (index, b"another".to_vec())).collect();
    log.append(others.clone()).expect("appended");
    assert_eq!(read(&log, 10, 100, usize::MAX), others);
    log.purge(7, Vec::new()).expect("purged");
    assert_eq!(read(&log, 0, 10, usize::MAX), entries(8..10), "those that were purged are left out");
    log.truncate_after(None).expect("truncated");
    assert_eq!(read(&log, 8, 100, usize::MAX), Vec::new());
    log.append(entries(8..9)).expect("appended");
    assert_eq!(read(&log, 0, 100, usize::MAX), entries(8..9));
}

#[test]
fn truncation_and_purge_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, rows, .. } = open(folder.path()).expect("a new store");
        log.append(entries(0..100)).expect("appended");
        log.truncate_after(Some(79)).expect("truncated");
        log.append(entries(80..90)).expect("appended");
        log.purge(19, b"nineteen".to_vec()).expect("purged");
        log.save_committed(85, b"eighty-five".to_vec()).expect("saved");
        rows.write((85, Vec::new()), None, |_| ()).expect("written");
        assert_eq!(all(&log), (20..90).collect::<Vec<_>>());
    }
    let Store { log, .. } = open(folder.path()).expect("the same store");
    assert_eq!(all(&log), (20..90).collect::<Vec<_>>());
    assert_eq!(log.purged().expect("readable"), Some(b"nineteen".to_vec()));
    assert_eq!(log.committed().expect("readable"), Some(b"eighty-five".to_vec()));
    log.truncate_after(None).expect("truncated");
    assert_eq!(log.last().expect("readable"), None);
}

#[test]
fn callbacks_are_called_in_order_after_a_sync_that_covers_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { log, .. } = open(folder.path()).expect("a new store");
    let (sender, receiver) = mpsc::channel();
    for index in 0..50 {
        log.append(entries(index..index + 1)).expect("appended");
        let sender = sender.clone();
        log.when_durable(Box::new(move |synced| {
            synced.expect("synced");
            sender.send(index).expect("the test waits");
        }));
    }
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    let survived = copy_of(folder.path());
    drop(log);
    assert_eq!(all(&open(survived.path()).expect("what was synced").log), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_callback_that_still_waits_is_called_when_the_log_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("a new store");
    let (sender, receiver) = mpsc::channel();
    store.log.append(entries(0..1)).expect("appended");
    store.log.when_durable(Box::new(move |synced| sender.send(synced.is_ok()).expect("the test waits")));
    drop(store);
    assert_eq!(receiver.recv(), Ok(true));
}

#[test]
fn a_tail_that_was_never_synced_may_be_torn() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { log, .. } = open(folder.path()).expect("a new store");
    log.append(entries(0..10)).expect("appended");
    wait_until_durable(&log).expect("synced");
    let synced = copy_of(folder.path());
    log.append(entries(10..20)).expect("appended");
    wait_until_durable(&log).expect("synced");
    let torn = copy_of(folder.path());
    // As if the second group had reached the disk only in part: its mark had not been raised, its end is gone.
    std::fs::copy(synced.path().join("durable"), torn.path().join("durable")).expect("the older mark");
    cut(&wal_of(torn.path()), wal_of(synced.path()).metadata().expect("a file").len() + 9);
    assert_eq!(all(&open(torn.path()).expect("nobody relied on the tail").log), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_log_without_what_was_synced_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let Store { log, .. } = open(folder.path()).expect("a new store");
    log.append(entries(0..10)).expect("appended");
    wait_until_durable(&log).expect("synced");
    let torn = copy_of(folder.path());
    let wal = wal_of(torn.path());
    cut(&wal, wal.metadata().expect("a file").len() - 5);
    let error = refusal(torn.path());
    assert!(matches!(error, OpenError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("though it was synced to the disk"), "{error}");
    assert!(error.to_string().contains("empty its folder and add it under a new id"), "{error}");
}

#[test]
fn a_log_without_what_was_committed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, .. } = open(folder.path()).expect("a new store");
        log.append(entries(0..10)).expect("appended");
        log.save_committed(12, Vec::new()).expect("saved");
    }
    let error = refusal(folder.path());
    assert!(error.to_string().contains("ends before entry 10, though it was committed"), "{error}");
}

#[test]
fn a_truncated_log_is_no_lost_one() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, .. } = open(folder.path()).expect("a new store");
        log.append(entries(0..10)).expect("appended");
        wait_until_durable(&log).expect("synced");
        log.truncate_after(Some(4)).expect("truncated");
    }
    let Store { log, .. } = open(folder.path()).expect("the truncation was wanted");
    assert_eq!(all(&log), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_gap_behind_what_was_synced_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, .. } = open(folder.path()).expect("a new store");
        log.append(entries(0..10)).expect("appended");
        log.append(entries(12..20)).expect("appended");
        assert!(matches!(log.read(5, 20, usize::MAX), Err(LogError::Missing { index: 10, .. })));
    }
    // The clean stop synced it all: without its mark this is what a power loss can leave.
    std::fs::remove_file(folder.path().join("durable")).expect("the mark");
    let Store { log, .. } = open(folder.path()).expect("nobody relied on the tail");
    assert_eq!(all(&log), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_damaged_entry_is_named_on_read_and_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let Store { log, .. } = open(folder.path()).expect("a new store");
        log.append(entries(0..10)).expect("appended");
    }
    // Put, by RocksDB itself, with a checksum of its own that fits: only ours can tell.
    {
        let database = rocksdb::DB::open_cf(&rocksdb::Options::default(), folder.path().join("raft"), ["meta", "log"])
            .expect("the log's database");
        let family = database.cf_handle("log").expect("the log");
        let mut value = database.get_cf(family, 7_u64.to_be_bytes()).expect("readable").expect("entry 7");
        value[0] ^= 1;
        database.put_cf(family, 7_u64.to_be_bytes(), value).expect("written");
    }
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Log(LogError::Damaged { index: 7, .. })), "{error}");
    assert!(error.to_string().contains("entry 7 of the raft log"), "{error}");
}

fn cut(file: &Path, length: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(file).expect("a file");
    file.set_len(length).expect("shorter");
}
