//! Self-contained bundles, as the export of Milvus 3 and milvus-backup write them: all data below `files/` of the root,
//! wherever the bundle was moved, and nothing outside of it.

use serde_json::{Value, json};

use crate::opened::{Opened, assert_says, pairs};
use crate::tree::Tree;

const ROOT: &str = "backup/exports/u1/";

/// What a bundle's segment becomes in a target that is none: nothing of the bundle's folders stays.
const COPIES: [&str; 7] = [
    "files/insert_log/100/10/1001/0/5001 -> insert_log/200/20/2001/0/5001",
    "files/insert_log/100/10/1001/1/5002 -> insert_log/200/20/2001/1/5002",
    "files/insert_log/100/10/1001/100/5003 -> insert_log/200/20/2001/100/5003",
    "files/insert_log/100/10/1001/101/5004 -> insert_log/200/20/2001/101/5004",
    "files/delta_log/100/10/1001/5005 -> delta_log/200/20/2001/5005",
    "files/stats_log/100/10/1001/100/5006 -> stats_log/200/20/2001/100/5006",
    "files/index_files/7001/1/10/1001/HNSW -> index_files/500/1/20/2001/HNSW",
];

/// A bundle with one segment, that was written at `root` and lies at `lies`.
fn bundle(root: &str, lies: &str) -> Tree {
    let mut tree = Tree::named(root);
    tree.named = format!("{root}files/");
    tree.lies = format!("{lies}files/");
    tree.snapshot_lies = lies.to_owned();
    tree.edit = |metadata| at(metadata, "");
    tree.full_segment(1001, 100);
    tree
}

/// Makes the metadata a bundle's, whose writer puts its own place into `s3_location` behind a prefix.
fn at(metadata: &mut Value, prefix: &str) {
    metadata["layout"] = json!("SnapshotLayoutSelfContained");
    metadata["snapshot_info"]["state"] = json!("SnapshotStateCommitted");
    let manifest = metadata["manifest_list"][0].as_str().unwrap().to_owned();
    let root = manifest.split("snapshots/").next().unwrap();
    metadata["snapshot_info"]["s3_location"] = json!(format!("{prefix}{root}{}", Tree::metadata_key()));
}

async fn assert_copied(opened: &Opened) {
    assert_eq!(opened.copies(1001).await, pairs(1001, &COPIES));
}

#[tokio::test]
async fn a_bundle_where_it_was_written_is_copied_without_its_folder() {
    assert_copied(&bundle(ROOT, ROOT).open().await).await;
}

#[tokio::test]
async fn the_place_of_a_bundle_is_told_in_every_dialect() {
    let edits: [fn(&mut Value); 7] = [
        |metadata| at(metadata, "s3://bucket/"),
        |metadata| at(metadata, "minio://127.0.0.1:9000/bucket/"),
        |metadata| at(metadata, "https://s3.eu-west-1.amazonaws.com/bucket/"),
        |metadata| at(metadata, "azure://account.blob.core.windows.net/container/"),
        |metadata| at(metadata, "gs://bucket/"),
        |metadata| at(metadata, "gcs://bucket/"),
        |metadata| {
            at(metadata, "");
            metadata["snapshot_info"]["s3_location"] = Value::Null;
        },
    ];
    for edit in edits {
        assert_copied(&Tree { edit, ..bundle(ROOT, ROOT) }.open().await).await;
        // Moved: the bucket in it is not the one where it is found.
        assert_copied(&Tree { edit, ..bundle(ROOT, "restored/x/") }.open().await).await;
    }
}

#[tokio::test]
async fn a_bundle_that_was_moved_is_found_where_its_metadata_is() {
    for lies in ["restored/x/", "", "backup/exports/", "backup/exports/u1/backup/exports/u1/"] {
        assert_copied(&bundle(ROOT, lies).open().await).await;
    }
}

#[tokio::test]
async fn a_bundle_that_was_written_at_the_root_of_a_bucket_is_found_wherever_it_lies() {
    for lies in ["", "here/", "insert_log/"] {
        assert_copied(&bundle("", lies).open().await).await;
    }
}

#[tokio::test]
async fn a_bundle_on_this_machine_has_paths_from_its_bucket_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    assert_copied(&bundle(ROOT, "moved/").open_in_folder(folder).await).await;
}

#[tokio::test]
async fn a_path_outside_of_the_bundle_is_refused_by_name() {
    // A log of the live collection, of another bundle, beside the data, and one that climbs out.
    for path in [
        "insert_log/100/10/1001/0/5001",
        "backup/exports/u2/files/insert_log/100/10/1001/0/5001",
        "backup/exports/u1/insert_log/100/10/1001/0/5001",
        "backup/exports/u1/filesx/insert_log/100/10/1001/0/5001",
        "/backup/exports/u2/files/insert_log/100/10/1001/0/5001",
        "s3://other/backup/exports/u1/files/insert_log/100/10/1001/0/5001",
        "backup/exports/u1/files/../../u2/files/insert_log/100/10/1001/0/5001",
    ] {
        for lies in [ROOT, "restored/x/"] {
            let mut tree = bundle(ROOT, lies);
            tree.entries[0]["binlog_files"][0]["binlogs"][0]["log_path"] = json!(path);
            assert_says(&tree.open().await.refused(1001).await, &["segment 1001", path]);
        }
    }
}

#[tokio::test]
async fn a_path_outside_of_a_bundle_at_the_root_of_a_bucket_is_refused_by_name() {
    for path in [
        "insert_log/100/10/1001/0/5001",
        "backup/files/insert_log/100/10/1001/0/5001",
        "/files/insert_log/100/10/1001/0/5001",
    ] {
        let mut tree = bundle("", "");
        tree.entries[0]["binlog_files"][0]["binlogs"][0]["log_path"] = json!(path);
        assert_says(&tree.open().await.refused(1001).await, &["segment 1001", path]);
    }
}

#[tokio::test]
async fn a_folder_of_storage_version_3_lies_in_the_bundle_too() {
    let mut tree = bundle(ROOT, "restored/x/");
    tree.stored(1002, 50, &["77"], &["102/_data/a.vx"]);
    tree.object("insert_log/100/10/lobs/102/_data/a.vx");
    let expected = pairs(
        1002,
        &[
            "files/insert_log/100/10/1002/_data/0.parquet -> insert_log/200/20/2002/_data/0.parquet",
            "files/insert_log/100/10/1002/_delta/77 -> insert_log/200/20/2002/_delta/77",
            "files/insert_log/100/10/1002/_metadata/manifest-3.avro -> insert_log/200/20/2002/_metadata/manifest-3.avro",
            "files/insert_log/100/10/lobs/102/_data/a.vx -> insert_log/200/20/lobs/102/_data/a.vx",
        ],
    );
    assert_eq!(tree.open().await.copies(1002).await, expected);
    tree.storage[0]["manifest"] = json!(r#"{"ver":3,"base_path":"insert_log/100/10/1002"}"#);
    assert_says(&tree.open().await.refused(1002).await, &["segment 1002", "insert_log/100/10/1002"]);
}
