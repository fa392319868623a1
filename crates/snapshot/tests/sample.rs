//! The snapshot of three segments that a Milvus server wrote: opened, planned, verified, inspected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ferry_objects::{Checksum, Class, Location, Stores, file_uri};
use ferry_snapshot::{Depth, FileKind, IndexChoice, Mapping, OpenError, PlanError, Snapshot, Target};

const COLLECTION: i64 = 470_636_907_273_650_226;
const PARTITION: i64 = 470_636_907_273_650_227;
const SEGMENTS: [i64; 3] = [470_636_907_273_850_237, 470_636_907_274_050_255, 470_636_907_274_050_273];

fn sample_uri() -> String {
    file_uri(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/milvus-sample"))
}

fn target(location: Location) -> Target {
    Target {
        location,
        collection_id: 200,
        partition_ids: BTreeMap::new(),
        build_id_base: 0,
        snapshot_id: 9,
        is_bundle: false,
        indexes: IndexChoice::All,
    }
}

fn mapping(source_segment_id: i64) -> Mapping {
    Mapping { source_segment_id, target_segment_id: 300, partition_id: 0 }
}

#[tokio::test]
async fn the_sample_opens_by_root_by_folder_and_by_file() {
    let stores = Stores::new();
    let by_root = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    assert_eq!(by_root.segment_ids().collect::<Vec<_>>(), SEGMENTS);
    assert_eq!(by_root.build_ids().len(), 3);
    assert_eq!(by_root.snapshot_id(), 9_001);
    assert_eq!(by_root.collection_id(), COLLECTION);
    for below in ["snapshots", &format!("snapshots/{COLLECTION}"), &format!("snapshots/{COLLECTION}/metadata"), ""] {
        let snapshot = Snapshot::open(&stores, &format!("{}/{below}", sample_uri())).await.unwrap();
        assert_eq!((snapshot.uri(), snapshot.pin()), (by_root.uri(), by_root.pin()), "{below}");
    }
    let by_file = Snapshot::open(&stores, &by_root.uri()).await.unwrap();
    assert_eq!(by_file.location().uri(), sample_uri());
    assert_eq!(by_file.pin().size_bytes, 854);
}

#[tokio::test]
async fn a_pinned_snapshot_opens_only_while_it_is_the_same() {
    let stores = Stores::new();
    let pin = Snapshot::open(&stores, &sample_uri()).await.unwrap().pin();
    assert!(Snapshot::open_pinned(&stores, &sample_uri(), pin).await.is_ok());
    for other in [Checksum { size_bytes: pin.size_bytes + 1, ..pin }, Checksum { crc32c: pin.crc32c ^ 1, ..pin }] {
        let error = Snapshot::open_pinned(&stores, &sample_uri(), other).await.unwrap_err();
        assert!(matches!(error, OpenError::Altered(_)), "{error}");
        assert_eq!(error.class(), Class::Permanent);
    }
}

#[tokio::test]
async fn every_segment_is_planned_with_existing_sources_and_distinct_targets() {
    let stores = Stores::new();
    let snapshot = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    let target = target(stores.open("memory:///target").unwrap());
    for (segment_id, files) in SEGMENTS.into_iter().zip([9, 9, 8]) {
        let plan = snapshot.plan(&mapping(segment_id), &target).await.unwrap();
        assert_eq!((plan.rows, plan.files.len()), (1_100, files));
        assert_eq!((plan.source_partition_id, plan.target_partition_id), (PARTITION, PARTITION));
        let mut bytes = 0;
        for file in &plan.files {
            let size_bytes = snapshot.location().size_bytes(&file.source_key).await.unwrap();
            assert!(file.declared_size_bytes.is_none_or(|declared| declared == size_bytes), "{}", file.source_key);
            bytes += size_bytes;
        }
        assert_eq!(plan.bytes, bytes);
        let targets: BTreeSet<&str> = plan.files.iter().map(|file| file.target_key.as_str()).collect();
        assert_eq!(targets.len(), files);
    }
}

#[tokio::test]
async fn target_keys_carry_the_new_ids_and_builds_their_rank() {
    let stores = Stores::new();
    let snapshot = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    let mut target = target(stores.open("memory:///target").unwrap());
    target.build_id_base = 500;
    target.partition_ids.insert(PARTITION, 201);
    let plan = snapshot.plan(&mapping(SEGMENTS[1]), &target).await.unwrap();
    assert_eq!(plan.target_partition_id, 201);
    let keys: Vec<&str> = plan.files.iter().map(|file| file.target_key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "insert_log/200/201/300/0/470636907273850250",
            "insert_log/200/201/300/1/470636907273850251",
            "insert_log/200/201/300/100/470636907273850247",
            "insert_log/200/201/300/101/470636907273850248",
            "insert_log/200/201/300/102/470636907273850249",
            "delta_log/200/201/300/470636907273850260",
            "stats_log/200/201/300/100/1",
            "stats_log/200/201/300/100/470636907273850252",
            "index_files/501/1/201/300/HNSW",
        ]
    );
    assert_eq!(plan.files.iter().filter(|file| file.kind == FileKind::Insert).count(), 5);
}

