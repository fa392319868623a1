//! What can be wrong with a source: each fault ends the attempt for good, by the object's name, with nothing written.

use crate::support::leader::{LONG_LEASE_MS, Node};
use crate::support::sample::{COLLECTION, Sample, VECTORS, assert_permanent, attempt};
use crate::support::worker::{Worker, config};
use ferry_objects::Checksum;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, FailureKind};
use ferry_snapshot::Checksums;
use std::path::Path;

async fn run(assign: Assign) -> Outcome {
    let mut node = Node::start().await;
    let _worker = Worker::start(config(&node));
    node.welcome(LONG_LEASE_MS).await.finish(assign).await
}

/// Changes one byte, and nothing that a listing shows.
fn flip(path: &Path) {
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(path, content).unwrap();
}

/// Writes checksums of the source as it is now beside its manifests.
fn write_checksums(sample: &Sample) {
    let mut checksums = Checksums::default();
    for (key, content) in crate::support::sample::tree(&sample.source()) {
        if !key.starts_with("snapshots/") {
            checksums.objects.insert(key, Checksum::of(&content));
        }
    }
    for segment in [470636907273850237_i64, 470636907274050255, 470636907274050273] {
        let key = format!("snapshots/{COLLECTION}/manifests/9001/{segment}.checksums.json");
        std::fs::write(sample.source().join(key), checksums.to_json()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_missing_source_object_is_named() {
    let sample = Sample::new();
    std::fs::remove_file(sample.source().join(VECTORS)).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &[VECTORS, "is missing"]);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_source_object_shorter_than_its_manifest_says_is_named() {
    let sample = Sample::new();
    let file = std::fs::OpenOptions::new().write(true).open(sample.source().join(VECTORS)).unwrap();
    file.set_len(70_000).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &[VECTORS, "70000 bytes"]);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_source_object_altered_since_its_checksum_was_taken_is_named() {
    let sample = Sample::new();
    write_checksums(&sample);
    flip(&sample.source().join(VECTORS));
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &[VECTORS, "is altered"]);
    assert!(
        !sample.copied().contains_key("insert_log/200/300/9001/101/470636907273850242"),
        "it was never put in place"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_checksums_that_hold_is_copied() {
    let sample = Sample::new();
    write_checksums(&sample);
    let outcome = run(sample.assign(attempt(1, 1))).await;
    assert!(matches!(outcome, Outcome::Copied(_)), "{outcome:?}");
    assert_eq!(sample.copied(), sample.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_source_object_of_another_size_than_its_checksum_says_is_named() {
    let sample = Sample::new();
    write_checksums(&sample);
    let path = sample.source().join(VECTORS);
    let mut content = std::fs::read(&path).unwrap();
    content.push(0);
    std::fs::write(&path, content).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &[VECTORS, "72566 bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_manifest_is_named() {
    let sample = Sample::new();
    std::fs::write(sample.manifest(1), "no manifest at all").unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &["470636907274050255.avro", "is bad"]);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_missing_manifest_is_named() {
    let sample = Sample::new();
    std::fs::remove_file(sample.manifest(1)).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &["470636907274050255.avro", "does not exist"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_snapshot_that_has_disappeared_is_named() {
    let sample = Sample::new();
    let assign = sample.assign(attempt(1, 1));
    std::fs::remove_dir_all(sample.source()).unwrap();
    let uri = ferry_objects::file_uri(&sample.source());
    assert_permanent(run(assign).await, &[&uri]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_changed_since_the_submit_is_refused() {
    let sample = Sample::new();
    let assign = sample.assign(attempt(1, 1));
    flip(&sample.metadata());
    assert_permanent(run(assign).await, &["9001.json", "has changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_manifest_altered_between_two_attempts_is_named_with_what_it_was_and_is() {
    let sample = Sample::new();
    let assign = sample.assign_claimed(attempt(1, 2));
    let pinned = sample.manifests()[1];
    flip(&sample.manifest(1));
    let found = sample.manifests()[1];
    let parts = [
        "470636907274050255.avro",
        "has changed",
        &format!("has {} bytes with CRC32C {:08x}", found.size_bytes, found.crc32c),
        &format!("had {} bytes with CRC32C {:08x}", pinned.size_bytes, pinned.crc32c),
    ];
    assert_permanent(run(assign).await, &parts);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_an_altered_manifest_is_found_in_the_place_of_its_own_segment() {
    let sample = Sample::new();
    let mut assign = sample.assign_claimed(attempt(1, 2));
    assign.manifests.swap(0, 2);
    assert_permanent(run(assign).await, &["470636907273850237.avro", "has changed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_targets_without_the_pins_of_their_manifests_are_not_written() {
    let sample = Sample::new();
    let assign = Assign { manifests: Vec::new(), ..sample.assign_claimed(attempt(1, 2)) };
    let failure = crate::support::sample::failure(run(assign).await);
    assert_eq!(failure.kind(), FailureKind::Transient);
    assert!(failure.reason.contains("0 pins of manifests for 3 segments"), "{}", failure.reason);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_link_that_leaves_the_tree_is_not_followed() {
    let sample = Sample::new();
    let path = sample.source().join(VECTORS);
    let outside = sample.source().join("../outside");
    std::fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &[VECTORS, "symbolic link"]);
    assert!(!sample.target().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_folder_that_is_a_link_is_not_written_through() {
    let sample = Sample::new();
    let outside = sample.source().join("../outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(sample.target()).unwrap();
    std::os::unix::fs::symlink(&outside, sample.target().join("insert_log")).unwrap();
    assert_permanent(run(sample.assign(attempt(1, 1))).await, &["insert_log", "symbolic link"]);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_nobody_can_open_is_permanent() {
    let sample = Sample::new();
    let mut assign = sample.assign(attempt(1, 1));
    assign.target.as_mut().unwrap().uri = "ftp://somewhere/else".into();
    let failure = crate::support::sample::failure(run(assign).await);
    assert_eq!(failure.kind(), FailureKind::Permanent);
}
