//! Snapshots made over trees that exist, read back, and the faults that a reader must see.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ferry_objects::{Location, Stores, file_uri};
use ferry_snapshot::{
    CreateError, CreateOptions, Depth, FilesError, IndexChoice, Manifest, Mapping, Progress, Snapshot, Target, create,
};
use tempfile::TempDir;

const SEGMENT: i64 = 470_636_907_273_850_237;

/// A copy of the sample's tree, without its snapshot, under a name of its own.
fn tree() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/milvus-sample");
    for part in ["insert_log", "delta_log", "stats_log", "index_files"] {
        copy(&sample.join(part), &folder.path().join(part));
    }
    folder
}

fn copy(source: &Path, target: &Path) {
    std::fs::create_dir_all(target).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let to = target.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

fn open(folder: &TempDir) -> Location {
    Stores::new().open(&file_uri(folder.path())).unwrap()
}

async fn made(folder: &TempDir) -> Snapshot {
    let created = create(&open(folder), &CreateOptions::default(), &|_| ()).await.unwrap();
    Snapshot::open(&Stores::new(), &created.uri).await.unwrap()
}

fn file_of(folder: &TempDir, snapshot_key: &str) -> PathBuf {
    folder.path().join(snapshot_key)
}

#[tokio::test]
async fn a_made_snapshot_says_what_milvus_own_says() {
    let folder = tree();
    let seen = Mutex::new(Vec::new());
    let options = CreateOptions { name: Some("mine".into()), ..CreateOptions::default() };
    let created =
        create(&open(&folder), &options, &|progress: Progress| seen.lock().unwrap().push(progress)).await.unwrap();
    assert_eq!((created.segments, created.files, created.rows), (3, 26, 3_300));
    assert_eq!((created.left_out.count, created.replaced.count), (0, 0));
    let last = *seen.lock().unwrap().last().unwrap();
    assert_eq!((last.files_done, last.bytes_done), (last.files_total, last.bytes_total));

    let stores = Stores::new();
    let ours = Snapshot::open(&stores, &created.uri).await.unwrap();
    let sample = file_uri(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/milvus-sample"));
    let theirs = Snapshot::open(&stores, &sample).await.unwrap();
    assert_eq!(ours.build_ids(), theirs.build_ids());
    assert_eq!(ours.metadata().snapshot_info.name, "mine");
    for segment_id in theirs.segment_ids() {
        let (ours, theirs) = (ours.manifest(segment_id).await.unwrap(), theirs.manifest(segment_id).await.unwrap());
        assert_eq!((ours.partition_id, ours.num_of_rows), (theirs.partition_id, theirs.num_of_rows));
        let logs = |manifest: &ferry_snapshot::Manifest| -> Vec<_> {
            let fields = manifest.binlog_files.iter().chain(&manifest.deltalog_files);
            let mut logs: Vec<_> = fields
                .flat_map(|field| {
                    field.binlogs.iter().map(|log| (field.field_id, log.log_path.clone(), log.log_size, log.log_id))
                })
                .collect();
            logs.sort();
            logs
        };
        assert_eq!(logs(&ours), logs(&theirs));
        let (our_index, their_index) = (&ours.index_files[0], &theirs.index_files[0]);
        assert_eq!(our_index.index_file_paths, their_index.index_file_paths);
        assert_eq!(
            (
                our_index.field_id,
                our_index.build_id,
                our_index.index_version,
                our_index.num_rows,
                our_index.serialized_size
            ),
            (
                their_index.field_id,
                their_index.build_id,
                their_index.index_version,
                their_index.num_rows,
                their_index.serialized_size
            )
        );
    }
}

#[tokio::test]
async fn a_made_snapshot_is_clean_compared_by_checksum_and_planned_with_it() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let verification = snapshot.verify(Depth::Contents, &|_| ()).await.unwrap();
    assert!(verification.is_clean(), "{verification:?}");
    assert_eq!((verification.files, verification.checksums_compared), (26, 26));
    let location = Stores::new().open("memory:///t").unwrap();
    let target = Target {
        location,
        collection_id: 1,
        partition_ids: BTreeMap::new(),
        build_id_base: 0,
        snapshot_id: 9,
        is_bundle: false,
        indexes: IndexChoice::All,
    };
    let mapping = Mapping { source_segment_id: SEGMENT, target_segment_id: 2, partition_id: 0 };
    let plan = snapshot.plan(&mapping, &target).await.unwrap();
    assert!(plan.files.iter().all(|file| file.checksum.is_some()));
    assert_eq!(plan.bytes, plan.files.iter().map(|file| file.checksum.unwrap().size_bytes).sum::<u64>());
}

#[tokio::test]
async fn the_next_snapshot_gets_the_next_id_and_a_taken_id_is_refused() {
    let folder = tree();
    assert_eq!(made(&folder).await.snapshot_id(), 1);
    let again = create(&open(&folder), &CreateOptions::default(), &|_| ()).await.unwrap();
    assert_eq!(again.snapshot_id, 2);
    let taken = CreateOptions { snapshot_id: Some(2), ..CreateOptions::default() };
    let error = create(&open(&folder), &taken, &|_| ()).await.unwrap_err();
    assert!(matches!(error, CreateError::Exists(_)), "{error}");
    // Two snapshots below one root: which one is meant must be said.
    let error = Snapshot::open(&Stores::new(), &file_uri(folder.path())).await.unwrap_err().to_string();
    assert!(error.contains("there are 2 snapshots") && error.contains("metadata/1.json"), "{error}");
}

#[tokio::test]
async fn a_tree_moved_as_a_whole_stays_readable() {
    let folder = tree();
    made(&folder).await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(folder.path(), elsewhere.path().join("moved")).unwrap();
    let snapshot = Snapshot::open(&Stores::new(), &file_uri(&elsewhere.path().join("moved"))).await.unwrap();
    assert!(snapshot.verify(Depth::Contents, &|_| ()).await.unwrap().is_clean());
}

#[tokio::test]
async fn s20_every_object_that_is_missing_short_or_altered_is_named() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let manifest = snapshot.manifest(SEGMENT).await.unwrap();
    let key = |field: usize| manifest.binlog_files[field].binlogs[0].log_path.clone();
    let (missing, short, altered) = (key(0), key(1), key(2));
    std::fs::remove_file(file_of(&folder, &missing)).unwrap();
    let content = std::fs::read(file_of(&folder, &short)).unwrap();
    std::fs::write(file_of(&folder, &short), &content[1..]).unwrap();
    let mut content = std::fs::read(file_of(&folder, &altered)).unwrap();
    content[100] ^= 1;
    std::fs::write(file_of(&folder, &altered), content).unwrap();

    let found = snapshot.verify(Depth::Contents, &|_| ()).await.unwrap();
    let problems: BTreeMap<String, String> =
        found.problems.into_iter().map(|problem| (problem.key.unwrap(), problem.message)).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[&missing].contains("does not exist"), "{problems:?}");
    assert!(problems[&short].contains("457 bytes, not the 458"), "{problems:?}");
    assert!(problems[&altered].contains("it was altered"), "{problems:?}");
    let by_size = snapshot.verify(Depth::Sizes, &|_| ()).await.unwrap();
    assert_eq!(by_size.problems.len(), 2);
}

