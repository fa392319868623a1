//! Checkpoints are built, sent, verified and installed whole, or not at all.

use crate::any::Dice;
use crate::{child_folder, crash, open};
use ferry_machine::id::JobId;
use ferry_machine::key::Key;
use ferry_machine::row::Row;
use ferry_machine::tables::{Read, Tables};
use ferry_store::Store;
use ferry_store::checkpoints::{BuildError, Checkpoint, Manifest, ManifestError, ReceiveError, Receiving};
use ferry_store::rows::{InstallError, Rows, RowsView};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn new_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("a new store");
    (folder, store)
}

/// Entries `from..to`, each with some rows.
fn fill(store: &Store, from: u64, to: u64) {
    for index in from..to {
        store.log.append(vec![(index, Vec::new())]).expect("appended");
        let change = |tables: &mut ferry_store::rows::Batch<'_>| {
            let mut dice = Dice::new(index);
            for _ in 0..20 {
                let key = dice.key();
                let row = dice.row(&key);
                tables.put(key, row);
            }
        };
        let membership = (index % 7 == 0).then(|| format!("members {index}").into_bytes());
        store.rows.write((index, format!("marker {index}").into_bytes()), membership, change).expect("written");
    }
}

fn all(view: &RowsView) -> Vec<(Key, Row)> {
    let rows = view.scan(Bound::Unbounded, &Key::Event(ferry_machine::id::EventId::END), usize::MAX);
    view.check_error().expect("readable");
    rows
}

/// All rows, how far they are, and the membership.
type Everything = (Vec<(Key, Row)>, Option<Vec<u8>>, Option<Vec<u8>>);

fn everything(rows: &Rows) -> Everything {
    (all(&rows.view()), rows.applied().expect("readable"), rows.membership().expect("readable"))
}

/// Sends a checkpoint in small chunks, except the last `left_out` bytes of its largest file.
fn send(checkpoint: &Checkpoint, receiving: &mut Receiving, left_out: u64) {
    let largest = checkpoint.manifest().files.iter().max_by_key(|file| file.size_bytes).expect("a file");
    for file in &checkpoint.manifest().files {
        let end = file.size_bytes - if file == largest { left_out } else { 0 };
        let mut offset = 0;
        while offset < end {
            let bytes_max = usize::try_from((end - offset).min(1_000)).expect("a small number");
            let chunk = checkpoint.read_chunk(&file.name, offset, bytes_max).expect("readable");
            receiving.write_chunk(&file.name, offset, &chunk).expect("written");
            offset += chunk.len() as u64;
        }
    }
}

/// The manifest as it comes over the network.
fn sent_manifest(checkpoint: &Checkpoint) -> Manifest {
    Manifest::decode(&checkpoint.manifest().encode()).expect("a manifest")
}

fn names_in(folder: PathBuf) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a folder");
    names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_checkpoint_that_was_sent_and_installed_equals_its_source() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 50);
    let expected = everything(&source.rows);
    let checkpoint = source.checkpoints.build().expect("built");
    fill(&source, 50, 60);
    assert_eq!(checkpoint.manifest().index, 49);
    assert_eq!(checkpoint.manifest().applied, b"marker 49");
    assert_eq!(checkpoint.manifest().membership, b"members 49");

    let (target_folder, target) = new_store();
    fill(&target, 0, 5);
    let before = target.rows.view();
    let mut receiving = target.checkpoints.begin_receive().expect("begun");
    send(&checkpoint, &mut receiving, 0);
    let received = receiving.finish(sent_manifest(&checkpoint)).expect("whole");
    target.checkpoints.install(&received).expect("installed");
    assert_eq!(everything(&target.rows), expected);
    assert_eq!(before.applied_index(), Some(4));
    assert!(!all(&before).is_empty());
    assert_eq!(target.checkpoints.current().expect("the installed one").manifest(), checkpoint.manifest());

    drop((before, received));
    assert_eq!(names_in(target_folder.path().join("state")).len(), 2, "the live rows and CURRENT");
    assert_eq!(names_in(target_folder.path().join("incoming")), Vec::<String>::new());
    drop(target);
    // The log ends before the rows begin, which is right after an installation.
    assert_eq!(everything(&open(target_folder.path()).expect("the same store").rows), expected);
}

#[test]
fn rows_written_after_an_installation_lie_in_the_new_generation() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 10);
    let checkpoint = source.checkpoints.build().expect("built");
    let (folder, target) = new_store();
    target.checkpoints.install(&checkpoint).expect("installed");
    target.log.purge(9, Vec::new()).expect("purged");
    fill(&source, 10, 20);
    fill(&target, 10, 20);
    assert_eq!(everything(&target.rows), everything(&source.rows));
    drop(target);
    assert_eq!(everything(&open(folder.path()).expect("the same store").rows), everything(&source.rows));
}

