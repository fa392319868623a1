//! The copy's own snapshot: its manifests are claimed and written with the copies, its metadata file by the publication,
//! over the segments that the leader lists.

use crate::support::leader::{LONG_LEASE_MS, Node};
use crate::support::sample::{
    PARTITION, Sample, TARGET_SEGMENTS, assert_permanent, attempt, copied_segments, failure, tree,
};
use crate::support::worker::{Worker, config};
use ferry_objects::{Stores, file_uri};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, FailureKind};
use ferry_snapshot::{Depth, Snapshot};
use std::os::unix::fs::MetadataExt;
use tonic::Status;

const METADATA: &str = "snapshots/200/metadata/8000.json";
const MANIFESTS: [&str; 3] = [
    "snapshots/200/manifests/8000/9001.avro",
    "snapshots/200/manifests/8000/9002.avro",
    "snapshots/200/manifests/8000/9003.avro",
];

fn put(sample: &Sample, key: &str, content: &str) {
    let path = sample.target().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_writes_the_manifests_of_its_segments_and_no_metadata_file() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    assert_eq!(sample.copied_snapshot(), MANIFESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_a_manifest_that_was_there_before_is_named_and_nothing_is_written() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    put(&sample, MANIFESTS[1], "not ours");
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    assert_permanent(talk.result_without_claim(attempt(1, 1)).await, &[MANIFESTS[1], "exists already"]);
    assert_eq!(
        tree(&sample.target()).into_iter().collect::<Vec<_>>(),
        [(MANIFESTS[1].to_owned(), b"not ours".to_vec())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_writes_manifests_over_whatever_an_earlier_one_left() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let whole = tree(&sample.target());
    put(&sample, MANIFESTS[0], "half a mani");
    std::fs::remove_file(sample.target().join(MANIFESTS[2])).unwrap();
    copied_segments(talk.finish(sample.assign_claimed(attempt(1, 2))).await);
    assert_eq!(tree(&sample.target()), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publication_makes_a_snapshot_of_all_listed_segments() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let outcome = talk.finish(sample.assign_publication(attempt(4, 1))).await;
    assert!(matches!(outcome, Outcome::Published(_)), "{outcome:?}");
    assert!(!sample.target().join(".ferry/attempts/4-1").exists(), "no temporary file stays");

    let copy = Snapshot::open(&Stores::new(), &file_uri(&sample.target())).await.unwrap();
    assert_eq!((copy.collection_id(), copy.snapshot_id()), (200, 8_000));
    assert_eq!(copy.segment_ids().collect::<Vec<_>>(), TARGET_SEGMENTS);
    assert_eq!(copy.build_ids(), [5_000, 5_001, 5_002]);
    assert_eq!(copy.metadata().collection.partitions.values().collect::<Vec<_>>(), [&300]);
    let verified = copy.verify(Depth::Contents, &|_| ()).await.unwrap();
    assert!(verified.is_clean(), "{verified:?}");
    assert_eq!((verified.segments, verified.files), (3, sample.expected().len() as u64));
    assert!(!std::fs::read_to_string(sample.target().join(METADATA)).unwrap().contains(PARTITION));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_of_a_publication_replaces_what_an_earlier_one_left() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    put(&sample, METADATA, "of an attempt that lost its lease");
    let inode = std::fs::metadata(sample.target().join(METADATA)).unwrap().ino();
    let again = Assign { claimed: true, ..sample.assign_publication(attempt(4, 2)) };
    assert!(matches!(talk.finish(again).await, Outcome::Published(_)));
    assert_ne!(std::fs::metadata(sample.target().join(METADATA)).unwrap().ino(), inode, "a new file, moved into place");
    assert!(Snapshot::open(&Stores::new(), &file_uri(&sample.target())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_the_leader_tells_no_segments_is_tried_again_and_writes_nothing() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    *node.segments.lock().unwrap() = Err(Status::unavailable("no leader yet"));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    let failure = failure(talk.finish(sample.assign_publication(attempt(4, 1))).await);
    assert_eq!(failure.kind(), FailureKind::Transient);
    assert!(failure.reason.contains("no leader yet"), "{}", failure.reason);
    assert_eq!(sample.copied_snapshot(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_whose_source_has_changed_fails_for_good_and_writes_nothing() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let assign = sample.assign_publication(attempt(4, 1));
    let metadata = std::fs::read_to_string(sample.metadata()).unwrap();
    std::fs::write(sample.metadata(), metadata.replace("source", "altered")).unwrap();
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert_permanent(talk.finish(assign).await, &["9001.json", "has changed"]);
    assert_eq!(sample.copied_snapshot(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_something_else_at_the_metadata_files_place_is_kept() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let kept = format!("{METADATA}/a_file_of_somebody");
    put(&sample, &kept, "not ours");
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign_publication(attempt(4, 1)));
    assert_permanent(talk.result_without_claim(attempt(4, 1)).await, &["8000.json"]);
    assert_eq!(tree(&sample.target()).into_keys().collect::<Vec<_>>(), [kept]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_up_deletes_the_manifests_with_the_copies() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    put(&sample, "snapshots/200/manifests/8000/9004.avro", "of another task");
    let clean_up = Assign { work: ferry_proto::v1::TaskWork::CleanUp.into(), ..sample.assign_claimed(attempt(1, 2)) };
    assert!(matches!(talk.finish(clean_up).await, Outcome::CleanedUp(_)));
    assert_eq!(tree(&sample.target()).into_keys().collect::<Vec<_>>(), ["snapshots/200/manifests/8000/9004.avro"]);
}
