//! What the leader and the worker owe each other about an attempt.

use crate::lease::endless;
use crate::support::leader::{LONG_LEASE_MS, Node, Talk};
use crate::support::sample::{Sample, attempt, copied_segments, failure, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::FailureKind;
use ferry_worker::Config;

async fn begin(talk: &mut Talk, sample: &Sample) {
    talk.assign(endless(sample.assign(attempt(1, 1))));
    talk.claim(attempt(1, 1)).await;
    talk.claimed(attempt(1, 1));
    talk.progress(attempt(1, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_repeated_across_sessions_until_it_is_acknowledged() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    talk.claim(attempt(1, 1)).await;
    talk.claimed(attempt(1, 1));
    let first = talk.result(attempt(1, 1)).await;
    assert_eq!(talk.result(attempt(1, 1)).await, first);
    drop(talk);
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert_eq!(talk.hello.running, [attempt(1, 1)], "an outcome that was not acknowledged is listed");
    assert_eq!(talk.result(attempt(1, 1)).await, first);
    talk.acknowledge(attempt(1, 1));
    // What follows the acknowledgement in the stream is answered after it.
    talk.drop_attempt(attempt(2, 1));
    talk.dropped(attempt(2, 1)).await;
    drop(talk);
    assert_eq!(node.welcome(LONG_LEASE_MS).await.hello.running, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_answered_when_nothing_is_written_any_more() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    begin(&mut talk, &sample).await;
    talk.drop_attempt(attempt(1, 1));
    talk.dropped(attempt(1, 1)).await;
    let files = tree(&sample.target());
    assert!(files.keys().all(|key| !key.starts_with(".ferry")), "no unfinished file stays: {:?}", files.keys());
    drop(talk);
    assert_eq!(node.welcome(LONG_LEASE_MS).await.hello.running, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_limit_counts_for_what_runs_and_for_what_has_not_begun_to_copy() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    begin(&mut talk, &sample).await;
    let job_id = sample.assign(attempt(1, 1)).job_id;
    talk.limit(job_id, 0);
    copied_segments(talk.result(attempt(1, 1)).await);
    talk.acknowledge(attempt(1, 1));
    talk.assign(endless(sample.assign_claimed(attempt(2, 1))));
    talk.limit(job_id, 0);
    copied_segments(talk.result(attempt(2, 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_of_an_unknown_attempt_is_answered_at_once() {
    let mut node = Node::start().await;
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.drop_attempt(attempt(8, 9));
    talk.dropped(attempt(8, 9)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_takes_the_place_of_an_earlier_one() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    begin(&mut talk, &sample).await;
    talk.assign(sample.assign_claimed(attempt(1, 2)));
    talk.dropped(attempt(1, 1)).await;
    copied_segments(talk.result(attempt(1, 2)).await);
    assert_eq!(sample.copied(), sample.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_slots_is_given_back() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(Config { slots: 1, ..config(&node) });
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    begin(&mut talk, &sample).await;
    talk.assign(sample.assign(attempt(2, 1)));
    let failure = failure(talk.result(attempt(2, 1)).await);
    assert_eq!(failure.kind(), FailureKind::GivenBack, "{}", failure.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_gives_back_what_it_runs() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    begin(&mut talk, &sample).await;
    let running = worker.end();
    let failure = failure(talk.result(attempt(1, 1)).await);
    assert_eq!(failure.kind(), FailureKind::GivenBack, "{}", failure.reason);
    assert!(!running.is_finished(), "it waits for the acknowledgement");
    talk.acknowledge(attempt(1, 1));
    Worker::ended(running).await;
}

#[test]
fn a_worker_killed_in_mid_copy_is_followed_by_one_that_finishes() {
    let sample = Sample::new();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut node = second.block_on(Node::start());
    let options = config(&node);
    let killed = first.block_on(async { Worker::start(options.clone()) });
    let talk = second.block_on(async {
        let mut talk = node.welcome(LONG_LEASE_MS).await;
        begin(&mut talk, &sample).await;
        talk
    });
    first.shutdown_background();
    drop(killed);
    let incarnation = talk.hello.incarnation;
    drop(talk);
    // A process that is killed leaves what it was writing.
    let left = sample.target().join(".ferry/attempts/1-1/unfinished");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "half a file").unwrap();
    second.block_on(async {
        let _worker = Worker::start(options);
        let mut talk = node.welcome(LONG_LEASE_MS).await;
        assert_ne!(talk.hello.incarnation, incarnation);
        assert_eq!(talk.hello.running, [], "a new process knows nothing of the old one's attempts");
        copied_segments(talk.finish(sample.assign_claimed(attempt(1, 2))).await);
    });
    assert_eq!(sample.copied(), sample.expected(), "every file, and no temporary one");
}
