//! A folder that cannot be trusted is refused, with the file or folder and the way back in the message.

use crate::any::Dice;
use crate::{child, child_folder, open};
use ferry_machine::key::Key;
use ferry_machine::tables::{Read, Tables};
use ferry_store::{OpenError, Options, Store};
use std::path::Path;

const WAY_BACK: &str = "empty its folder and add it under a new id (`ferry cluster add-node`)";

fn refusal(folder: &Path) -> OpenError {
    open(folder).err().expect("the folder must be refused")
}

/// A store with ten entries, applied.
fn filled(folder: &Path) {
    let Store { log, rows, .. } = open(folder).expect("a new store");
    for index in 0..10 {
        log.append(vec![(index, vec![7; 50])]).expect("appended");
        rows.write((index, Vec::new()), None, |tables| {
            let row = Dice::new(index).row(&Key::Cluster);
            tables.put(Key::Cluster, row);
        })
        .expect("written");
    }
    rows.flush().expect("flushed");
}

#[test]
fn a_folder_that_is_open_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path()).expect("a new store");
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(first);
    open(folder.path()).expect("free again");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    if let Some(folder) = child_folder() {
        println!("{}", refusal(&folder));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let _first = open(folder.path()).expect("a new store");
    let test = "opening::a_second_process_on_the_same_folder_is_refused";
    let output = child(test, folder.path()).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("is in use: is another ferry running on this folder?"), "{said}");
}

#[test]
fn a_folder_with_foreign_files_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("thesis.txt"), "chapter one").expect("written");
    assert!(matches!(refusal(folder.path()), OpenError::Foreign { .. }));
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").map(|name| name.expect("a name")).collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn rows_without_the_log_they_came_from_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    std::fs::remove_dir_all(folder.path().join("raft")).expect("removed");
    std::fs::remove_file(folder.path().join("durable")).expect("removed");
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("its rows reach entry 9, its log reaches no entry"), "{error}");
    assert!(error.to_string().contains(WAY_BACK), "{error}");
}

#[test]
fn a_log_that_goes_on_where_no_row_leads_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    open(folder.path()).expect("the same store").log.purge(6, Vec::new()).expect("purged");
    std::fs::remove_dir_all(folder.path().join("state")).expect("removed");
    let error = refusal(folder.path());
    assert!(error.to_string().contains("its log begins at entry 7, its rows reach no entry"), "{error}");
}

#[test]
fn rows_that_are_gone_come_back_from_a_whole_log() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    std::fs::remove_dir_all(folder.path().join("state")).expect("removed");
    let Store { log, rows, .. } = open(folder.path()).expect("replay begins at the first entry");
    assert_eq!(rows.applied().expect("readable"), None);
    assert_eq!(log.read(0, 100, usize::MAX).expect("readable").len(), 10);
}

#[test]
fn a_damaged_table_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let table = files_under(&folder.path().join("state")).into_iter().find(|name| name.ends_with(".sst"));
    let table = table.expect("the rows were flushed");
    let mut bytes = std::fs::read(&table).expect("a table");
    bytes[3] ^= 0xFF;
    std::fs::write(&table, bytes).expect("written");
    let message = match open(folder.path()) {
        Err(error) => error.to_string(),
        Ok(store) => {
            let view = store.rows.view();
            view.get(&Key::Cluster);
            view.check_error().expect_err("the row lies in the damaged block").to_string()
        }
    };
    assert!(message.contains(&table), "{message}");
    assert!(message.to_lowercase().contains("remove"), "{message}");
}

#[test]
fn a_missing_table_is_named_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let table = files_under(&folder.path().join("state")).into_iter().find(|name| name.ends_with(".sst"));
    let table = table.expect("the rows were flushed");
    std::fs::remove_file(&table).expect("removed");
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    // RocksDB looks for it under an older extension last, and names that.
    assert!(error.to_string().contains(table.trim_end_matches("sst")), "{error}");
    assert!(error.to_string().contains(WAY_BACK), "{error}");
}

#[test]
fn a_damaged_name_of_the_live_rows_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    std::fs::write(folder.path().join("state/CURRENT"), "../elsewhere\n").expect("written");
    let error = refusal(folder.path());
    assert!(error.to_string().contains("state/CURRENT is damaged: it names \"../elsewhere\""), "{error}");
}

fn files_under(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files_under(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn a_folder_that_gave_a_backup_what_was_never_agreed_on_starts_no_node_and_still_gives_backups() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    Store::forbid_start(folder.path()).expect("noted");
    let error = refusal(folder.path());
    assert!(matches!(error, OpenError::BackedUp { .. }), "{error}");
    assert!(error.to_string().contains(WAY_BACK), "{error}");
    let store = Store::open_existing(folder.path(), &Options::default()).expect("opened for a backup");
    assert_eq!(store.rows.applied_index().expect("read"), Some(9));
}