#[tokio::test]
async fn without_checksums_an_object_shorter_than_its_manifest_says_is_named() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let sidecar = snapshot.manifest_key(SEGMENT).replace(".avro", ".checksums.json");
    std::fs::remove_file(file_of(&folder, &sidecar)).unwrap();
    assert_eq!(snapshot.inspect().await.unwrap().segments.iter().filter(|one| one.has_checksums).count(), 2);
    let key = snapshot.manifest(SEGMENT).await.unwrap().binlog_files[0].binlogs[0].log_path.clone();
    std::fs::write(file_of(&folder, &key), b"short").unwrap();
    let found = snapshot.verify(Depth::Contents, &|_| ()).await.unwrap();
    assert_eq!(found.problems.len(), 1);
    assert!(found.problems[0].message.contains("5 bytes, fewer than the"), "{:?}", found.problems);
}

#[tokio::test]
async fn a_missing_damaged_or_foreign_manifest_is_named_and_only_its_segment_suffers() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let segments: Vec<i64> = snapshot.segment_ids().collect();
    let path = |at: usize| file_of(&folder, &snapshot.manifest_key(segments[at]));
    let whole = std::fs::read(path(0)).unwrap();
    std::fs::write(path(1), &whole).unwrap();
    std::fs::remove_file(path(2)).unwrap();

    assert!(snapshot.manifest(segments[0]).await.is_ok());
    let foreign = snapshot.manifest(segments[1]).await.unwrap_err();
    assert!(foreign.to_string().contains(&format!("is the manifest of segment {SEGMENT}, not of")), "{foreign}");
    let missing = snapshot.manifest(segments[2]).await.unwrap_err();
    assert!(missing.to_string().contains(&format!("{}.avro does not exist", segments[2])), "{missing}");
    std::fs::write(path(0), &whole[..whole.len() - 1]).unwrap();
    let cut = snapshot.manifest(segments[0]).await.unwrap_err();
    assert!(cut.to_string().contains("cut off"), "{cut}");
    assert!([foreign.class(), missing.class(), cut.class()].iter().all(|class| class.is_permanent()));
    let found = snapshot.verify(Depth::Sizes, &|_| ()).await.unwrap();
    assert_eq!(found.problems.iter().map(|problem| problem.segment_id).collect::<Vec<_>>(), segments);
}

