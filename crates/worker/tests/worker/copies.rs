//! What a copy is: every file of a segment, byte for byte, under the new ids, and nothing else.

use crate::support::leader::{LONG_LEASE_MS, Node};
use crate::support::sample::{Sample, TARGET_SEGMENTS, assert_permanent, attempt, copied_segments, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::VerifyMode;
use std::os::unix::fs::MetadataExt;

#[tokio::test(flavor = "multi_thread")]
async fn every_file_arrives_byte_equal_under_the_new_ids() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    let segments = copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    assert_eq!(sample.copied(), sample.expected(), "no file is missing, none is left over");
    assert_eq!(segments.iter().map(|segment| segment.target_segment_id).collect::<Vec<_>>(), TARGET_SEGMENTS);
    assert!(segments.iter().all(|segment| segment.num_of_rows == 1_100 && segment.partition_id == 300));
    let bytes: usize = sample.expected().values().map(Vec::len).sum();
    assert_eq!(segments.iter().map(|segment| segment.size_bytes).sum::<u64>(), bytes as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_before_the_claim_is_committed() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    let claim = talk.claim(attempt(1, 1)).await;
    let repeated = talk.claim(attempt(1, 1)).await;
    assert_eq!(repeated, claim, "a claim is repeated until it is answered");
    assert_eq!(claim.manifests, sample.manifests(), "it brings what the keys follow from");
    assert!(!sample.target().exists());
    talk.claimed(attempt(1, 1));
    let segments = copied_segments(talk.result(attempt(1, 1)).await);
    assert_eq!(segments.iter().map(|segment| segment.size_bytes).sum::<u64>(), claim.total_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_the_claimed_total_without_passing_it() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    let assign = ferry_proto::v1::Assign { bandwidth_bytes_per_second: 500_000, ..sample.assign(attempt(1, 1)) };
    talk.assign(assign);
    let total_bytes = talk.claim(attempt(1, 1)).await.total_bytes;
    talk.claimed(attempt(1, 1));
    let first = talk.progress(attempt(1, 1)).await;
    assert!(0 < first && first <= total_bytes);
    copied_segments(talk.result(attempt(1, 1)).await);
    assert_eq!(sample.copied(), sample.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_keeps_what_is_finished_and_replaces_what_is_not_right() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let kept = sample.target().join("insert_log/200/300/9001/101/470636907273850242");
    let altered = sample.target().join("insert_log/200/300/9002/101/470636907273850248");
    let short = sample.target().join("insert_log/200/300/9003/101/470636907273850254");
    let kept_inode = std::fs::metadata(&kept).unwrap().ino();
    let mut content = std::fs::read(&altered).unwrap();
    content[1_000] ^= 1;
    std::fs::write(&altered, content).unwrap();
    std::fs::write(&short, "short").unwrap();
    let again = ferry_proto::v1::Assign { verify: VerifyMode::Full.into(), ..sample.assign_claimed(attempt(1, 2)) };
    copied_segments(talk.finish(again).await);
    assert_eq!(sample.copied(), sample.expected());
    assert_eq!(std::fs::metadata(&kept).unwrap().ino(), kept_inode, "it was not written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_a_target_object_that_exists_is_named_and_left_alone() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let foreign = "insert_log/200/300/9002/101/470636907273850248";
    std::fs::create_dir_all(sample.target().join(foreign).parent().unwrap()).unwrap();
    std::fs::write(sample.target().join(foreign), "not ours").unwrap();
    let before = tree(&sample.target());
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    let outcome = talk.result_without_claim(attempt(1, 1)).await;
    assert_permanent(outcome, &[foreign, "exists already"]);
    assert_eq!(tree(&sample.target()), before, "nothing is overwritten, nothing deleted, nothing added");
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_a_target_that_is_its_own_source_is_refused() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let before = tree(&sample.source());
    let mut assign = sample.assign(attempt(1, 1));
    assign.first_build_id = 0;
    let target = assign.target.as_mut().unwrap();
    target.uri.clone_from(&assign.source_uri);
    target.collection_id = 470636907273650226;
    target.partition_ids.clear();
    for mapping in &mut assign.id_mappings {
        mapping.target_segment_id = mapping.source_segment_id;
    }
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert_permanent(talk.finish(assign).await, &["is the object itself"]);
    assert_eq!(tree(&sample.source()), before);
}