#[tokio::test]
async fn a_partition_given_twice_and_differently_is_refused() {
    let stores = Stores::new();
    let snapshot = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    let mut target = target(stores.open("memory:///target").unwrap());
    let mut mapping = mapping(SEGMENTS[0]);
    mapping.partition_id = 9;
    assert_eq!(snapshot.plan(&mapping, &target).await.unwrap().target_partition_id, 9);
    target.partition_ids.insert(PARTITION, 9);
    assert_eq!(snapshot.plan(&mapping, &target).await.unwrap().target_partition_id, 9);
    target.partition_ids.insert(PARTITION, 8);
    let error = snapshot.plan(&mapping, &target).await.unwrap_err();
    assert!(matches!(error, PlanError::Partition { by_mapping: 9, by_map: 8, .. }), "{error}");
    assert!(error.class().is_permanent());
}

#[tokio::test]
async fn s41_a_target_that_is_its_own_source_is_refused() {
    let stores = Stores::new();
    let snapshot = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    let mut target = target(stores.open(&sample_uri()).unwrap());
    let mut mapping = mapping(SEGMENTS[0]);
    // Another collection alone does not help: index files have no collection in their keys.
    mapping.target_segment_id = SEGMENTS[0];
    let error = snapshot.plan(&mapping, &target).await.unwrap_err();
    assert!(matches!(&error, PlanError::Itself { uri, .. } if uri.contains("index_files")), "{error}");
    assert!(error.class().is_permanent());
    target.collection_id = COLLECTION;
    assert!(matches!(snapshot.plan(&mapping, &target).await, Err(PlanError::Itself { .. })));
    mapping.target_segment_id = 300;
    assert!(snapshot.plan(&mapping, &target).await.is_ok());
}

#[tokio::test]
async fn s21_a_segment_that_the_snapshot_lacks_is_named() {
    let stores = Stores::new();
    let snapshot = Snapshot::open(&stores, &sample_uri()).await.unwrap();
    assert!(!snapshot.has_segment(12_345));
    let error = snapshot.manifest(12_345).await.unwrap_err();
    assert!(error.to_string().contains("has no segment 12345"), "{error}");
    assert!(error.class().is_permanent());
}

#[tokio::test]
async fn the_sample_is_whole_and_its_numbers_add_up() {
    let snapshot = Snapshot::open(&Stores::new(), &sample_uri()).await.unwrap();
    let verification = snapshot.verify(Depth::Contents, &|_| ()).await.unwrap();
    assert!(verification.is_clean(), "{verification:?}");
    assert_eq!((verification.segments, verification.files, verification.checksums_compared), (3, 26, 0));
    let summary = snapshot.inspect().await.unwrap();
    assert_eq!((summary.rows, summary.bytes), (3_300, verification.bytes));
    assert_eq!(summary.collection_name, "source");
    let kinds: Vec<_> = summary.files.into_iter().collect();
    assert_eq!(kinds, [("delta", 2), ("index", 3), ("insert", 15), ("stats", 6)]);
}

#[tokio::test]
async fn a_place_without_a_snapshot_says_what_to_name() {
    let stores = Stores::new();
    let empty = tempfile::tempdir().unwrap();
    for uri in [file_uri(empty.path()), "memory:///nothing".to_owned()] {
        let error = Snapshot::open(&stores, &uri).await.unwrap_err();
        assert!(matches!(error, OpenError::None(_)), "{error}");
    }
    let error = Snapshot::open(&stores, "memory:///some/other.json").await.unwrap_err();
    assert!(matches!(error, OpenError::NotAMetadataKey(_)), "{error}");
    let missing = format!("{}/snapshots/{COLLECTION}/metadata/9002.json", sample_uri());
    let error = Snapshot::open(&stores, &missing).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(_)) && error.class().is_permanent(), "{error}");
}