#[test]
fn after_an_installation_writers_read_its_rows_and_none_that_they_wrote_before() {
    let key = Key::Job(JobId(1));
    let put = |store: &Store, index: u64| {
        store.log.append(vec![(index, Vec::new())]).expect("appended");
        let row = Dice::new(index).row(&key);
        store.rows.write((index, Vec::new()), None, |rows| rows.put(key.clone(), row)).expect("written");
    };
    let (_source_folder, source) = new_store();
    (0..10).for_each(|index| put(&source, index));
    let checkpoint = source.checkpoints.build().expect("built");
    let (_folder, target) = new_store();
    (0..5).for_each(|index| put(&target, index));
    target.checkpoints.install(&checkpoint).expect("installed");
    target.log.append((5..11).map(|index| (index, Vec::new())).collect()).expect("appended");
    let read = target.rows.write((10, Vec::new()), None, |rows| rows.get(&key)).expect("written");
    assert_eq!(read, source.rows.view().get(&key));
}

#[test]
fn installing_twice_is_installing_once() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 10);
    let checkpoint = source.checkpoints.build().expect("built");
    let (folder, target) = new_store();
    target.checkpoints.install(&checkpoint).expect("installed");
    let generations = names_in(folder.path().join("state"));
    target.checkpoints.install(&checkpoint).expect("installed before");
    assert_eq!(names_in(folder.path().join("state")), generations);
    assert_eq!(everything(&target.rows), everything(&source.rows));
}

#[test]
fn what_was_truncated_before_an_installation_does_not_come_back() {
    if let Some(folder) = child_folder() {
        let (_source_folder, source) = new_store();
        fill(&source, 0, 10);
        let checkpoint = source.checkpoints.build().expect("built");
        let target = open(&folder).expect("a new store");
        target.log.append((0..20).map(|index| (index, Vec::new())).collect()).expect("appended");
        target.log.sync().expect("synced");
        target.log.truncate_after(Some(4)).expect("truncated");
        target.checkpoints.install(&checkpoint).expect("installed");
        std::process::abort();
    }
    let folder = tempfile::tempdir().expect("a folder");
    crash("checkpoints::what_was_truncated_before_an_installation_does_not_come_back", folder.path());
    let store = open(folder.path()).expect("whole");
    assert_eq!(store.rows.applied_index().expect("readable"), Some(9));
    assert_eq!(store.log.last().expect("readable").map(|(index, _)| index), Some(4));
}

#[test]
fn an_older_checkpoint_is_not_installed() {
    let (_folder, store) = new_store();
    fill(&store, 0, 10);
    let checkpoint = store.checkpoints.build().expect("built");
    fill(&store, 10, 12);
    let expected = everything(&store.rows);
    let error = store.checkpoints.install(&checkpoint).expect_err("rows never go back");
    assert!(matches!(error, InstallError::Older { checkpoint: 9, rows: 11 }), "{error}");
    assert_eq!(everything(&store.rows), expected);
}

#[test]
fn a_truncated_transfer_is_refused_before_it_can_be_installed() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 50);
    let checkpoint = source.checkpoints.build().expect("built");
    let (folder, target) = new_store();
    fill(&target, 0, 3);
    let expected = everything(&target.rows);
    let mut receiving = target.checkpoints.begin_receive().expect("begun");
    send(&checkpoint, &mut receiving, 1);
    let error = receiving.finish(sent_manifest(&checkpoint)).expect_err("a byte is missing");
    assert!(matches!(error, ReceiveError::Manifest(ManifestError::Differs { .. })), "{error}");
    assert!(error.to_string().contains("the file is damaged or incomplete"), "{error}");
    assert_eq!(names_in(folder.path().join("incoming")), Vec::<String>::new());
    assert_eq!(names_in(folder.path().join("snapshots")), Vec::<String>::new());
    assert_eq!(everything(&target.rows), expected);
}

#[test]
fn an_altered_transfer_is_refused() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 50);
    let checkpoint = source.checkpoints.build().expect("built");
    let (_folder, target) = new_store();
    let mut receiving = target.checkpoints.begin_receive().expect("begun");
    for file in &checkpoint.manifest().files {
        let mut bytes = checkpoint.read_chunk(&file.name, 0, 1 << 20).expect("readable");
        if file.name.ends_with(".sst") {
            bytes[10] ^= 1;
        }
        receiving.write_chunk(&file.name, 0, &bytes).expect("written");
    }
    let error = receiving.finish(sent_manifest(&checkpoint)).expect_err("a bit differs").to_string();
    assert!(error.contains(".sst") && error.contains("the checksum"), "{error}");
}

