//! What is told of requests that an attempt left in a store, however it ends.

use super::{Attempts, Entry, Phase};
use crate::attempt::{Key, Report, Runner};
use crate::bandwidth::Bandwidths;
use crate::copy::{Disks, PartsBudget};
use crate::late_store::{LateStore, Mood};
use crate::leader::Leader;
use crate::lease::Term;
use crate::metrics::Metrics;
use crate::writes::Writes;
use ferry_objects::{Checksum, Stores, file_uri};
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::{Assign, FailureKind, IdMapping, TargetRef, TaskWork, WritesBegun};
use ferry_snapshot::Snapshots;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};

/// How long the store may carry out what was given up, in milliseconds.
const LATE_MS: u64 = 600_000;
const KEY: Key = Key { task_id: 7, attempt: 1 };
const TERM_MS: u64 = 600_000;

/// A worker's attempts, of which one copies the sample into a store that holds its writes back.
struct Copying {
    attempts: Attempts,
    reports: mpsc::UnboundedReceiver<Report>,
    store: LateStore,
    _lease: watch::Sender<Option<Term>>,
}

fn term() -> Term {
    Term { number: 1, ends_at: Instant::now() + Duration::from_millis(TERM_MS) }
}

fn assign() -> Assign {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshot/testdata/milvus-sample");
    let sample = sample.canonicalize().unwrap();
    let metadata = std::fs::read(sample.join("snapshots/470636907273650226/metadata/9001.json")).unwrap();
    let pin = Checksum::of(&metadata);
    let mapping = IdMapping { source_segment_id: 470_636_907_273_850_237, target_segment_id: 9_001, partition_id: 0 };
    let target = TargetRef { uri: "s3://bucket/target".to_owned(), collection_id: 200, ..TargetRef::default() };
    Assign {
        attempt: Some(KEY.into()),
        job_id: 77,
        source_uri: file_uri(&sample),
        metadata_bytes: pin.size_bytes,
        metadata_crc32c: pin.crc32c,
        target: Some(target),
        id_mappings: vec![mapping],
        first_build_id: 5_000,
        work: TaskWork::Copy.into(),
        snapshot_id: 8_000,
        ..Assign::default()
    }
}

impl Copying {
    /// The attempt has sent its first writes, and none is answered.
    async fn begin() -> Copying {
        let (store, client) = LateStore::start().await;
        store.becomes(Mood::HoldsBack);
        let runner = Arc::new(Runner {
            snapshots: Snapshots::new(Stores::new().with("s3://bucket", client).unwrap(), 1 << 20),
            leader: Leader::new(watch::channel(None).1),
            bandwidths: Bandwidths::new(0),
            budget: PartsBudget::default(),
            disks: Disks::default(),
            metrics: Arc::new(Metrics::new().unwrap()),
            request_timeout: Duration::from_secs(30),
            late_writes: Duration::from_millis(LATE_MS),
            files_at_once: 8,
            read_back: false,
        });
        let (sender, reports) = mpsc::unbounded_channel();
        let (lease_sender, lease) = watch::channel(Some(term()));
        let attempts = Attempts::new(runner, lease, sender, 1);
        let mut copying = Copying { attempts, reports, store, _lease: lease_sender };
        assert_eq!(copying.attempts.assign(assign(), term()), None);
        assert!(matches!(copying.hear().await, Some(Message::Claim(_))));
        copying.attempts.claimed(KEY);
        copying.store.has_held_back(1).await;
        copying
    }

    /// What the leader has to hear of the attempt's writes next.
    async fn hear_of_writes(&mut self) -> Message {
        loop {
            if let Some(message) = self.attempts.writes_news().pop() {
                return message;
            }
            self.attempts.writes_changed().notified().await;
        }
    }

    /// What the attempt has to say next.
    async fn hear(&mut self) -> Option<Message> {
        let report = self.reports.recv().await.unwrap();
        self.attempts.report(report)
    }
}

