//! A clean-up deletes what the task wrote, and nothing else.

use crate::support::leader::{LONG_LEASE_MS, Node};
use crate::support::sample::{Sample, attempt, copied_segments, failure, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::{Assign, FailureKind, TaskWork};

fn clean_up(sample: &Sample, number: u32) -> Assign {
    Assign { work: TaskWork::CleanUp.into(), ..sample.assign_claimed(attempt(1, number)) }
}

fn put(sample: &Sample, key: &str) {
    let path = sample.target().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_tasks_own_objects_are_deleted() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let foreign = [
        "insert_log/200/300/9001/101/of_somebody_else",
        "insert_log/200/300/9004/101/1",
        ".ferry/attempts/2-1/of_another_task",
    ];
    for key in foreign {
        put(&sample, key);
    }
    put(&sample, ".ferry/attempts/1-1/unfinished");
    assert!(matches!(talk.finish(clean_up(&sample, 2)).await, Outcome::CleanedUp(_)));
    let mut left: Vec<String> = tree(&sample.target()).into_keys().collect();
    let mut foreign = foreign.map(str::to_owned);
    left.sort();
    foreign.sort();
    assert_eq!(left, foreign);
    assert!(!sample.target().join("index_files").exists(), "folders that nothing is in are removed");
    assert!(!sample.target().join(".ferry/attempts/1-1").exists());
    assert_eq!(sample.expected().len(), 26, "and the source is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_up_again_finds_nothing_and_succeeds() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert!(matches!(talk.finish(clean_up(&sample, 1)).await, Outcome::CleanedUp(_)));
    assert!(matches!(talk.finish(clean_up(&sample, 2)).await, Outcome::CleanedUp(_)));
    assert!(tree(&sample.target()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn s41_what_the_task_never_claimed_is_not_deleted() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let key = "insert_log/200/300/9001/101/470636907273850242";
    put(&sample, key);
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    let assign = Assign { work: TaskWork::CleanUp.into(), ..sample.assign(attempt(1, 2)) };
    talk.assign(assign);
    assert!(matches!(talk.result(attempt(1, 2)).await, Outcome::CleanedUp(_)));
    assert_eq!(tree(&sample.target()).into_keys().collect::<Vec<_>>(), [key]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_source_the_clean_up_is_tried_again_later() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let assign = clean_up(&sample, 2);
    std::fs::remove_dir_all(sample.source()).unwrap();
    let copied = tree(&sample.target());
    let failure = failure(talk.finish(assign).await);
    assert_eq!(failure.kind(), FailureKind::Transient);
    assert!(failure.reason.contains("cannot derive the target objects"), "{}", failure.reason);
    assert_eq!(tree(&sample.target()), copied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_altered_before_the_clean_up_leaves_everything_over_and_is_named() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    let assign = clean_up(&sample, 2);
    // A good manifest of other files: what follows from it are keys that the task never wrote.
    std::fs::copy(sample.manifest(0), sample.manifest(1)).unwrap();
    put(&sample, "insert_log/200/300/9002/101/470636907273850242");
    let copied = tree(&sample.target());
    let failure = failure(talk.finish(assign).await);
    assert_eq!(failure.kind(), FailureKind::Transient, "the source may be restored before the attempts are used up");
    for part in ["cannot derive the target objects", "470636907274050255.avro", "has changed"] {
        assert!(failure.reason.contains(part), "{part}: {}", failure.reason);
    }
    assert_eq!(tree(&sample.target()), copied);
}
