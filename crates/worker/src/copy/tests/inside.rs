//! Large objects inside one store: copied in parts by the store, and streamed where it refuses.

use super::part_store::{Behaviour, PartStore};
use super::*;
use crate::copy::ServerSide;
use crate::copy::copy_parts;
use object_store::aws::{self, AmazonS3Builder};

const GIB: u64 = 1 << 30;

/// A way inside one store, of which the client knows what its library lacks.
pub(super) fn way(store: &PartStore) -> Way {
    way_to(store, "bucket")
}

/// The same from a bucket to another, or to itself.
fn way_to(store: &PartStore, bucket: &str) -> Way {
    let client = |bucket: &str| {
        AmazonS3Builder::new()
            .with_endpoint(store.endpoint())
            .with_allow_http(true)
            .with_access_key_id("any")
            .with_secret_access_key("any")
            .with_checksum_algorithm(aws::Checksum::SHA256)
            .with_bucket_name(bucket)
    };
    let stores = Stores::new().with_s3("s3://bucket", client("bucket")).unwrap();
    let target = format!("s3://{bucket}");
    let stores = if bucket == "bucket" { stores } else { stores.with_s3(&target, client(bucket)).unwrap() };
    let (source, target) = (stores.open("s3://bucket").unwrap(), stores.open(&format!("{target}/to")).unwrap());
    Way { name: "inside", source, target, _folder: tempfile::tempdir().unwrap() }
}

async fn planned(copier: &Copier, key: &str) -> FileCopy {
    let source = copier.source.head(key).await.unwrap().unwrap();
    FileCopy { source_key: key.into(), target_key: "c/d".into(), source, checksum: None, shared: false }
}