fn dropped_ms(message: Option<&Message>) -> u64 {
    let Some(Message::Dropped(dropped)) = message else { panic!("it is dropped: {message:?}") };
    dropped.writes_for_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_tells_what_was_left_and_so_does_each_repetition() {
    let mut copying = Copying::begin().await;
    assert_eq!(copying.attempts.drop_attempt(KEY), None, "it is answered when nothing runs any more");
    let told = copying.hear().await;
    assert_eq!(dropped_ms(told.as_ref()), LATE_MS);
    assert_eq!(dropped_ms(copying.attempts.drop_attempt(KEY).as_ref()), LATE_MS);
    assert_eq!(
        dropped_ms(copying.attempts.assign(assign(), term()).as_ref()),
        LATE_MS,
        "the leader had not heard of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_lease_tells_what_was_left() {
    let mut copying = Copying::begin().await;
    copying.attempts.lease_ended();
    let told = copying.hear().await;
    assert_eq!(dropped_ms(told.as_ref()), LATE_MS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_tells_what_was_left_until_it_is_acknowledged() {
    let mut copying = Copying::begin().await;
    copying.attempts.close();
    let told = copying.hear().await;
    let Some(Message::Result(result)) = &told else { panic!("it is given back: {told:?}") };
    assert!(matches!(&result.outcome, Some(Outcome::Failure(failure)) if failure.kind() == FailureKind::GivenBack));
    assert_eq!(result.writes_for_ms, LATE_MS);
    assert_eq!(copying.attempts.outstanding(), told.into_iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_the_place_of_a_stopped_one_tells_what_that_one_left() {
    let mut copying = Copying::begin().await;
    copying.attempts.lease_ended();
    assert_eq!(copying.attempts.assign(Assign { claimed: false, ..assign() }, term()), None, "before the end is heard");
    copying.store.becomes(Mood::Refuses);
    assert_eq!(copying.attempts.drop_attempt(KEY), None);
    while let Some(report) = copying.reports.recv().await {
        if let Some(Message::Dropped(dropped)) = copying.attempts.report(report) {
            assert_eq!(dropped.writes_for_ms, LATE_MS);
            return;
        }
    }
    panic!("the attempt is never said to be dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_wrote_nothing_or_had_each_answer_leaves_nothing() {
    let mut copying = Copying::begin().await;
    copying.store.becomes(Mood::Prompt);
    let told = copying.hear().await;
    let Some(Message::Result(result)) = told else { panic!("it is copied: {told:?}") };
    assert!(matches!(result.outcome, Some(Outcome::Copied(_))), "{result:?}");
    assert_eq!(result.writes_for_ms, 0);
    assert_eq!(
        dropped_ms(copying.attempts.drop_attempt(Key { task_id: 8, attempt: 3 }).as_ref()),
        0,
        "it never was here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_writes_were_answered_asks_before_the_next_one() {
    let (session, key) = (Arc::new(Notify::new()), KEY);
    let mut copying = Copying::begin().await;
    copying.attempts.writes_changed = Arc::clone(&session);
    let Some(Entry { phase: Phase::Running(running), .. }) = copying.attempts.entries.get_mut(&key) else {
        panic!("it runs");
    };
    let writes = Writes::of_session(session, false);
    running.writes = writes.clone();
    assert!(writes.begin().await.send(async { Ok(()) }).await.is_ok());
    writes.may_settle(true);
    assert!(matches!(copying.hear_of_writes().await, Message::WritesSettled(_)));
    let next = tokio::spawn(async move { writes.begin().await.send(async { Ok(()) }).await });
    let Message::WritesBegin(begin) = copying.hear_of_writes().await else { panic!("it asks") };
    assert_eq!(copying.attempts.writes_outstanding(), [Message::WritesBegin(begin)], "until it is answered");
    let begun = |sequence| WritesBegun { attempt: begin.attempt, sequence };
    copying.attempts.forget_writes(true);
    let Message::WritesBegin(again) = copying.hear_of_writes().await else { panic!("another leader is asked") };
    copying.attempts.writes_begun(begun(begin.sequence));
    assert!(!next.is_finished(), "the answer is to an earlier request");
    copying.attempts.writes_begun(begun(again.sequence));
    assert!(next.await.unwrap().is_ok());
}
