//! Large objects: several parts at once, in order, of one version and in bounded memory.

use super::part_store::{Behaviour, PartStore};
use super::*;
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, RetryConfig};

const DELAY: Duration = Duration::from_millis(100);
/// Six parts, the last of them short.
const SIZE_BYTES: u64 = 5 * CHUNK_BYTES_MAX + 17;

fn slow() -> Behaviour {
    Behaviour { delay: DELAY, ..Behaviour::default() }
}

fn location(store: &PartStore) -> Location {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = AmazonS3Builder::new().with_endpoint(store.endpoint()).with_allow_http(true).with_retry(retry);
    let client: Arc<dyn ObjectStore> =
        Arc::new(client.with_skip_signature(true).with_bucket_name("bucket").build().unwrap());
    Stores::new().with("s3://bucket", client).unwrap().open("s3://bucket").unwrap()
}

/// The way from a store to a store, or to a disk.
fn way(source: &PartStore, target: Option<&PartStore>) -> Way {
    let folder = tempfile::tempdir().unwrap();
    let target = match target {
        Some(target) => location(target),
        None => Stores::new().open(&file_uri(folder.path())).unwrap(),
    };
    Way { name: "large", source: location(source), target, _folder: folder }
}

async fn planned(copier: &Copier) -> FileCopy {
    let source = copier.source.head("a/b").await.unwrap().unwrap();
    FileCopy { source_key: "a/b".into(), target_key: "c/d".into(), source, checksum: None, shared: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_is_read_in_ranges_at_once_and_is_whole_on_the_disk() {
    let source = PartStore::start(slow()).await;
    source.put("a/b", content(SIZE_BYTES));
    let way = way(&source, None);
    let (copier, _) = way.copier();
    let file = FileCopy { checksum: Some(Checksum::of(&content(SIZE_BYTES))), ..planned(&copier).await };
    copier.copy(&file).await.unwrap();
    assert!(way.target().await == Some(content(SIZE_BYTES)));
    assert_eq!(copier.meter.bytes(), SIZE_BYTES);
    let seen = source.inside();
    assert!(seen.reading_max > 2, "{} at once", seen.reading_max);
    assert_eq!(seen.readings.len(), 6, "each range is asked for once: {:?}", seen.readings);
    assert!(seen.readings.iter().all(|(_, tag)| tag.as_deref() == Some("\"tag\"")), "{:?}", seen.readings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_goes_from_store_to_store_with_several_parts_in_flight_and_each_in_its_place() {
    let (source, target) = (PartStore::start(slow()).await, PartStore::start(slow()).await);
    source.put("a/b", content(SIZE_BYTES));
    let way = way(&source, Some(&target));
    let (copier, _) = way.copier();
    let file = FileCopy { checksum: Some(Checksum::of(&content(SIZE_BYTES))), ..planned(&copier).await };
    copier.copy(&file).await.unwrap();
    assert!(target.content("c/d") == Some(content(SIZE_BYTES)));
    assert_eq!((copier.meter.bytes(), target.unfinished_uploads()), (SIZE_BYTES, 0));
    let at_once = (source.inside().reading_max, target.inside().putting_max);
    assert!(at_once.0 > 2 && at_once.1 > 1, "{at_once:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_strong_tag_is_read_in_one_stream() {
    let weak = Behaviour { has_weak_tags: true, ..slow() };
    let (source, target) = (PartStore::start(weak).await, PartStore::start(slow()).await);
    source.put("a/b", content(SIZE_BYTES));
    for way in [way(&source, Some(&target)), way(&source, None)] {
        let (copier, _) = way.copier();
        let file = planned(&copier).await;
        copier.copy(&file).await.unwrap();
        assert!(way.target().await == Some(content(SIZE_BYTES)));
        let readings = std::mem::take(&mut source.inside().readings);
        assert_eq!(readings, [(None, None)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_part_that_breaks_only_the_rest_is_asked_for_again() {
    for to_store in [false, true] {
        let third = 2 * CHUNK_BYTES_MAX;
        let breaking = Behaviour { breaks: Some((third, 1_000_000)), ..slow() };
        let (source, target) = (PartStore::start(breaking).await, PartStore::start(slow()).await);
        source.put("a/b", content(SIZE_BYTES));
        let way = way(&source, to_store.then_some(&target));
        let (copier, _) = way.copier();
        copier.copy_once(&planned(&copier).await, &meter(&copier)).await.unwrap();
        assert!(way.target().await == Some(content(SIZE_BYTES)));
        assert_eq!(copier.meter.bytes(), SIZE_BYTES);
        let seen = source.inside();
        let again = seen.readings.iter().filter_map(|(range, _)| range.clone()).find(|range| range.start % third > 0);
        let starts: Vec<u64> = seen.readings.iter().filter_map(|(range, _)| Some(range.as_ref()?.start)).collect();
        let odd: Vec<&u64> = starts.iter().filter(|start| *start % CHUNK_BYTES_MAX > 0).collect();
        assert_eq!((starts.len(), odd.len()), (7, 1), "{:?}", seen.readings);
        assert!(*odd[0] > third && *odd[0] <= third + 1_000_000, "it goes on where it broke: {again:?}");
    }
}

fn meter(copier: &Copier) -> super::super::FileMeter<'_> {
    super::super::FileMeter { meter: &copier.meter, reached: std::sync::atomic::AtomicU64::new(0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_is_aborted_until_the_store_answers() {
    let refusing = Behaviour { refuses_part: Some(3), aborts_failed: 3, ..slow() };
    let (source, target) = (PartStore::start(slow()).await, PartStore::start(refusing).await);
    source.put("a/b", content(SIZE_BYTES));
    let way = way(&source, Some(&target));
    let (copier, _) = way.copier();
    let fault = copier.copy_once(&planned(&copier).await, &meter(&copier)).await.unwrap_err();
    assert!(matches!(&fault, Fault::Transient(reason) if reason.contains("BadDigest")), "{fault}");
    assert_eq!((target.unfinished_uploads(), target.inside().aborts), (0, 4));
    assert_eq!(target.content("c/d"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_an_upload_and_none_of_it_is_left() {
    let (source, target) = (PartStore::start(slow()).await, PartStore::start(slow()).await);
    source.put("a/b", content(SIZE_BYTES));
    let way = way(&source, Some(&target));
    let (copier, stop) = way.copier();
    let file = planned(&copier).await;
    let stopping = async {
        while target.inside().putting_max == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (copied, ()) = tokio::join!(copier.copy(&file), stopping);
    assert_eq!(copied, Err(Fault::Stopped));
    assert_eq!((target.unfinished_uploads(), target.content("c/d")), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_objects_at_once_hold_no_more_memory_than_there_is_for_parts() {
    let forgetful = Behaviour { is_forgetful: true, ..slow() };
    let (source, target) = (PartStore::start(slow()).await, PartStore::start(forgetful).await);
    source.put("a/b", content(3 * CHUNK_BYTES_MAX));
    let way = way(&source, Some(&target));
    let (copier, _) = way.copier();
    let file = planned(&copier).await;
    let files: Vec<FileCopy> =
        (0..16).map(|number| FileCopy { target_key: format!("c/{number}"), ..file.clone() }).collect();
    let copies = futures::future::join_all(files.iter().map(|file| copier.copy(file))).await;
    assert!(copies.iter().all(Result::is_ok), "{copies:?}");
    // Forty-eight parts would be on their way without a budget, each of 8 MiB; eight fit into it.
    let (reading, putting) = (source.inside().reading_max, target.inside().putting_max);
    assert!(reading <= 8 && putting <= 8 && reading.max(putting) > 4, "{reading} read, {putting} put at once");
    assert_eq!(copier.meter.bytes(), 16 * 3 * CHUNK_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_found_out_by_the_tag_of_its_answer() {
    // s3s-fs 0.14 and fake-gcs-server 1.54 answer a read under another entity tag with what is there now.
    for size_bytes in [1_000, 3 * CHUNK_BYTES_MAX] {
        let written_to = Behaviour { tag_when_read: Some("\"another\""), ..Behaviour::default() };
        let store = PartStore::start(written_to).await;
        store.put("a/b", content(size_bytes));
        let way = way(&store, None);
        let (copier, _) = way.copier();
        let file = planned(&copier).await;
        let fault = copier.copy(&file).await.unwrap_err();
        assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("a/b was written to")), "{fault}");
    }
}
