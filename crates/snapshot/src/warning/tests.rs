//! Warnings of snapshots that lie on a disk, as Milvus writes them.

use ferry_objects::{Stores, file_uri};
use serde_json::{Value, json};

use super::*;
use crate::manifest::Binlog;

/// When the snapshots below were taken.
const CREATE_TS: u64 = 450_000_000_000_000_000;

fn metadata(segments: &[i64]) -> Value {
    json!({
        "format_version": 5,
        "snapshot_info": {
            "name": "s", "id": "7", "collection_id": "1", "create_ts": CREATE_TS.to_string(),
            "state": "SnapshotStateCommitted",
        },
        "collection": {"schema": {"name": "c"}, "num_partitions": "1"},
        "manifest_list": segments.iter().map(|id| format!("snapshots/1/manifests/7/{id}.avro")).collect::<Vec<_>>(),
    })
}

fn log(timestamp_to: u64) -> Vec<FieldBinlog> {
    let timestamp_to = i64::try_from(timestamp_to).expect("a timestamp of our time");
    vec![FieldBinlog {
        binlogs: vec![Binlog { entries_num: 5, timestamp_to, ..Binlog::default() }],
        ..FieldBinlog::default()
    }]
}

fn segment(segment_id: i64) -> Manifest {
    Manifest { segment_id, partition_id: 2, num_of_rows: 5, binlog_files: log(CREATE_TS), ..Manifest::default() }
}

/// What is told of a snapshot with this metadata and these manifests.
async fn told(metadata: &Value, manifests: &[Manifest]) -> Vec<Warning> {
    let folder = tempfile::tempdir().expect("a folder");
    let below = |path: &str| folder.path().join(path);
    for path in ["snapshots/1/metadata", "snapshots/1/manifests/7"] {
        std::fs::create_dir_all(below(path)).expect("a folder");
    }
    for manifest in manifests {
        let path = below(&format!("snapshots/1/manifests/7/{}.avro", manifest.segment_id));
        std::fs::write(path, manifest.encode(5).expect("a manifest")).expect("a file");
    }
    std::fs::write(below("snapshots/1/metadata/7.json"), metadata.to_string()).expect("a file");
    let uri = file_uri(folder.path());
    let snapshot = Snapshot::open(&Stores::new(), &uri).await.expect("a snapshot");
    snapshot.read_warnings().await.expect("its manifests")
}

async fn told_of(manifest: Manifest) -> Vec<Warning> {
    told(&metadata(&[manifest.segment_id]), &[manifest]).await
}

#[tokio::test]
async fn a_snapshot_like_most_has_no_warnings() {
    let deletions = Manifest { num_of_rows: 0, binlog_files: Vec::new(), deltalog_files: log(5), ..segment(11) };
    assert_eq!(told(&metadata(&[10, 11]), &[segment(10), deletions]).await, []);
}

#[tokio::test]
async fn logs_that_reach_beyond_the_snapshot_are_told_with_how_far() {
    let late = Manifest { binlog_files: log(CREATE_TS + (60_000 << LOGICAL_BITS)), ..segment(10) };
    let warnings = told_of(late).await;
    assert_eq!(
        (warnings.len(), warnings[0].kind, warnings[0].segment_id),
        (1, WarningKind::RowsBeyondSnapshot, Some(10))
    );
    assert!(warnings[0].text.starts_with("segment 10: its logs hold rows beyond create_ts"), "{}", warnings[0].text);
    assert!(warnings[0].text.contains("up to 60000 ms after it"), "{}", warnings[0].text);
    let deleted = Manifest { deltalog_files: log(CREATE_TS + 1), ..segment(10) };
    assert!(told_of(deleted).await[0].text.contains("hold deletions beyond create_ts"));
    let mut timeless = metadata(&[10]);
    timeless["snapshot_info"]["create_ts"] = json!("0");
    assert_eq!(told(&timeless, &[segment(10)]).await, [], "a snapshot that does not say when it was taken");
}