#[test]
fn a_manifest_that_lies_about_its_rows_is_refused() {
    let (_source_folder, source) = new_store();
    fill(&source, 0, 10);
    let checkpoint = source.checkpoints.build().expect("built");
    let (_folder, target) = new_store();
    let mut receiving = target.checkpoints.begin_receive().expect("begun");
    send(&checkpoint, &mut receiving, 0);
    let mut lie = sent_manifest(&checkpoint);
    lie.index = 11;
    let error = receiving.finish(lie).expect_err("the rows say otherwise").to_string();
    assert!(error.contains("has rows up to entry 9, its manifest says rows up to entry 11"), "{error}");
}

#[test]
fn chunks_that_do_not_belong_there_are_refused() {
    let (folder, store) = new_store();
    let mut receiving = store.checkpoints.begin_receive().expect("begun");
    receiving.write_chunk("000007.sst", 0, b"abc").expect("written");
    for (file, offset) in [("000007.sst", 2), ("000007.sst", 4), ("000008.sst", 1)] {
        let error = receiving.write_chunk(file, offset, b"d").expect_err("not the next bytes");
        assert!(matches!(error, ReceiveError::Chunk { .. }), "{error}");
    }
    for file in ["", ".", "..", "../../node.json", "/etc/passwd", "a/b", "a\\b", "manifest.json", "a\0b"] {
        let error = receiving.write_chunk(file, 0, b"x").expect_err("not a file of a checkpoint");
        assert!(error.to_string().contains("not a file of a checkpoint"), "{error}");
    }
    let hostile = br#"{"format_version":1,"index":1,"applied":"","membership":"","files":
        [{"name":"../../node.json","size_bytes":0,"crc32c":0}]}"#;
    let error = Manifest::decode(hostile).expect_err("a path").to_string();
    assert!(error.contains("../../node.json"), "{error}");
    drop(receiving);
    assert_eq!(names_in(folder.path().join("incoming")), Vec::<String>::new());
}

#[test]
fn there_is_no_checkpoint_of_nothing() {
    let (folder, store) = new_store();
    assert!(matches!(store.checkpoints.build(), Err(BuildError::NothingApplied)));
    assert_eq!(names_in(folder.path().join("snapshots")), Vec::<String>::new());
}

#[test]
fn the_newest_checkpoint_is_kept_and_an_older_one_while_it_is_held() {
    let (folder, store) = new_store();
    fill(&store, 0, 10);
    let first = store.checkpoints.build().expect("built");
    fill(&store, 10, 20);
    let second = store.checkpoints.build().expect("built");
    let chunk = first.read_chunk("CURRENT", 0, 100).expect("the one that is held stays");
    assert!(chunk.starts_with(b"MANIFEST-"));
    let gone = first.folder().to_path_buf();
    drop(first);
    assert!(!gone.exists());
    assert_eq!(names_in(folder.path().join("snapshots")), vec![second.name()]);
    let kept = second.manifest().clone();
    drop((second, store));
    let store = open(folder.path()).expect("the same store");
    assert_eq!(store.checkpoints.current().expect("the newest").manifest(), &kept);
}

#[test]
fn what_an_interrupted_build_or_transfer_left_is_removed_at_start() {
    let (folder, store) = new_store();
    fill(&store, 0, 10);
    let name = store.checkpoints.build().expect("built").name();
    drop(store);
    let left = [
        "snapshots/snap-11-0123456789abcdef",
        "snapshots/snap-12-0123456789abcdef.tmp",
        "incoming/snap-0-0123456789abcdef",
        "state/sm-11-0123456789abcdef",
    ];
    for path in left {
        std::fs::create_dir(folder.path().join(path)).expect("a folder");
        std::fs::write(folder.path().join(path).join("000001.sst"), "half").expect("written");
    }
    let store = open(folder.path()).expect("the same store");
    assert_eq!(store.checkpoints.current().expect("the whole one").name(), name);
    assert!(left.iter().all(|path| !folder.path().join(path).exists()));
}

#[test]
fn a_checkpoint_that_rotted_on_the_disk_is_not_installed() {
    let (folder, store) = new_store();
    fill(&store, 0, 10);
    let checkpoint = store.checkpoints.build().expect("built");
    let table = checkpoint.manifest().files.iter().find(|file| file.name.ends_with(".sst")).expect("a table");
    let path = checkpoint.folder().join(&table.name);
    drop((checkpoint, store));
    rot(&path);
    let store = open(folder.path()).expect("sizes fit");
    let rotten = store.checkpoints.current().expect("it is there");
    let (_other_folder, other) = new_store();
    let error = other.checkpoints.install(&rotten).expect_err("its checksum does not fit");
    assert!(matches!(error, InstallError::Manifest(ManifestError::Differs { .. })), "{error}");
    assert_eq!(other.rows.applied().expect("readable"), None);
}

/// Changes a byte of a copy that takes the file's place, for the rows hold a link to the file itself.
fn rot(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[20] ^= 1;
    std::fs::remove_file(path).expect("removed");
    std::fs::write(path, bytes).expect("written");
}