#[tokio::test]
async fn a_manifest_with_a_hostile_or_foreign_key_is_refused() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let good = snapshot.manifest(SEGMENT).await.unwrap();
    for (path, part) in [
        ("../../etc/passwd", "'.' or '..'"),
        ("/etc/passwd", "is not under the root"),
        ("//etc/passwd", "absolute"),
        ("insert_log/1/2/3//x", "empty"),
        ("insert_log\\1\\2\\3\\0\\x", "backslash"),
        ("insert_log/1/2/3/0/x\0", "NUL"),
        ("somewhere/else", "has no part 'insert_log'"),
        ("insert_log/1/2", "too few parts"),
        ("insert_log/1/470636907273650227/470636907273850237/0/x", "belongs to collection 1"),
        ("insert_log/470636907273650226/2/470636907273850237/0/x", "belongs to partition 2"),
        ("insert_log/470636907273650226/470636907273650227/3/0/x", "belongs to segment 3"),
        (
            "s3://bucket/insert_log/470636907273650226/470636907273650227/470636907273850237/0/x",
            "is not under the root",
        ),
    ] {
        let mut bad = good.clone();
        bad.binlog_files[0].binlogs[0].log_path = path.to_owned();
        let error = snapshot.files(&bad).await.expect_err(path);
        assert!(error.to_string().contains(part), "{path:?}: {error}");
        assert!(error.class().is_permanent());
    }
    let mut bad = good.clone();
    bad.index_files[0].build_id += 1;
    assert!(matches!(snapshot.files(&bad).await, Err(FilesError::ForeignFile { what: "index build", .. })));
    let mut twice = good.clone();
    twice.binlog_files[1].binlogs = good.binlog_files[0].binlogs.clone();
    assert!(matches!(snapshot.files(&twice).await, Err(FilesError::Duplicate { .. })));
}

