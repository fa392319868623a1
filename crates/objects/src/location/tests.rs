//! Places in stores: relative keys, errors by class, limits.

use super::*;
use crate::error::Class;
use crate::stores::Stores;

async fn filled(stores: &Stores) -> Location {
    let location = stores.open("memory:///tree").unwrap();
    for key in ["a/1", "a/b/2", "c"] {
        location.write(key, Bytes::from(key.repeat(3))).await.unwrap();
    }
    location
}

#[tokio::test]
async fn keys_are_relative_to_the_root_in_every_call() {
    let stores = Stores::new();
    let location = filled(&stores).await;
    assert_eq!(location.read("a/b/2", 100).await.unwrap(), "a/b/2a/b/2a/b/2");
    assert_eq!(location.size_bytes("a/1").await.unwrap(), 9);
    assert_eq!(stores.open("memory:///").unwrap().size_bytes("tree/c").await.unwrap(), 3);
    let mut listed: Vec<Object> = location.list("a").unwrap().try_collect().await.unwrap();
    listed.sort();
    let keys: Vec<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["a/1", "a/b/2"]);
    let folder = location.list_folder("").await.unwrap();
    assert_eq!(folder.folders, ["a"]);
    assert_eq!(folder.objects, [Object { key: "c".into(), size_bytes: 3 }]);
}

#[tokio::test]
async fn a_local_tree_answers_as_a_store_does() {
    let folder = tempfile::tempdir().unwrap();
    let location = Stores::new().open(&crate::stores::file_uri(folder.path())).unwrap();
    location.write("x/y", Bytes::from_static(b"123456789")).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("x/y")).unwrap(), b"123456789");
    // The check value of CRC32C.
    assert_eq!(location.checksum("x/y").await.unwrap(), Checksum { size_bytes: 9, crc32c: 0xe306_9283 });
    assert_eq!(location.local_path("x/y").unwrap(), Some(folder.path().join("x/y")));
    assert_eq!(location.list_folder("x").await.unwrap().objects.len(), 1);
    assert_eq!(location.list_folder("nothing").await.unwrap(), Listing::default());
}

#[tokio::test]
async fn a_missing_object_is_permanent_and_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let location = Stores::new().open(&crate::stores::file_uri(folder.path())).unwrap();
    for key in ["nothing", "nowhere/nothing", "file/below"] {
        let error = location.size_bytes(key).await.expect_err(key);
        assert!(matches!(error, StoreError::Missing { .. }), "{key}: {error}");
        assert_eq!(error.class(), Class::Permanent);
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[tokio::test]
async fn an_object_beyond_its_limit_is_not_read() {
    let location = filled(&Stores::new()).await;
    assert!(matches!(location.read("a/1", 8).await, Err(StoreError::TooLarge { size_bytes: 9, bytes_max: 8, .. })));
}

#[tokio::test]
async fn a_hostile_key_reaches_no_store() {
    let location = filled(&Stores::new()).await;
    for key in ["../c", "/c", "a//1", "a\\1", ""] {
        assert!(matches!(location.read(key, 100).await, Err(StoreError::Key(_))), "{key}");
        assert!(matches!(location.write(key, Bytes::new()).await, Err(StoreError::Key(_))), "{key}");
    }
}

#[test]
fn one_object_is_recognised_by_two_roots() {
    let stores = Stores::new();
    let (top, below) = (stores.open("memory:///").unwrap(), stores.open("memory:///a/b").unwrap());
    assert!(below.same_object("c", &top, "a/b/c"));
    assert!(!below.same_object("c", &top, "a/c"));
    assert!(top.child("a").unwrap().child("b").unwrap().same_object("c", &below, "c"));
}

#[tokio::test]
async fn the_head_of_a_short_object_is_all_of_it() {
    let location = filled(&Stores::new()).await;
    assert_eq!(location.read_range("a/1", 0..3).await.unwrap(), "a/1");
    assert_eq!(location.read_range("c", 1..100).await.unwrap(), "cc");
}
