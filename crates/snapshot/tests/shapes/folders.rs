//! Segments of storage version 3 (Milvus 3): what lies in the folder is the segment, and the lists beside it are
//! summaries, placeholders or stale names.

use serde_json::{Value, json};

use crate::opened::{assert_says, pairs};
use crate::tree::{Tree, folder, group, index, logs, stats_index};

const DATA: [&str; 2] = ["insert_log/@/_data/0.parquet", "insert_log/@/_metadata/manifest-3.avro"];

fn with_data(lines: &[&'static str]) -> Vec<&'static str> {
    [&DATA[..], lines].concat()
}

/// A segment with these objects in its folder beside its data.
fn stored(deltas: &[&str], others: &[&str]) -> Tree {
    let mut tree = Tree::new();
    tree.stored(1001, 100, deltas, &[]);
    for other in others {
        tree.object(&format!("{}/{other}", folder(1001)));
    }
    tree
}

#[tokio::test]
async fn a_folder_is_copied_whole_and_nothing_beside_it() {
    let mut tree =
        stored(&["77"], &["_stats/bloom_filter.100/1", "_stats/bm25.102/0", "_index/7001/HNSW", "later/kind"]);
    tree.object("insert_log/100/10/10011/_data/0.parquet");
    tree.object("insert_log/100/10/lobs/102/_data/of_nobody.vx");
    tree.object("delta_log/100/10/1001/77");
    let expected = with_data(&[
        "insert_log/@/_delta/77",
        "insert_log/@/_index/7001/HNSW",
        "insert_log/@/_stats/bloom_filter.100/1",
        "insert_log/@/_stats/bm25.102/0",
        "insert_log/@/later/kind",
    ]);
    let opened = tree.open().await;
    assert_eq!(opened.copies(1001).await, pairs(1001, &expected));
    assert_eq!(opened.plan(1001, &opened.target()).await.unwrap().rows, 100);
}

#[tokio::test]
async fn listed_text_indexes_are_summaries_however_they_are_spelled() {
    let names = ["_stats/text_index.101/tokenizer.json", "_stats/text_index.101/index.data"];
    let expected = pairs(
        1001,
        &with_data(&[
            "insert_log/@/_stats/text_index.101/index.data",
            "insert_log/@/_stats/text_index.101/tokenizer.json",
        ]),
    );
    // Below the folder, below the segment's id, bare, stale, of an older layout, and hostile: none of it is looked at.
    for prefix in [
        "insert_log/100/10/1001/",
        "1001/",
        "",
        "stale/",
        "text_log/8801/1/100/10/1001/101/",
        "insert_log/100/10/999/",
        "/etc/",
        "../../",
    ] {
        let mut tree = stored(&[], &names);
        tree.builds = vec![8801];
        let files = names.map(|name| format!("{prefix}{name}"));
        tree.last()["text_index_files"] = json!([stats_index(101, 8801, &files, None)]);
        assert_eq!(tree.open().await.copies(1001).await, expected, "{prefix}");
    }
}

#[tokio::test]
async fn listed_json_indexes_are_summaries_too() {
    let name = "_stats/json_stats.102/shared_key_index/.managed.json_0";
    let mut tree = stored(&[], &[name]);
    tree.builds = vec![8802];
    let files = [format!("{}/{name}", folder(1001)), "shared_key_index/meta.json_0".to_owned()];
    tree.last()["json_key_index_files"] = json!([stats_index(102, 8802, &files, Some(2))]);
    let expected = with_data(&["insert_log/@/_stats/json_stats.102/shared_key_index/.managed.json_0"]);
    assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &expected));
}

#[tokio::test]
async fn listed_logs_are_summaries_and_num_of_rows_is_the_truth() {
    // Paths rebuilt from ids that never were objects, the folder's own files, and rows without a path.
    let log = |rows: i64, path: &str| {
        json!({
            "entries_num": rows, "timestamp_from": 1, "timestamp_to": 2, "log_path": path, "log_size": 1_000,
            "log_id": 5, "memory_size": 0,
        })
    };
    let mut tree = stored(&["77"], &["_stats/bloom_filter.100/1"]);
    let entry: &mut Value = tree.last();
    entry["binlog_files"] = json!([
        group(0, &[0, 1, 100], vec![log(40, "insert_log/100/10/1001/0/5")]),
        group(101, &[101], vec![log(60, "")]),
    ]);
    entry["deltalog_files"] = json!([logs(
        0,
        vec![log(1, "insert_log/100/10/1001/_delta/77"), log(1, "delta_log/100/10/1001/78"), log(9, "")]
    )]);
    entry["statslog_files"] = json!([logs(100, vec![log(100, "insert_log/100/10/1001/_stats/bloom_filter.100/1")])]);
    let opened = tree.open().await;
    let expected = with_data(&["insert_log/@/_delta/77", "insert_log/@/_stats/bloom_filter.100/1"]);
    assert_eq!(opened.copies(1001).await, pairs(1001, &expected));
    assert_eq!(opened.plan(1001, &opened.target()).await.unwrap().rows, 100);
}

