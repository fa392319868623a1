//! A worker without a lease writes nothing.

use crate::support::leader::{LONG_LEASE_MS, Node, is_dropped, until};
use crate::support::sample::{Sample, attempt, copied_segments, tree};
use crate::support::worker::{Worker, config};
use ferry_proto::v1::Assign;
use ferry_proto::v1::session_request::Message as Request;
use ferry_worker::Config;

const SHORT_LEASE_MS: u64 = 3_000;

/// A copy that goes on for days after its first chunk: whatever a test does happens in the middle of it.
pub(crate) fn endless(assign: Assign) -> Assign {
    Assign { bandwidth_bytes_per_second: 1, ..assign }
}

/// Copies one file after the other, so that an endless copy always stands still at the same place.
fn one_by_one(node: &Node) -> Config {
    Config { files_per_task: 1, ..config(node) }
}

/// Waits until an endless copy stands still: the first file, a small one, is in place, the second is begun.
async fn settled(sample: &Sample) {
    until(|| {
        let files = tree(&sample.target());
        let begun = files.keys().filter(|key| key.starts_with(".ferry")).count();
        begun == 1 && files.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_a_worker_whose_lease_is_not_renewed_stops_by_itself() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(one_by_one(&node));
    let mut talk = node.welcome(SHORT_LEASE_MS).await;
    talk.assign(endless(sample.assign(attempt(1, 1))));
    talk.claim(attempt(1, 1)).await;
    talk.claimed(attempt(1, 1));
    talk.progress(attempt(1, 1)).await;
    settled(&sample).await;
    talk.renew(false);
    // The worker asks for another leader when this one falls silent; none of them renews.
    while talk.wait_or_end(|message| is_dropped(&message, attempt(1, 1)).then_some(())).await.is_none() {
        talk = node.welcome_silently(SHORT_LEASE_MS).await;
        if talk.hello.running.is_empty() {
            break;
        }
    }
    let stopped = tree(&sample.target());
    assert_eq!(stopped.len(), 1, "nothing more was put in place, and no unfinished file stays: {:?}", stopped.keys());
    drop(talk);
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert_eq!(talk.hello.running, [], "a stopped attempt is not listed again");
    let again = sample.assign_claimed(attempt(1, 2));
    copied_segments(talk.finish(again).await);
    assert_eq!(sample.copied(), sample.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_an_attempt_that_ends_between_hello_and_welcome_is_said_to_be_dropped() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(one_by_one(&node));
    let mut talk = node.welcome(SHORT_LEASE_MS).await;
    talk.assign(endless(sample.assign(attempt(1, 1))));
    talk.claim(attempt(1, 1)).await;
    talk.claimed(attempt(1, 1));
    talk.progress(attempt(1, 1)).await;
    settled(&sample).await;
    drop(talk);
    let heard = node.hear().await;
    assert_eq!(heard.hello.running, [attempt(1, 1)], "its lease holds");
    // The lease ends: the file that was begun is removed.
    until(|| tree(&sample.target()).len() == 1).await;
    let mut talk = heard.welcome(LONG_LEASE_MS, true);
    talk.wait(|message| is_dropped(&message, attempt(1, 1)).then_some(())).await;
    copied_segments(talk.finish(sample.assign_claimed(attempt(1, 2))).await);
    assert_eq!(sample.copied(), sample.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_waits_for_the_first_renewal() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome_silently(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    let mut heartbeats = 0;
    talk.wait(|message| match message {
        Request::Heartbeat(_) => {
            heartbeats += 1;
            (heartbeats == 10).then_some(())
        }
        other => panic!("it has no lease, but says {other:?}"),
    })
    .await;
    talk.renew(true);
    assert!(talk.claim(attempt(1, 1)).await.total_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_an_attempt_dropped_while_it_waits_for_the_first_renewal_never_begins() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(Config { slots: 1, ..config(&node) });
    let mut talk = node.welcome_silently(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    talk.drop_attempt(attempt(1, 1));
    talk.dropped(attempt(1, 1)).await;
    // The first renewal begins whatever still waits, and the only slot is then taken.
    talk.renew(true);
    talk.assign(sample.assign(attempt(2, 1)));
    let begun = talk.wait(|message| match message {
        Request::Claim(claim) => claim.attempt,
        Request::Result(result) => panic!("the slot was taken: {result:?}"),
        _ => None,
    });
    assert_eq!(begun.await, attempt(2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_an_attempt_that_was_said_to_be_dropped_never_begins_again() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(config(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(sample.assign(attempt(1, 1)));
    talk.claim(attempt(1, 1)).await;
    talk.drop_attempt(attempt(1, 1));
    talk.dropped(attempt(1, 1)).await;
    // A leader that has not committed the release yet sends what its rows still have.
    talk.assign(sample.assign_claimed(attempt(1, 1)));
    talk.dropped(attempt(1, 1)).await;
    assert!(tree(&sample.target()).is_empty(), "nothing is written without a lease");
    talk.assign(sample.assign(attempt(1, 2)));
    assert!(talk.claim(attempt(1, 2)).await.total_bytes > 0, "a later attempt begins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_restarts_no_copy() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let _worker = Worker::start(one_by_one(&node));
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    talk.assign(endless(sample.assign(attempt(1, 1))));
    talk.claim(attempt(1, 1)).await;
    talk.claimed(attempt(1, 1));
    let before = talk.progress(attempt(1, 1)).await;
    settled(&sample).await;
    let (incarnation, files) = (talk.hello.incarnation, tree(&sample.target()));
    drop(talk);
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    assert_eq!(talk.hello.running, [attempt(1, 1)]);
    assert_eq!(talk.hello.incarnation, incarnation);
    talk.assign(endless(sample.assign(attempt(1, 1))));
    assert_eq!(talk.progress(attempt(1, 1)).await, before, "a new leader is told how far it is");
    assert_eq!(tree(&sample.target()), files, "the very same temporary files are still being written");
}