#[tokio::test]
async fn segments_without_data_are_told_as_what_they_are() {
    let empty = Manifest { num_of_rows: 0, binlog_files: Vec::new(), ..segment(10) };
    let placeholder = Manifest { segment_id: 11, storage_version: 3, ..empty.clone() };
    let committed = Manifest { segment_id: 12, storage_version: 3, num_of_rows: 5, ..empty.clone() };
    let mut metadata = metadata(&[10, 11, 12]);
    let stored = |id: i64, version: i64| {
        let manifest = json!({"ver": version, "base_path": format!("insert_log/1/2/{id}")}).to_string();
        json!({"segment_id": id.to_string(), "manifest": manifest})
    };
    metadata["storagev2_manifest_list"] = json!([stored(11, 0), stored(12, 3)]);
    let warnings = told(&metadata, &[empty, placeholder, committed]).await;
    let kinds: Vec<_> = warnings.iter().map(|warning| (warning.kind, warning.segment_id)).collect();
    assert_eq!(kinds, [(WarningKind::EmptyGrowingSegment, Some(11)), (WarningKind::NoRows, Some(10))]);
}

#[tokio::test]
async fn an_encryption_zone_is_found_in_the_schema_and_in_the_collection_and_its_key_is_not_repeated() {
    let mut of_schema = metadata(&[10]);
    of_schema["collection"]["schema"]["properties"] =
        json!([{"key": "cipher.key", "value": "secret"}, {"key": "cipher.ezID", "value": "42"}]);
    let mut of_collection = metadata(&[10]);
    of_collection["collection"]["properties"] = json!([{"key": "cipher.enabled", "value": "true"}]);
    for (metadata, words) in [(of_schema, "encryption zone 42,"), (of_collection, "(property cipher.enabled)")] {
        let warnings = told(&metadata, &[segment(10)]).await;
        assert_eq!((warnings.len(), warnings[0].kind, warnings[0].segment_id), (1, WarningKind::EncryptionZone, None));
        assert!(warnings[0].text.contains(words) && !warnings[0].text.contains("secret"), "{}", warnings[0].text);
    }
    let mut plain = metadata(&[10]);
    plain["collection"]["properties"] =
        json!([{"key": "cipher.enabled", "value": "False"}, {"key": "mmap.enabled", "value": "true"}]);
    assert_eq!(told(&plain, &[segment(10)]).await, []);
}

#[tokio::test]
async fn an_external_table_is_told_with_its_place_but_without_credentials() {
    let of = |source: &str, spec: &str| {
        let mut metadata = metadata(&[10]);
        metadata["collection"]["schema"]["external_source"] = json!(source);
        metadata["collection"]["schema"]["external_spec"] = json!(spec);
        metadata
    };
    for (source, spec, words) in [
        ("s3://other/table", "{}", "its rows lie at s3://other/table outside"),
        ("s3://key:secret@other/table", "", "its rows lie outside"),
        ("", "{\"format\":\"parquet\"}", "its rows lie outside"),
    ] {
        let warnings = told(&of(source, spec), &[segment(10)]).await;
        assert_eq!((warnings.len(), warnings[0].kind), (1, WarningKind::ExternalTable));
        assert!(warnings[0].text.contains(words) && !warnings[0].text.contains("secret"), "{}", warnings[0].text);
    }
    assert_eq!(told(&of("", ""), &[segment(10)]).await, []);
}

#[test]
fn names_are_read_as_they_are_written_and_others_refused_with_those_there_are() {
    for kind in WarningKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert!(kind.name().chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{kind}");
    }
    let error = "NO_ROWS".parse::<WarningKind>().expect_err("another spelling");
    assert_eq!(
        error.to_string(),
        "there is no warning \"NO_ROWS\"; there are rows-beyond-snapshot, encryption-zone, external-table, \
         empty-growing-segment, no-rows"
    );
    let accepted: Vec<_> = WarningKind::ALL.into_iter().filter(|kind| kind.needs_accept()).collect();
    assert_eq!(accepted, [WarningKind::EncryptionZone, WarningKind::ExternalTable]);
}
