//! A verification: every object of the source, and of a copy, is looked at; what differs is named, and nothing is written.

use crate::support::leader::{LONG_LEASE_MS, Node, Talk};
use crate::support::sample::{Sample, TARGET_SEGMENTS, assert_permanent, attempt, copied_segments, failure, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, CopiedSegment, TaskWork, VerifyMode};

const INSERT: &str = "insert_log/470636907273650226/470636907273650227/470636907273850237/101/470636907273850242";
const COPY: &str = "insert_log/200/300/9001/101/470636907273850242";

fn of_copy(sample: &Sample, number: u32, verify: VerifyMode) -> Assign {
    Assign { work: TaskWork::Verify.into(), verify: verify.into(), ..sample.assign(attempt(2, number)) }
}

fn of_source(sample: &Sample, number: u32, verify: VerifyMode) -> Assign {
    let mut assign = Assign { target: None, first_build_id: 0, snapshot_id: 0, ..of_copy(sample, number, verify) };
    assign.id_mappings.iter_mut().for_each(|mapping| mapping.target_segment_id = mapping.source_segment_id);
    assign
}

fn verified(outcome: Outcome) -> Vec<CopiedSegment> {
    match outcome {
        Outcome::Verified(verified) => verified.segments,
        other => panic!("not verified: {other:?}"),
    }
}

/// Changes the first byte of an object, and nothing that a listing shows but its time.
fn flip(path: &std::path::Path) {
    let mut content = std::fs::read(path).unwrap();
    content[0] ^= 1;
    std::fs::write(path, content).unwrap();
}

async fn copied(node: &mut Node, sample: &Sample) -> Talk {
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    talk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_copy_is_found_good_and_nothing_is_written() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = copied(&mut node, &sample).await;
    let before = tree(&sample.target());
    for (verify, number) in [(VerifyMode::Standard, 1), (VerifyMode::Full, 2)] {
        talk.assign(of_copy(&sample, number, verify));
        let claim = talk.claim(attempt(2, number)).await;
        let bytes: usize = sample.expected().values().map(Vec::len).sum();
        assert_eq!(
            (claim.total_bytes, claim.manifests.len()),
            (bytes as u64, 0),
            "it says how much there is to look at"
        );
        talk.claimed(attempt(2, number));
        let segments = verified(talk.result(attempt(2, number)).await);
        assert_eq!(segments.iter().map(|segment| segment.target_segment_id).collect::<Vec<_>>(), TARGET_SEGMENTS);
        assert!(segments.iter().all(|segment| segment.num_of_rows == 1_100 && segment.partition_id == 300));
        assert_eq!(segments.iter().map(|segment| segment.size_bytes).sum::<u64>(), bytes as u64);
    }
    assert!(tree(&sample.target()) == before, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_a_copy_that_is_missing_or_has_another_size_is_named() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = copied(&mut node, &sample).await;
    let index = tree(&sample.target()).into_keys().find(|key| key.starts_with("index_files/5000/")).unwrap();
    let manifest = "snapshots/200/manifests/8000/9002.avro";
    std::fs::remove_file(sample.target().join(&index)).unwrap();
    std::fs::remove_file(sample.target().join(manifest)).unwrap();
    std::fs::write(sample.target().join(COPY), "short").unwrap();
    let outcome = talk.finish(of_copy(&sample, 1, VerifyMode::Standard)).await;
    let reason = failure(outcome.clone()).reason;
    assert!(reason.starts_with("3 of "), "{reason}");
    assert_permanent(outcome, &[&format!("{index} is missing"), &format!("{manifest} is missing"), COPY, "5 bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_the_same_size_is_compared_where_whole_objects_are_read() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = copied(&mut node, &sample).await;
    flip(&sample.target().join(COPY));
    verified(talk.finish(of_copy(&sample, 1, VerifyMode::Standard)).await);
    let outcome = talk.finish(of_copy(&sample, 2, VerifyMode::Full)).await;
    let reason = failure(outcome.clone()).reason;
    assert!(reason.starts_with("1 of ") && !reason.contains("source object"), "{reason}");
    assert_permanent(outcome, &["target object", COPY, "CRC32C"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_looked_at_alone_and_what_it_lacks_is_named() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    for (verify, number) in [(VerifyMode::Standard, 1), (VerifyMode::Full, 2)] {
        let segments = verified(talk.finish(of_source(&sample, number, verify)).await);
        assert_eq!(segments.len(), TARGET_SEGMENTS.len());
    }
    std::fs::remove_file(sample.source().join(INSERT)).unwrap();
    let outcome = talk.finish(of_source(&sample, 3, VerifyMode::Standard)).await;
    assert_permanent(outcome, &["1 of ", "source object", INSERT, "is missing"]);
    assert!(!sample.target().exists(), "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_that_reads_whole_objects_keeps_to_its_bandwidth_and_stops_when_it_is_dropped() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    let slow = Assign { bandwidth_bytes_per_second: 1, ..of_source(&sample, 1, VerifyMode::Full) };
    talk.assign(slow);
    talk.claim(attempt(2, 1)).await;
    talk.claimed(attempt(2, 1));
    talk.drop_attempt(attempt(2, 1));
    talk.dropped(attempt(2, 1)).await;
    verified(talk.finish(of_source(&sample, 2, VerifyMode::Full)).await);
}