#[tokio::test]
async fn an_index_below_the_folder_is_copied_once_and_one_beside_it_too() {
    let mut tree = stored(&[], &["_index/7001/1/HNSW"]);
    let below = format!("{}/_index/7001/1/HNSW", folder(1001));
    let beside = tree.object("index_v1/100/10/1001/7002/1/IVF_FLAT");
    let old = tree.object("index_files/7003/1/10/1001/STL_SORT");
    tree.builds = vec![7001, 7002, 7003];
    tree.last()["index_files"] = json!([
        index(1001, 101, 7001, &[&below], "HNSW"),
        index(1001, 101, 7002, &[&beside], "IVF_FLAT"),
        index(1001, 100, 7003, &[&old], "STL_SORT"),
    ]);
    let expected = with_data(&[
        "insert_log/@/_index/7001/1/HNSW",
        "index_v1/100/10/1001/7002/1/IVF_FLAT -> index_v1/200/20/2001/501/1/IVF_FLAT",
        "index_files/7003/1/10/1001/STL_SORT -> index_files/502/1/20/2001/STL_SORT",
    ]);
    assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &expected));
}

#[tokio::test]
async fn an_index_below_the_folder_that_is_not_there_is_refused_by_name() {
    let mut tree = stored(&[], &[]);
    let below = format!("{}/_index/7001/1/HNSW", folder(1001));
    tree.builds = vec![7001];
    tree.last()["index_files"] = json!([index(1001, 101, 7001, &[&below], "HNSW")]);
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", &below, "restore it"]);
}

#[tokio::test]
async fn a_segment_of_version_3_without_a_storage_manifest_is_refused_by_name() {
    // It has a real log of deletions, by which it would be published without its rows.
    let mut tree = Tree::new();
    let log = tree.log("delta_log", 1001, 0, 1);
    tree.entry(1001, 100, 3, Vec::new())["deltalog_files"] = json!([logs(0, vec![log])]);
    let words = ["segment 1001", "storage version 3", "storagev2_manifest_list", "100 rows"];
    assert_says(&tree.open().await.refused(1001).await, &words);
    // An entry without a path is none.
    tree.storage = vec![json!({"segment_id": "1001", "manifest": ""})];
    assert_says(&tree.open().await.refused(1001).await, &words);
    // Later versions are read like this one.
    tree.last()["storage_version"] = json!(4);
    assert_says(&tree.open().await.refused(1001).await, &["storage version 4"]);
}

#[tokio::test]
async fn the_folder_is_named_in_json_or_by_the_path_of_the_storage_manifest() {
    let expected = pairs(1001, &DATA);
    for (name, manifest) in [
        ("segment_id", r#"{"ver":3,"base_path":"insert_log/100/10/1001"}"#),
        ("segmentID", r#"{"base_path":"insert_log/100/10/1001","ver":3,"later":true}"#),
        ("segmentId", "insert_log/100/10/1001/_metadata/manifest-3.avro"),
    ] {
        let mut tree = stored(&[], &[]);
        tree.storage = vec![json!({name: "1001", "manifest": manifest})];
        assert_eq!(tree.open().await.copies(1001).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_the_segments_own_is_refused() {
    for base_path in [
        "insert_log/100/10/1002",
        "insert_log/100/11/1001",
        "insert_log/101/10/1001",
        "insert_log/100/10",
        "insert_log/100/10/1001/_data",
        "insert_log/100/10/lobs",
        "delta_log/100/10/1001",
        "../insert_log/100/10/1001",
        "",
    ] {
        let mut tree = stored(&[], &[]);
        tree.storage[0]["manifest"] = json!(json!({"ver": 3, "base_path": base_path}).to_string());
        assert_says(&tree.open().await.refused(1001).await, &["1001", base_path]);
    }
    let mut tree = stored(&[], &[]);
    tree.storage[0]["manifest"] = json!("neither JSON nor a path");
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "neither JSON nor a path"]);
}

#[tokio::test]
async fn a_growing_segments_placeholder_is_told_and_planned_by_nobody() {
    // Builds before 2026-07-30 put these into snapshots.
    let mut tree = Tree::new();
    tree.full_segment(1001, 100);
    tree.entry(1002, 0, 3, Vec::new());
    tree.storage = vec![json!({"segment_id": "1002", "manifest": r#"{"ver":0,"base_path":"insert_log/100/10/1002"}"#})];
    let opened = tree.open().await;
    assert_eq!(opened.snapshot.growing_segment_ids().collect::<Vec<_>>(), [1002]);
    assert!(opened.snapshot.is_growing(1002) && !opened.snapshot.is_growing(1001));
    assert_says(&opened.refused(1002).await, &["segment 1002", "still growing", "flush"]);
    assert_eq!(opened.copies(1001).await.len(), 7);
}

#[tokio::test]
async fn a_segment_with_deletions_and_no_rows_is_copied() {
    let mut tree = Tree::new();
    tree.stored(1003, 0, &["77"], &[]);
    let opened = tree.open().await;
    let expected = pairs(1003, &["insert_log/@/_delta/77", "insert_log/@/_metadata/manifest-3.avro"]);
    assert_eq!(opened.copies(1003).await, expected);
    assert_eq!(opened.plan(1003, &opened.target()).await.unwrap().rows, 0);
}

#[tokio::test]
async fn rows_that_are_promised_and_not_there_are_refused_by_name() {
    let mut gone = stored(&[], &[]);
    gone.objects.clear();
    assert_says(&gone.open().await.refused(1001).await, &["segment 1001", "100 rows", "manifest-3.avro is not there"]);
    for (lost, deltas) in [("_data/0.parquet", &[][..]), ("_delta/77", &["77"])] {
        let mut tree = stored(deltas, &[]);
        let lost = format!("{}/{lost}", folder(1001));
        tree.objects.remove(&lost).unwrap();
        assert_says(&tree.open().await.refused(1001).await, &["segment 1001", &lost, "is not there"]);
    }
    // The storage manifest is of a time without rows.
    let mut tree = Tree::new();
    tree.stored(1001, 0, &["77"], &[])["num_of_rows"] = json!(50);
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "50 rows", "storage manifest"]);
}
