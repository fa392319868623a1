//! Trees with links in and out of them, and walks that are overtaken by removals.

use super::*;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

fn tree() -> (tempfile::TempDir, Folder) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(root.join("a/b/file"), "inside").unwrap();
    std::fs::write(outer.path().join("secret"), "outside").unwrap();
    (outer, Folder::new(&root))
}

fn content(mut file: File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_link_inside_the_tree_is_read_and_one_out_of_it_is_not() {
    let (outer, folder) = tree();
    symlink("b/file", outer.path().join("root/a/near")).unwrap();
    symlink("a", outer.path().join("root/linked")).unwrap();
    symlink(outer.path().join("secret"), outer.path().join("root/a/far")).unwrap();
    symlink(outer.path(), outer.path().join("root/out")).unwrap();
    assert_eq!(content(folder.open("a/near").unwrap()), "inside");
    assert_eq!(content(folder.open("linked/b/file").unwrap()), "inside");
    assert!(matches!(folder.open("a/far"), Err(FolderError::Link { .. })));
    assert!(matches!(folder.open("out/secret"), Err(FolderError::Link { .. })));
}

#[test]
fn nothing_is_written_or_deleted_through_a_link() {
    let (outer, folder) = tree();
    symlink(outer.path(), outer.path().join("root/out")).unwrap();
    assert!(matches!(folder.walk().create("out/new"), Err(FolderError::Link { .. })));
    assert!(matches!(folder.delete("out/secret"), Err(FolderError::Link { .. })));
    let (parent, _) = folder.walk().create("a/temporary").unwrap();
    assert!(matches!(folder.walk().place(&parent, "temporary", "out/new"), Err(FolderError::Link { .. })));
    assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "outside");
    assert!(!outer.path().join("new").exists());
}

#[test]
fn a_file_is_created_once_and_placed_with_its_folders() {
    let (_outer, folder) = tree();
    let (parent, mut file) = folder.walk().create("temporary/x").unwrap();
    file.write_all(b"new").unwrap();
    assert!(folder.walk().create("temporary/x").is_err(), "an existing file is never opened for writing");
    folder.walk().place(&parent, "x", "deep/er/x").unwrap();
    folder.sync_folders(["deep/er/x"].into_iter()).unwrap();
    assert_eq!(content(folder.open("deep/er/x").unwrap()), "new");
    assert_eq!(folder.names("temporary").unwrap(), Vec::<String>::new());
}

#[test]
fn a_root_that_does_not_exist_is_made_when_it_is_written_to() {
    let (outer, _) = tree();
    let folder = Folder::new(&outer.path().join("new/root"));
    assert_eq!(folder.walk().stat("x").unwrap().map(|stat| stat.st_size), None);
    folder.walk().create("x").unwrap();
    assert!(outer.path().join("new/root/x").exists());
}

#[test]
fn empty_folders_are_removed_up_to_the_first_that_is_not() {
    let (outer, folder) = tree();
    std::fs::create_dir_all(outer.path().join("root/a/c/d")).unwrap();
    folder.remove_empty_parents("a/c/d/gone").unwrap();
    assert!(!outer.path().join("root/a/c").exists());
    assert!(outer.path().join("root/a/b/file").exists());
}

#[test]
fn deleting_what_is_gone_succeeds_and_a_folder_is_never_deleted() {
    let (outer, folder) = tree();
    folder.delete("a/b/file").unwrap();
    folder.delete("a/b/file").unwrap();
    folder.delete("no/such/file").unwrap();
    assert!(folder.delete("a/b").is_err());
    assert!(outer.path().join("root/a/b").is_dir());
}

#[test]
fn what_is_no_regular_file_is_not_read() {
    let (outer, folder) = tree();
    nix::unistd::mkfifo(&outer.path().join("root/pipe"), Mode::S_IRWXU).unwrap();
    assert!(matches!(folder.open("pipe"), Err(FolderError::Kind { .. })));
    assert!(matches!(folder.open("a/b"), Err(FolderError::Kind { .. })));
    assert!(matches!(folder.open("a/b/file/x"), Err(FolderError::Kind { .. })));
    assert!(matches!(folder.open("a/none"), Err(FolderError::Missing { .. })));
}

#[test]
fn a_folder_that_was_removed_behind_a_walk_is_made_again() {
    let (outer, folder) = tree();
    let mut walk = folder.walk();
    let (parent, _) = walk.create("new/deep/x").unwrap();
    std::fs::remove_dir_all(outer.path().join("root/new")).unwrap();
    let (_, mut file) = walk.create("new/deep/y").unwrap();
    file.write_all(b"again").unwrap();
    assert_eq!(content(folder.open("new/deep/y").unwrap()), "again");
    drop(parent);
}

#[test]
fn a_walk_finds_every_file_whatever_it_walked_before() {
    let (outer, folder) = tree();
    std::fs::create_dir_all(outer.path().join("root/a/c/b")).unwrap();
    for name in ["top", "a/one", "a/b/two", "a/c/three", "a/c/b/four"] {
        std::fs::write(outer.path().join("root").join(name), name).unwrap();
    }
    let mut walk = folder.walk();
    for name in ["a/c/b/four", "a/b/two", "top", "a/one", "a/c/three", "top", "a/b/two", "a/c/b/four"] {
        assert_eq!(content(walk.open(name).unwrap()), name);
        assert!(walk.stat(&format!("{name}-not")).unwrap().is_none());
    }
}

#[test]
fn folders_are_made_while_others_remove_the_empty_ones_above_them() {
    let root = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let folder = Folder::new(root.path());
            scope.spawn(move || {
                for turn in 0..500 {
                    let key = format!(".ferry/attempts/{thread}-{turn}");
                    folder.make(&key).unwrap();
                    drop(folder.walk().create(&format!("{key}/file")).unwrap());
                    folder.delete(&format!("{key}/file")).unwrap();
                    folder.remove_empty_parents(&format!("{key}/_")).unwrap();
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
