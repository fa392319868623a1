//! Every way a copy can take, between real stores: in memory and on disk.

use super::{Copier, FileCopy, Meter, PartsBudget};
use crate::bandwidth::{Bandwidths, CHUNK_BYTES_MAX, Share};
use crate::failure::{Fault, Side};
use crate::lease::Term;
use crate::metrics::Metrics;
use crate::permit::Permit;
use crate::place::{Meta, Place, Version, meta_of};
use breaking_store::{BreakingStore, Trouble};
use bytes::Bytes;
use ferry_objects::{Checksum, Location, Stores, file_uri};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod breaking_store;
mod inside;
mod large;
mod late_writes;
mod looks;
mod part_store;
mod pending;
mod waiting;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Two places, and the stores and folder that they live in.
struct Way {
    name: &'static str,
    source: Location,
    target: Location,
    _folder: tempfile::TempDir,
}

fn ways() -> Vec<Way> {
    let way = |name: &'static str, source: &str, target: &str, one_store: bool| {
        let folder = tempfile::tempdir().unwrap();
        let root = file_uri(folder.path());
        let stores = Stores::new();
        let others = Stores::new();
        let source = stores.open(&source.replace("DISK", &root)).unwrap();
        let target = if one_store { &stores } else { &others }.open(&target.replace("DISK", &root)).unwrap();
        Way { name, source, target, _folder: folder }
    };
    vec![
        way("disk to disk", "DISK/source", "DISK/target", true),
        way("inside one store", "memory:///source", "memory:///target", true),
        way("store to store", "memory:///source", "memory:///target", false),
        way("disk to store", "DISK/source", "memory:///target", true),
        way("store to disk", "memory:///source", "DISK/target", true),
    ]
}

/// Bytes in which every part differs from every other.
fn content(size: u64) -> Bytes {
    (0..size).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect::<Vec<u8>>().into()
}

impl Way {
    fn copier(&self) -> (Copier, CancellationToken) {
        let term = Term { number: 1, ends_at: Instant::now() + Duration::from_secs(600) };
        let stop = CancellationToken::new();
        let (_, lease) = watch::channel(Some(term));
        let copier = Copier {
            source: Place::new(self.source.clone(), Side::Source, TIMEOUT),
            target: Place::new(self.target.clone(), Side::Target, TIMEOUT),
            permit: Permit::new(term, lease, stop.clone()),
            limits: Bandwidths::new(0).of_job(1, Share::default()),
            budget: PartsBudget::default(),
            meter: Arc::new(Meter::new(Arc::new(Metrics::new().unwrap()))),
            read_back: false,
            temporary_folder: ".ferry/attempts/1-1".into(),
            waiting: None,
            unseen: None,
        };
        (copier, stop)
    }

    /// Writes a source object, and describes its copy.
    async fn file(&self, copier: &Copier, content: Bytes) -> FileCopy {
        self.source.write("a/b", content).await.unwrap();
        let source = copier.source.head("a/b").await.unwrap().unwrap();
        FileCopy { source_key: "a/b".into(), target_key: "c/d".into(), source, checksum: None, shared: false }
    }

