//! A publication claims the one key that it writes, and its clean-up deletes exactly that.

use crate::support::leader::{LONG_LEASE_MS, Node};
use crate::support::sample::{Sample, assert_permanent, attempt, copied_segments, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, TaskWork};

/// Where the sample's copy has its own snapshot.
const KEY: &str = "snapshots/200/metadata/8000.json";

fn clean_up(sample: &Sample, claimed: bool, number: u32) -> Assign {
    let publication = sample.assign_publication(attempt(4, number));
    Assign { work: TaskWork::CleanUp.into(), claimed, ..publication }
}

fn put(sample: &Sample, key: &str) {
    let path = sample.target().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_claims_no_manifests_and_no_bytes_before_it_reports() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    talk.assign(sample.assign_publication(attempt(4, 1)));
    let claim = talk.claim(attempt(4, 1)).await;
    assert_eq!((claim.total_bytes, claim.manifests.len()), (0, 0));
    assert!(!sample.target().join(KEY).exists(), "nothing is written before the claim is committed");
    talk.claimed(attempt(4, 1));
    assert!(matches!(talk.result(attempt(4, 1)).await, Outcome::Published(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_a_metadata_file_that_was_there_before_is_kept_and_named() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    put(&sample, KEY);
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign_publication(attempt(4, 1)));
    assert_permanent(talk.result_without_claim(attempt(4, 1)).await, &[KEY, "exists already"]);
    talk.assign(clean_up(&sample, false, 2));
    assert!(matches!(talk.result(attempt(4, 2)).await, Outcome::CleanedUp(_)));
    assert_eq!(tree(&sample.target()).into_keys().collect::<Vec<_>>(), [KEY], "it was never claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clean_up_of_a_publication_deletes_its_metadata_file_alone_and_needs_no_source() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let others = ["insert_log/200/300/9001/101/1", "snapshots/200/manifests/8000/9001.avro"];
    for key in others.into_iter().chain([KEY, ".ferry/attempts/4-1/unfinished"]) {
        put(&sample, key);
    }
    let assign = clean_up(&sample, true, 2);
    std::fs::remove_dir_all(sample.source()).unwrap();
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert!(matches!(talk.finish(assign.clone()).await, Outcome::CleanedUp(_)));
    assert_eq!(tree(&sample.target()).into_keys().collect::<Vec<_>>(), others);
    assert!(!sample.target().join("snapshots/200/metadata").exists(), "folders that nothing is in are removed");
    let again = Assign { attempt: Some(attempt(4, 3)), ..assign };
    assert!(matches!(talk.finish(again).await, Outcome::CleanedUp(_)), "there is nothing left to delete");
}