#[tokio::test]
async fn a_manifest_without_files_or_with_other_rows_is_refused() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let good = snapshot.manifest(SEGMENT).await.unwrap();
    let mut lost = good.clone();
    lost.binlog_files.clear();
    let error = snapshot.files(&lost).await.unwrap_err();
    assert!(matches!(error, FilesError::Rows { in_files: 0, declared: 1_100, .. }), "{error}");
    let mut empty = Manifest { num_of_rows: 0, ..lost };
    assert_eq!(snapshot.files(&empty).await.unwrap().rows, 0);
    empty.deltalog_files.clear();
    assert!(matches!(snapshot.files(&empty).await, Err(FilesError::NoFiles(SEGMENT))));
    let mut other = good.clone();
    other.num_of_rows = 1_099;
    let error = snapshot.files(&other).await.unwrap_err();
    assert!(matches!(error, FilesError::Rows { in_files: 1_100, declared: 1_099, .. }), "{error}");
    let mut unlogged = good.clone();
    unlogged.binlog_files[0].binlogs[0].log_path.clear();
    let error = snapshot.files(&unlogged).await.unwrap_err();
    assert!(matches!(error, FilesError::NoPath { segment_id: SEGMENT, kind: "insert", rows: 1_100, .. }), "{error}");
}

#[tokio::test]
async fn logs_of_a_foreign_format_need_their_rows_given() {
    let location = Stores::new().open("memory:///plain").unwrap();
    for key in ["insert_log/1/2/3/0/10", "insert_log/1/2/3/0/11", "insert_log/1/2/3/100/12", "stats_log/1/2/9/100/1"] {
        location.write(key, bytes::Bytes::from(key.repeat(50))).await.unwrap();
    }
    let error = create(&location, &CreateOptions::default(), &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("give them with --rows"), "{error}");
    let options = CreateOptions { rows: BTreeMap::from([(3, 500)]), ..CreateOptions::default() };
    let created = create(&location, &options, &|_| ()).await.unwrap();
    assert_eq!((created.rows, created.segments), (500, 1));
    // Statistics of a segment that is gone.
    assert_eq!((created.left_out.count, created.left_out.examples), (1, vec!["stats_log/1/2/9/100/1".to_owned()]));
}

#[tokio::test]
async fn an_ambiguous_or_empty_tree_makes_no_snapshot() {
    let stores = Stores::new();
    let location = stores.open("memory:///several").unwrap();
    let error = create(&location, &CreateOptions::default(), &|_| ()).await.unwrap_err();
    assert!(matches!(error, CreateError::Empty(_)), "{error}");
    for key in ["delta_log/1/2/3/10", "delta_log/5/6/7/10"] {
        location.write(key, bytes::Bytes::from_static(b"x")).await.unwrap();
    }
    let error = create(&location, &CreateOptions::default(), &|_| ()).await.unwrap_err();
    assert!(error.to_string().contains("1, 5; choose one with --collection"), "{error}");
    let one = |collection_id| CreateOptions { collection_id: Some(collection_id), ..CreateOptions::default() };
    assert!(matches!(create(&location, &one(9), &|_| ()).await, Err(CreateError::NoCollection { .. })));
    let created = create(&location, &one(5), &|_| ()).await.unwrap();
    assert_eq!((created.segments, created.rows, created.files), (1, 0, 1));
    location.write("insert_log/1/9/3/0/10", bytes::Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(create(&location, &one(1), &|_| ()).await, Err(CreateError::TwoPartitions { segment_id: 3, .. })));
    location.write("insert_log/1/2/lobs/4/_data/f.vx", bytes::Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(create(&location, &one(1), &|_| ()).await, Err(CreateError::Unsupported(_))));
}

#[tokio::test]
async fn a_damaged_checksum_file_is_named_with_the_way_out() {
    let folder = tree();
    let snapshot = made(&folder).await;
    let sidecar = snapshot.manifest_key(SEGMENT).replace(".avro", ".checksums.json");
    std::fs::write(file_of(&folder, &sidecar), "{").unwrap();
    let error = snapshot.files(&snapshot.manifest(SEGMENT).await.unwrap()).await.unwrap_err();
    assert!(error.class().is_permanent());
    assert!(error.to_string().contains("checksums.json is bad") && error.to_string().contains("delete it"), "{error}");
}