fn meter(copier: &Copier) -> super::super::FileMeter<'_> {
    super::super::FileMeter { meter: &copier.meter, reached: std::sync::atomic::AtomicU64::new(0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_copied_by_its_store_in_parts_at_once_each_of_the_version_that_was_planned() {
    let store = PartStore::start(Behaviour { delay: Duration::from_millis(50), ..Behaviour::default() }).await;
    store.put_size("a%20b/c%2Bd%25", 6 * GIB + 1);
    let way = way(&store);
    let (copier, _) = way.copier();
    let file = planned(&copier, "a b/c+d%").await;
    copier.copy(&file).await.unwrap();
    assert_eq!(store.size_bytes("to/c/d"), Some(6 * GIB + 1));
    assert_eq!((copier.meter.bytes(), store.unfinished_uploads()), (6 * GIB + 1, 0));
    let seen = store.inside();
    assert_eq!((seen.copies.len(), seen.readings.len()), (25, 0), "no byte passes through the worker");
    assert!(seen.copying_max > 1, "several at once");
    for (source, _, condition) in &seen.copies {
        assert_eq!(source, "/bucket/a%20b/c%2Bd%25");
        assert_eq!(condition.as_deref(), Some("\"tag\""));
    }
    let ranges: std::collections::BTreeSet<&str> = seen.copies.iter().map(|(_, range, _)| range.as_str()).collect();
    assert!(ranges.contains("bytes=0-268435455") && ranges.contains("bytes=6442450944-6442450944"), "{ranges:?}");
    // An upload that was begun with checksums is completed with those that the store gave.
    let said = &seen.completions[0];
    assert!(said.contains("<ChecksumSHA256>sum/25=</ChecksumSHA256>"), "{said}");
    assert!(said.contains("copied-1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_to_copy_a_part_leads_to_streaming_and_keeps_nothing_of_it() {
    for (refusal, for_good) in [
        ((501, "NotImplemented"), true),
        ((405, "MethodNotAllowed"), true),
        ((403, "AccessDenied"), false),
        ((400, "InvalidRequest"), false),
    ] {
        let store = PartStore::start(Behaviour { refuses_copies: Some(refusal), ..Behaviour::default() }).await;
        store.put_size("a/b", 2 * GIB);
        let way = way(&store);
        let (copier, _) = way.copier();
        let file = planned(&copier, "a/b").await;
        let copied = copy_parts::copy(&copier, &file, &meter(&copier)).await.unwrap();
        let ServerSide::Refused { reason, for_good: found } = copied else { panic!("{copied:?}") };
        assert!(reason.to_string().contains(refusal.1), "{reason}");
        assert_eq!((found, store.unfinished_uploads()), (for_good, 0), "{refusal:?}");
        assert!(copier.target.location().refused_copies_in_parts(), "it is news once");
        assert!(!copier.target.location().refused_copies_in_parts());
        assert!(!copier.target.location().copies_in_parts() && copier.target.location().copies_of(&way.source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_under_a_good_status_is_no_part_and_leaves_nothing() {
    let refusing = Behaviour { refuses_copies: Some((200, "InternalError")), ..Behaviour::default() };
    let store = PartStore::start(refusing).await;
    store.put_size("a/b", 2 * GIB);
    let way = way(&store);
    let (copier, _) = way.copier();
    let file = planned(&copier, "a/b").await;
    let fault = copy_parts::copy(&copier, &file, &meter(&copier)).await.unwrap_err();
    assert!(matches!(&fault, Fault::Transient(reason) if reason.contains("InternalError")), "{fault}");
    assert_eq!((store.unfinished_uploads(), store.size_bytes("to/c/d")), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_another_by_now_is_named_and_not_copied() {
    let changed = Behaviour { refuses_copies: Some((412, "PreconditionFailed")), ..Behaviour::default() };
    let store = PartStore::start(changed).await;
    store.put_size("a/b", 2 * GIB);
    let way = way(&store);
    let (copier, _) = way.copier();
    let file = planned(&copier, "a/b").await;
    let fault = copier.copy(&file).await.unwrap_err();
    assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("a/b was written to")), "{fault}");
    assert_eq!((store.unfinished_uploads(), store.size_bytes("to/c/d")), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_are_found_by_their_whole_key_and_aborted_one_by_one() {
    let store = PartStore::start(Behaviour::default()).await;
    let way = way(&store);
    for key in ["c/d", "c/d", "c/d", "c/d2", "c"] {
        way.target.begin_copy_in_parts(&way.source, key).await.unwrap().unwrap();
    }
    let found = way.target.unfinished_uploads("c/d").await.unwrap();
    assert_eq!(found.len(), 3, "the store tells one a page: {found:?}");
    for upload in &found {
        way.target.abort_upload("c/d", upload).await.unwrap();
    }
    assert_eq!(way.target.unfinished_uploads("c/d").await.unwrap(), []);
    assert_eq!(store.unfinished_uploads(), 2, "those of other keys are kept");
    way.target.abort_upload("c/d", &found[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_buckets_of_one_store_copy_between_them_small_objects_at_once_and_large_ones_in_parts() {
    for size_bytes in [1_000, 2 * GIB] {
        let store = PartStore::start(Behaviour::default()).await;
        // It keeps its keys as they come in requests.
        store.put_size("a%20b/c", size_bytes);
        let way = way_to(&store, "other");
        let (copier, _) = way.copier();
        let file = planned(&copier, "a b/c").await;
        copier.copy(&file).await.unwrap();
        let seen = store.inside();
        let sources: std::collections::BTreeSet<&str> =
            seen.copies.iter().map(|(source, ..)| source.as_str()).collect();
        assert_eq!(sources, ["/bucket/a%20b/c"].into(), "{size_bytes} bytes");
        assert_eq!((seen.readings.len(), copier.meter.bytes()), (0, size_bytes), "no byte passes through the worker");
        drop(seen);
        assert_eq!(store.size_bytes_at("/other/to/c/d"), Some(size_bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forbids_copies_between_its_buckets_streams_them_and_still_copies_within_one() {
    let store =
        PartStore::start(Behaviour { refuses_copies: Some((403, "AccessDenied")), ..Behaviour::default() }).await;
    store.put("a/b", content(1_000));
    let way = way_to(&store, "other");
    let (copier, _) = way.copier();
    let file = planned(&copier, "a/b").await;
    for asked in [1, 2, 3, 3, 3] {
        copier.copy(&file).await.unwrap();
        assert_eq!(store.inside().copies.len(), asked, "after three refusals it is asked no more");
        assert_eq!(store.size_bytes_at("/other/to/c/d"), Some(1_000));
    }
    let (source, target) = (copier.source.location(), copier.target.location());
    assert!(!target.copies_of(source) && target.copies_of(target), "within a bucket it is asked as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_of_two_stores_are_never_taken_for_those_of_one() {
    let store = PartStore::start(Behaviour::default()).await;
    let (one, other) = (way_to(&store, "other"), way_to(&store, "other"));
    assert!(one.target.copies_of(&one.source) && !other.target.copies_of(&one.source));
    assert!(!one.target.copies_of(&ways()[0].source));
}

/// The copier, under a limit of its job.
fn limited(copier: Copier, bytes_per_second: u64) -> Copier {
    let share = Share { bytes_per_second: Some(bytes_per_second), requests_per_1000_s: None };
    Copier { limits: Bandwidths::new(0).of_job(1, share), ..copier }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_limit_of_bytes_the_store_copies_in_parts_what_would_take_more_than_a_moment() {
    const MIB: u64 = 1 << 20;
    for (limit, size_bytes, copied_ranges) in [
        (1 << 40, 512 * MIB, ["bytes=0-268435455", "bytes=268435456-536870911"].as_slice()),
        (1 << 40, 8 * MIB, [""].as_slice()),
        (400 * MIB, 101 * MIB, ["bytes=0-104857599", "bytes=104857600-105906175"].as_slice()),
        (100 * MIB, 9 * MIB, [""].as_slice()),
        (32 * MIB, 9 * MIB, ["bytes=0-8388607", "bytes=8388608-9437183"].as_slice()),
    ] {
        let store = PartStore::start(Behaviour::default()).await;
        store.put_size("a/b", size_bytes);
        let way = way(&store);
        let copier = limited(way.copier().0, limit);
        let file = planned(&copier, "a/b").await;
        copier.copy(&file).await.unwrap();
        let seen = store.inside();
        let ranges: std::collections::BTreeSet<&str> = seen.copies.iter().map(|(_, range, _)| range.as_str()).collect();
        assert_eq!(ranges, copied_ranges.iter().copied().collect(), "{size_bytes} bytes at {limit} a second");
        drop(seen);
        assert_eq!((store.size_bytes("to/c/d"), copier.meter.bytes()), (Some(size_bytes), size_bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_never_makes_an_object_pass_through_the_worker_that_its_store_copies_as_a_whole() {
    let refusing = Behaviour { refuses_copies_of_parts: Some((501, "NotImplemented")), ..Behaviour::default() };
    let store = PartStore::start(refusing).await;
    store.put_size("a/b", 9 << 20);
    let way = way(&store);
    let copier = limited(way.copier().0, 32 << 20);
    let file = planned(&copier, "a/b").await;
    for whole in 1..=2 {
        copier.copy(&file).await.unwrap();
        let seen = store.inside();
        let (wholes, parts): (Vec<_>, Vec<_>) = seen.copies.iter().partition(|(_, range, _)| range.is_empty());
        assert_eq!((wholes.len(), seen.readings.len()), (whole, 0));
        assert!(parts.len() <= 2, "after its refusal it is asked for parts no more: {parts:?}");
    }
    assert_eq!(store.unfinished_uploads(), 0);
}
