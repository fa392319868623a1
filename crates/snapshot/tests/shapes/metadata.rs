//! The metadata file as different writers leave it: its states, its names, its format versions.

use serde_json::{Map, Value, json};

use crate::opened::{assert_says, pairs};
use crate::schemas::MANIFESTS;
use crate::tree::{SNAPSHOT, Tree};

/// What `full_segment` becomes, as the first segment of a tree.
const FULL: [&str; 7] = [
    "insert_log/@/0/5001",
    "insert_log/@/1/5002",
    "insert_log/@/100/5003",
    "insert_log/@/101/5004",
    "delta_log/@/5005",
    "stats_log/@/100/5006",
    "index_files/7001/1/10/1001/HNSW -> index_files/500/1/20/2001/HNSW",
];

/// A change of the metadata.
type Edit = fn(&mut Value);

fn full() -> Tree {
    let mut tree = Tree::new();
    tree.full_segment(1001, 100);
    tree
}

#[tokio::test]
async fn the_file_that_milvus_writes_before_it_commits_is_a_snapshot() {
    let opened = full().open().await;
    assert_eq!(opened.copies(1001).await, pairs(1001, &FULL));
    let plan = opened.plan(1001, &opened.target()).await.unwrap();
    assert_eq!((plan.rows, plan.source_partition_id, plan.target_partition_id), (100, 10, 20));
}

#[tokio::test]
async fn a_state_that_says_nothing_is_no_hindrance() {
    // Writers before the two phases left it out, Ferry writes Committed, and numbers are proto-JSON too.
    let edits: [fn(&mut Value); 5] = [
        |metadata| drop(metadata["snapshot_info"].as_object_mut().unwrap().remove("state")),
        |metadata| metadata["snapshot_info"]["state"] = json!("SnapshotStateCommitted"),
        |metadata| metadata["snapshot_info"]["state"] = json!("SnapshotStateNone"),
        |metadata| metadata["snapshot_info"]["state"] = json!(1),
        |metadata| metadata["snapshot_info"]["state"] = Value::Null,
    ];
    for edit in edits {
        let tree = Tree { edit, ..full() };
        assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &FULL));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_being_deleted_is_refused() {
    let edits: [fn(&mut Value); 2] = [
        |metadata| metadata["snapshot_info"]["state"] = json!("SnapshotStateDeleting"),
        |metadata| metadata["snapshot_info"]["state"] = json!(3),
    ];
    for edit in edits {
        assert_says(&Tree { edit, ..full() }.not_opened().await, &["state is Deleting", "take a new snapshot"]);
    }
}

#[tokio::test]
async fn every_format_version_from_the_first_release_on_is_read() {
    // Milvus 2.6 began with version 1, which its first files left out; Milvus 3 writes version 5.
    for version in 1..=5 {
        let mut tree = full();
        tree.version = version;
        assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &FULL), "{version}");
    }
    let mut first = full();
    first.version = 1;
    first.edit = |metadata| drop(metadata.as_object_mut().unwrap().remove("format_version"));
    assert_eq!(first.open().await.copies(1001).await, pairs(1001, &FULL));
    let later = Tree { edit: |metadata| metadata["format_version"] = json!(6), ..full() };
    assert_says(&later.not_opened().await, &["format_version is 6", "upgrade Ferry"]);
}

#[tokio::test]
async fn a_manifest_of_another_version_than_the_metadata_says_is_refused() {
    for (written, said) in [(5, 2), (2, 5), (3, 4)] {
        let mut tree = full();
        tree.version = written;
        tree.edit = match said {
            2 => |metadata| metadata["format_version"] = json!(2),
            4 => |metadata| metadata["format_version"] = json!(4),
            _ => |metadata| metadata["format_version"] = json!(5),
        };
        let refused = tree.open().await.refused(1001).await;
        assert_says(&refused, &["9001/1001.avro is bad", &format!("version {said}")]);
    }
}

#[tokio::test]
async fn names_in_camel_case_are_proto_json_too() {
    let tree = Tree { edit: |metadata| *metadata = camel(metadata, 2), ..full() };
    assert!(tree.metadata().get("manifestList").is_some(), "{}", tree.metadata());
    assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &FULL));
}

/// The value with its names, and those in so many levels below, in camel case.
fn camel(value: &Value, levels: usize) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let renamed = fields.iter().map(|(name, value)| {
        let value = if levels > 1 && name != "schema" && name != "partitions" {
            camel(value, levels - 1)
        } else {
            value.clone()
        };
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
        (words.fold(first, |name, word| name + &upper(word)), value)
    });
    Value::Object(renamed.collect::<Map<_, _>>())
}

#[tokio::test]
async fn the_names_of_pre_release_builds_are_refused_with_their_writer() {
    let edit: fn(&mut Value) = |metadata| {
        let info = json!({"name": "trial", "id": SNAPSHOT, "collection_id": 100, "create_ts": 1});
        let manifest = "snapshots/100/manifests/data-file-manifest-95c6ab19-749e-4088-990b-b4613ff2df2f.avro";
        *metadata = json!({
            "snapshot-info": info, "collection": metadata["collection"], "indexes": [], "manifest-list": [manifest],
        });
    };
    let refused = Tree { edit, ..full() }.not_opened().await;
    assert_says(&refused, &["snapshot-info", "pre-release", "2.6", "take the snapshot again"]);
}

#[tokio::test]
async fn a_manifest_that_is_an_array_is_refused_with_its_writer() {
    let tree = full();
    let opened = tree.open().await;
    let key = Tree::manifest_key(&json!(1001));
    let content = MANIFESTS.encode(5, &json!(tree.entries));
    opened.snapshot.location().write(&key, content.into()).await.unwrap();
    assert_says(&opened.refused(1001).await, &["1001.avro", "array of 1 entries", "pre-release", "2.6"]);
}

#[tokio::test]
async fn a_collection_without_segments_has_a_snapshot_without_any() {
    let opened = Tree::new().open().await;
    assert_eq!(opened.snapshot.segment_ids().count(), 0);
    assert_says(&opened.refused(1001).await, &["no segment 1001"]);
}

#[tokio::test]
async fn lists_that_contradict_each_other_are_refused() {
    let edits: [(Edit, &str); 4] = [
        (|metadata| metadata["segment_ids"] = json!(["1001", "1002"]), "segment 1002"),
        (|metadata| metadata["segment_ids"] = json!(["1001", "1001"]), "1001 twice"),
        (|metadata| metadata["segment_ids"] = json!(["1003"]), "segment 1003"),
        (|metadata| metadata["snapshot_info"]["id"] = json!("9002"), "9001"),
    ];
    for (edit, words) in edits {
        assert_says(&Tree { edit, ..full() }.not_opened().await, &[words]);
    }
    // Writers before them had no list of ids: the manifests tell.
    let silent = Tree { edit: |metadata| drop(metadata.as_object_mut().unwrap().remove("segment_ids")), ..full() };
    assert_eq!(silent.open().await.snapshot.segment_ids().collect::<Vec<_>>(), [1001]);
}