    async fn target(&self) -> Option<Bytes> {
        self.target.read("c/d", u64::MAX).await.ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_copies_every_byte() {
    for way in ways() {
        for size in [0, 1, CHUNK_BYTES_MAX, 2 * CHUNK_BYTES_MAX + 17] {
            let (copier, _) = way.copier();
            let expected = content(size);
            let file = way.file(&copier, expected.clone()).await;
            copier.copy(&file).await.unwrap();
            assert!(way.target().await == Some(expected), "{}, {size} bytes", way.name);
            assert_eq!(copier.meter.bytes(), size, "{}", way.name);
            assert!(copier.is_copied(&file).await.unwrap(), "{}", way.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_reads_back_and_compares_when_asked_to() {
    for way in ways() {
        let (copier, _) = way.copier();
        let copier = Copier { read_back: true, ..copier };
        let expected = content(100_000);
        let file = way.file(&copier, expected.clone()).await;
        copier.copy(&file).await.unwrap();
        assert!(way.target().await == Some(expected), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_finds_a_source_that_is_not_what_its_checksum_says() {
    for way in ways() {
        let (copier, _) = way.copier();
        let good = content(1_000);
        let mut altered = good.to_vec();
        altered[500] ^= 1;
        let file = way.file(&copier, altered.into()).await;
        let file = FileCopy { checksum: Some(Checksum::of(&good)), ..file };
        let fault = copier.copy(&file).await.unwrap_err();
        assert!(
            matches!(&fault, Fault::Permanent(reason) if reason.contains("a/b is altered")),
            "{}: {fault}",
            way.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_finds_a_source_that_changed_or_vanished_since_it_was_planned() {
    for way in ways() {
        let (copier, _) = way.copier();
        let file = way.file(&copier, content(1_000)).await;
        let old =
            FileCopy { source: Meta { version: Version::Compared("another".into()), ..file.source.clone() }, ..file };
        let fault = copier.copy(&old).await.unwrap_err();
        assert!(
            matches!(&fault, Fault::Permanent(reason) if reason.contains("was written to")),
            "{}: {fault}",
            way.name
        );
        copier.source.delete("a/b").await.unwrap();
        let fault = copier.copy(&old).await.unwrap_err();
        assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("a/b")), "{}: {fault}", way.name);
    }
}

/// The way from a store that misbehaves to a disk.
async fn from_breaking_store(trouble: Trouble) -> (BreakingStore, Way) {
    let (store, client) = BreakingStore::start(trouble).await;
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new().with("s3://bucket", client).unwrap();
    let source = stores.open("s3://bucket/source").unwrap();
    let target = stores.open(&file_uri(folder.path())).unwrap();
    (store, Way { name: "store to disk", source, target, _folder: folder })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_it_is_streamed_is_named_and_no_other_version_is_read() {
    let (store, way) = from_breaking_store(Trouble::Replaced).await;
    let (copier, _) = way.copier();
    let source = copier.source.head("a/b").await.unwrap().unwrap();
    let file = FileCopy { source_key: "a/b".into(), target_key: "c/d".into(), source, checksum: None, shared: false };
    let fault = copier.copy(&file).await.unwrap_err();
    assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("a/b was written to")), "{fault}");
    assert_eq!(way.target().await, None);
    assert!(copier.meter.bytes() > 0, "the reading had begun");
    let tags = store.tags();
    assert!(tags.len() > 1, "it was read on where it broke off: {tags:?}");
    assert!(tags.iter().all(|tag| tag.as_deref() == Some("\"1\"")), "only under the tag it was seen with: {tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_again_and_again_goes_on_where_it_was() {
    let (store, way) = from_breaking_store(Trouble::BreaksEachTime).await;
    let (copier, _) = way.copier();
    let source = copier.source.head("a/b").await.unwrap().unwrap();
    let size_bytes = source.size_bytes;
    let file = FileCopy { source_key: "a/b".into(), target_key: "c/d".into(), source, checksum: None, shared: false };
    copier.copy(&file).await.unwrap();
    let offsets = store.offsets();
    assert!(offsets.len() >= 4, "it broke off after each quarter: {offsets:?}");
    assert!(offsets.iter().skip(1).all(|offset| *offset > 0), "it began once: {offsets:?}");
    assert!(offsets.is_sorted_by(|one, next| one < next), "each reading begins further on: {offsets:?}");
    assert!(store.tags().iter().all(|tag| tag.as_deref() == Some("\"1\"")), "all of it is of one version");
    assert_eq!(way.target().await.unwrap().len() as u64, size_bytes);
    assert_eq!(copier.meter.bytes(), size_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_entity_tag_is_no_condition() {
    let meta = |tag: &str| object_store::ObjectMeta {
        location: "a/b".into(),
        last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
        size: 1,
        e_tag: Some(tag.into()),
        version: None,
    };
    assert_eq!(meta_of(&meta("\"1\"")).version, Version::EntityTag("\"1\"".into()));
    assert!(matches!(meta_of(&meta("W/\"1\"")).version, Version::Compared(version) if version.contains("W/\"1\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_in_place_once_the_permit_has_ended() {
    for way in ways() {
        let (copier, stop) = way.copier();
        let file = way.file(&copier, content(1_000)).await;
        stop.cancel();
        assert_eq!(copier.copy(&file).await, Err(Fault::Stopped), "{}", way.name);
        assert!(way.target().await.is_none(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_the_right_size_is_told_from_a_copy_where_that_can_be_known() {
    for way in ways() {
        let (copier, _) = way.copier();
        let file = way.file(&copier, Bytes::from_static(b"right")).await;
        assert!(!copier.is_copied(&file).await.unwrap(), "{}: nothing is there", way.name);
        way.target.write("c/d", Bytes::from_static(b"short")).await.unwrap();
        assert!(copier.is_copied(&file).await.unwrap(), "{}: the size is all there is", way.name);
        let known = FileCopy { checksum: Some(Checksum::of(b"right")), ..file.clone() };
        assert!(!copier.is_copied(&known).await.unwrap(), "{}: the snapshot has a checksum", way.name);
        let copier = Copier { read_back: true, ..copier };
        assert!(!copier.is_copied(&file).await.unwrap(), "{}: it is read back", way.name);
        copier.copy(&file).await.unwrap();
        assert!(copier.is_copied(&known).await.unwrap(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_where_the_target_should_be_is_named() {
    let ways = ways();
    let way = &ways[0];
    let (copier, _) = way.copier();
    let file = way.file(&copier, content(10)).await;
    std::fs::create_dir_all(way.target.local_root().unwrap().join("c/d")).unwrap();
    let fault = copier.copy(&file).await.unwrap_err();
    assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("c/d")), "{fault}");
    let left = std::fs::read_dir(way.target.local_root().unwrap().join(".ferry/attempts/1-1")).unwrap();
    assert_eq!(left.count(), 0, "the unfinished file is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_segments_share_is_kept_when_equal_and_never_overwritten() {
    for way in ways() {
        let (copier, _) = way.copier();
        let file = FileCopy { shared: true, ..way.file(&copier, Bytes::from_static(b"large object")).await };
        copier.copy_or_keep(&file, false).await.unwrap();
        copier.copy_or_keep(&file, false).await.unwrap();
        assert_eq!(copier.meter.bytes(), 24, "{}: both tasks have it", way.name);
        way.target.write("c/d", Bytes::from_static(b"another")).await.unwrap();
        let fault = copier.copy_or_keep(&file, true).await.unwrap_err();
        assert!(matches!(&fault, Fault::Permanent(reason) if reason.contains("c/d")), "{}: {fault}", way.name);
        assert!(way.target().await == Some(Bytes::from_static(b"another")), "{}", way.name);
    }
}

/// Forty small source objects, and what each has to become.
async fn small_files(way: &Way, copier: &Copier) -> Vec<FileCopy> {
    let mut files = Vec::new();
    for number in 0..40_u64 {
        let key = format!("{}/{number}", number % 7);
        way.source.write(&key, content(number * 100)).await.unwrap();
        let source = copier.source.head(&key).await.unwrap().unwrap();
        files.push(FileCopy {
            source_key: key.clone(),
            target_key: format!("copies/{key}"),
            source,
            checksum: Some(Checksum::of(&content(number * 100))),
            shared: false,
        });
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn small_local_files_are_copied_in_runs_and_each_is_whole() {
    for way in ways() {
        let (copier, _) = way.copier();
        let files = small_files(&way, &copier).await;
        let runs = copier.runs(&files, false);
        let lengths: Vec<usize> = runs.iter().map(Vec::len).collect();
        if way.name == "disk to disk" {
            assert_eq!(lengths, [16, 16, 8]);
        } else {
            assert_eq!(lengths, [1; 40], "{}", way.name);
        }
        for run in runs {
            copier.copy_run(run, false).await.unwrap();
        }
        for file in &files {
            let copied = way.target.read(&file.target_key, u64::MAX).await.unwrap();
            assert_eq!(Some(Checksum::of(&copied)), file.checksum, "{}: {}", way.name, file.target_key);
        }
        assert_eq!(copier.meter.bytes(), files.iter().map(|file| file.source.size_bytes).sum::<u64>(), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_file_of_a_run_is_named_and_is_not_put_in_place() {
    let ways = ways();
    let way = &ways[0];
    let (copier, stop) = way.copier();
    let good = small_files(way, &copier).await;
    let bad = |change: &dyn Fn(&mut FileCopy)| {
        let mut files = good[..10].to_vec();
        change(&mut files[4]);
        files
    };
    let altered = bad(&|file| file.checksum = Some(Checksum::of(b"another")));
    let written_to = bad(&|file| file.source.version = Version::Compared("another".into()));
    let missing = bad(&|file| file.source_key = "4/none".into());
    for (files, reason) in [(altered, "4/4 is altered"), (written_to, "4/4 was written to"), (missing, "4/none")] {
        let fault = copier.copy_run(files.iter().collect(), false).await.unwrap_err();
        assert!(matches!(&fault, Fault::Permanent(text) if text.contains(reason)), "{fault}");
        assert!(way.target.read("copies/4/4", u64::MAX).await.is_err(), "{reason}");
        assert!(way.target.read("copies/5/5", u64::MAX).await.is_ok(), "{reason}: the others are not held up");
    }
    let left = std::fs::read_dir(way.target.local_root().unwrap().join(".ferry/attempts/1-1")).unwrap();
    assert_eq!(left.count(), 0, "the unfinished files are removed");
    stop.cancel();
    assert_eq!(copier.copy_run(good[10..20].iter().collect(), false).await, Err(Fault::Stopped));
    assert!(way.target.read("copies/3/10", u64::MAX).await.is_err(), "nothing is put in place after a stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_limit_of_bytes_and_in_a_later_attempt_every_file_goes_alone() {
    let ways = ways();
    let (copier, _) = ways[0].copier();
    let files = small_files(&ways[0], &copier).await;
    assert_eq!(copier.runs(&files, true).len(), 40, "a later attempt keeps what is there");
    let slow = Share { bytes_per_second: Some(1), ..Share::default() };
    let limited = Copier { limits: Bandwidths::new(0).of_job(1, slow), ..copier };
    assert_eq!(limited.runs(&files, false).len(), 40);
    let read_back = Copier { limits: Bandwidths::new(0).of_job(1, Share::default()), read_back: true, ..limited };
    assert_eq!(read_back.runs(&files, false).len(), 40);
}
