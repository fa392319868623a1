//! What a copy gives up goes on in the store: each way of writing to one counts it.

use super::{FileCopy, TIMEOUT, Way, content};
use crate::bandwidth::CHUNK_BYTES_MAX;
use crate::copy::{Copier, write};
use crate::failure::{Fault, Side};
use crate::late_store::{LateStore, Mood};
use crate::place::Place;
use crate::writes::Writes;
use bytes::Bytes;
use ferry_objects::Stores;
use std::time::Duration;

/// How long a store may be silent where it is to be too long soon.
const SILENCE_MAX: Duration = Duration::from_millis(300);

/// The ways of writing: a put, the completion of an upload, a copy inside the store.
async fn ways() -> Vec<(LateStore, Way, u64)> {
    let mut ways = Vec::new();
    for (name, source, size) in [
        ("put", "memory:///source", 1_000),
        ("completion", "memory:///source", CHUNK_BYTES_MAX + 17),
        ("copy inside", "s3://bucket/source", 1_000),
    ] {
        let (store, client) = LateStore::start().await;
        let stores = Stores::new().with("s3://bucket", client).unwrap();
        let (source, target) = (stores.open(source).unwrap(), stores.open("s3://bucket/target").unwrap());
        ways.push((store, Way { name, source, target, _folder: tempfile::tempdir().unwrap() }, size));
    }
    ways
}

/// A copier whose writes are counted, and what it copies.
async fn counted(way: &Way, size: u64, silence_max: Duration) -> (Copier, FileCopy, Writes) {
    let (copier, _) = way.copier();
    let file = way.file(&copier, content(size)).await;
    let writes = Writes::default();
    let target = Place::new(way.target.clone(), Side::Target, silence_max).counted_in(&writes);
    (Copier { target, ..copier }, file, writes)
}

async fn appears(store: &LateStore, key: &str) {
    while !store.has(key) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_stopped_appears_later_and_was_counted() {
    for (store, way, size) in ways().await {
        let (copier, file, writes) = counted(&way, size, TIMEOUT).await;
        let (permit, stop) = copier.permit.child();
        let copier = Copier { permit, ..copier };
        store.becomes(Mood::HoldsBack);
        let stopped = async {
            store.has_held_back(1).await;
            stop.cancel();
        };
        let (copied, ()) = tokio::join!(copier.copy(&file), stopped);
        assert_eq!(copied, Err(Fault::Stopped), "{}", way.name);
        assert!(!writes.are_answered(), "{}", way.name);
        assert!(!store.has("target/c/d"), "{}: nothing is there when its attempt ends", way.name);
        store.becomes(Mood::Prompt);
        appears(&store, "target/c/d").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_succeeds_still_tells_of_a_try_that_was_given_up_before() {
    for (store, way, size) in ways().await {
        let (copier, file, writes) = counted(&way, size, SILENCE_MAX).await;
        store.becomes(Mood::HoldsBack);
        let relents = async {
            store.has_held_back(2).await;
            store.becomes(Mood::Prompt);
        };
        let (copied, ()) = tokio::join!(copier.copy(&file), relents);
        assert_eq!(copied, Ok(()), "{}", way.name);
        assert!(!writes.are_answered(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_answered_leaves_nothing_whatever_the_answer_was() {
    for (store, way, size) in ways().await {
        let (copier, file, writes) = counted(&way, size, TIMEOUT).await;
        store.becomes(Mood::Refuses);
        assert!(copier.copy(&file).await.unwrap_err().may_pass(), "{}", way.name);
        assert!(writes.are_answered(), "{}: it was refused", way.name);
        store.becomes(Mood::Prompt);
        assert_eq!(copier.copy(&file).await, Ok(()), "{}", way.name);
        assert!(writes.are_answered(), "{}: it was done", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_copys_own_snapshot_are_counted_alike() {
    for size in [1_000, CHUNK_BYTES_MAX + 17] {
        let (store, client) = LateStore::start().await;
        let location = Stores::new().with("s3://bucket", client).unwrap().open("s3://bucket/target").unwrap();
        let writes = Writes::default();
        let target = Place::new(location, Side::Target, TIMEOUT).counted_in(&writes);
        let (permit, stop) = ways().await[0].1.copier().0.permit.child();
        store.becomes(Mood::HoldsBack);
        let stopped = async {
            store.has_held_back(1).await;
            stop.cancel();
        };
        let content: Bytes = content(size);
        let (written, ()) = tokio::join!(write(&target, "unused", "metadata.json", content, &permit), stopped);
        assert_eq!(written, Err(Fault::Stopped));
        assert!(!writes.are_answered());
        store.becomes(Mood::Prompt);
        appears(&store, "target/metadata.json").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_given_up_was_counted() {
    let (store, client) = LateStore::start().await;
    let location = Stores::new().with("s3://bucket", client).unwrap().open("s3://bucket/target").unwrap();
    let writes = Writes::default();
    let target = Place::new(location, Side::Target, TIMEOUT).counted_in(&writes);
    store.becomes(Mood::HoldsBack);
    tokio::select! {
        deleted = target.delete("c/d") => panic!("it is held back: {deleted:?}"),
        () = store.has_held_back(1) => {}
    }
    assert!(!writes.are_answered());
}
