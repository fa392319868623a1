//! Local storage of Milvus (its keys are complete absolute paths) and roots that paths carry in a bucket.

use ferry_objects::file_uri;
use serde_json::json;

use crate::opened::{assert_says, pairs};
use crate::tree::Tree;

const HOME: &str = "/var/lib/milvus/data/";
const COPIES: [&str; 7] = [
    "insert_log/@/0/5001",
    "insert_log/@/1/5002",
    "insert_log/@/100/5003",
    "insert_log/@/101/5004",
    "delta_log/@/5005",
    "stats_log/@/100/5006",
    "index_files/7001/1/10/1001/HNSW -> index_files/500/1/20/2001/HNSW",
];

/// A tree whose paths all begin with an absolute folder.
fn local(home: &str) -> Tree {
    let mut tree = Tree::named(home);
    tree.lies = String::new();
    tree.snapshot_lies = String::new();
    tree.full_segment(1001, 100);
    tree
}

#[tokio::test]
async fn absolute_paths_are_below_the_place_where_the_tree_lies() {
    let folder = tempfile::tempdir().unwrap();
    let tree = local(&format!("{}/", folder.path().display()));
    assert_eq!(tree.open_in_folder(folder).await.copies(1001).await, pairs(1001, &COPIES));
}

#[tokio::test]
async fn absolute_paths_are_below_the_place_where_the_tree_was_written() {
    assert_eq!(local(HOME).open().await.copies(1001).await, pairs(1001, &COPIES), "copied into a store");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(local(HOME).open_in_folder(folder).await.copies(1001).await, pairs(1001, &COPIES), "copied to a folder");
    // A part of the root that is a word of the layout is no part of it.
    let trap = local("/insert_log/delta_log/");
    assert_eq!(trap.open().await.copies(1001).await, pairs(1001, &COPIES));
}

#[tokio::test]
async fn a_folder_of_storage_version_3_has_an_absolute_path_too() {
    let mut tree = local(HOME);
    tree.stored(1002, 50, &[], &["102/_data/a.vx"]);
    tree.object("insert_log/100/10/lobs/102/_data/a.vx");
    let expected = pairs(
        1002,
        &[
            "insert_log/@/_data/0.parquet",
            "insert_log/@/_metadata/manifest-3.avro",
            "insert_log/100/10/lobs/102/_data/a.vx -> insert_log/200/20/lobs/102/_data/a.vx",
        ],
    );
    assert_eq!(tree.open().await.copies(1002).await, expected);
}

#[tokio::test]
async fn an_absolute_path_elsewhere_is_refused_by_name() {
    for path in [
        "/etc/insert_log/100/10/1001/0/5001",
        "/insert_log/100/10/1001/0/5001",
        "/var/lib/milvus/insert_log/100/10/1001/0/5001",
        "/var/lib/milvus/data2/insert_log/100/10/1001/0/5001",
        "/var/lib/milvus/data/../data2/insert_log/100/10/1001/0/5001",
    ] {
        let mut tree = local(HOME);
        tree.entries[0]["binlog_files"][0]["binlogs"][0]["log_path"] = json!(path);
        let opened = tree.open_in_folder(tempfile::tempdir().unwrap()).await;
        assert_says(&opened.refused(1001).await, &["segment 1001", path.trim_start_matches('/')]);
    }
}

#[tokio::test]
async fn an_absolute_folder_elsewhere_is_refused_by_name() {
    let mut tree = local(HOME);
    tree.stored(1002, 50, &[], &[]);
    tree.storage[0]["manifest"] = json!(r#"{"ver":3,"base_path":"/etc/insert_log/100/10/1002"}"#);
    assert_says(&tree.open().await.refused(1002).await, &["segment 1002", "/etc/insert_log/100/10/1002"]);
}

#[tokio::test]
async fn keys_that_start_at_the_bucket_carry_the_root_path_of_milvus() {
    for lies in ["files/", "copy/of/files/", "elsewhere/", ""] {
        let mut tree = Tree::named("files/");
        (tree.lies, tree.snapshot_lies) = (lies.to_owned(), lies.to_owned());
        tree.full_segment(1001, 100);
        assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &COPIES), "{lies}");
    }
}

#[tokio::test]
async fn a_base_path_may_begin_with_the_name_of_the_bucket() {
    // Milvus 3 before its packed reader took keys: the file system of Arrow has the bucket in its paths.
    let mut tree = Tree::named("files/");
    tree.stored(1001, 50, &["77"], &[]);
    tree.storage[0]["manifest"] = json!(r#"{"ver":3,"base_path":"a-bucket/files/insert_log/100/10/1001"}"#);
    let expected = pairs(
        1001,
        &["insert_log/@/_data/0.parquet", "insert_log/@/_delta/77", "insert_log/@/_metadata/manifest-3.avro"],
    );
    assert_eq!(tree.open().await.copies(1001).await, expected);
    tree.storage[0]["manifest"] = json!(r#"{"ver":3,"base_path":"a-bucket/other/insert_log/100/10/1001"}"#);
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "a-bucket/other"]);
}

#[tokio::test]
async fn a_tree_on_this_machine_is_opened_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let uri = file_uri(folder.path());
    let opened = local(HOME).open_in_folder(folder).await;
    let by_folder = ferry_snapshot::Snapshot::open(&opened.stores, &uri).await.unwrap();
    assert_eq!(by_folder.uri(), opened.snapshot.uri());
}
