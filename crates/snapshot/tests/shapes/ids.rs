//! Ids that are not what one would guess: builds that made several indexes, deletions of segments that are gone, deletions
//! of all partitions, indexes in the newest place.

use serde_json::{Value, json};

use crate::opened::{Opened, assert_says, pairs};
use crate::tree::{Tree, index, logs, stats_index};

const INSERTS: [&str; 4] =
    ["insert_log/@/0/5001", "insert_log/@/1/5002", "insert_log/@/100/5003", "insert_log/@/101/5004"];

fn with_inserts(lines: &[&'static str]) -> Vec<&'static str> {
    [&INSERTS[..], lines].concat()
}

/// One stats task of Milvus 2.6 made the text indexes of two fields, another the JSON indexes of two.
fn shared_builds(builds: &[i64]) -> Tree {
    let mut tree = Tree::new();
    let text = |tree: &mut Tree, field| {
        let path = tree.object(&format!("text_log/8801/1/100/10/1001/{field}/meta.json_0"));
        stats_index(field, 8801, &[path], None)
    };
    let texts = json!([text(&mut tree, 102), text(&mut tree, 103)]);
    let keys = |tree: &mut Tree, field| {
        let path = tree.object(&format!("json_stats/2/8802/1/100/10/1001/{field}/shared_key_index/inverted_index_0"));
        stats_index(field, 8802, &[path], Some(2))
    };
    let jsons = json!([keys(&mut tree, 104), keys(&mut tree, 105)]);
    tree.builds = builds.to_vec();
    let entry = tree.segment(1001, 100);
    (entry["text_index_files"], entry["json_key_index_files"]) = (texts, jsons);
    tree
}

#[tokio::test]
async fn a_build_that_made_several_indexes_stands_there_several_times_and_gets_one_new_id() {
    let expected = with_inserts(&[
        "text_log/8801/1/100/10/1001/102/meta.json_0 -> text_log/500/1/200/20/2001/102/meta.json_0",
        "text_log/8801/1/100/10/1001/103/meta.json_0 -> text_log/500/1/200/20/2001/103/meta.json_0",
        "json_stats/2/8802/1/100/10/1001/104/shared_key_index/inverted_index_0 -> \
         json_stats/2/501/1/200/20/2001/104/shared_key_index/inverted_index_0",
        "json_stats/2/8802/1/100/10/1001/105/shared_key_index/inverted_index_0 -> \
         json_stats/2/501/1/200/20/2001/105/shared_key_index/inverted_index_0",
    ]);
    for builds in [&[8801, 8801, 8802, 8802][..], &[8802, 8801, 8802, 8801], &[8801, 8802]] {
        let opened = shared_builds(builds).open().await;
        assert_eq!(opened.snapshot.build_ids(), [8801, 8802]);
        assert_eq!(opened.copies(1001).await, pairs(1001, &expected), "{builds:?}");
    }
}

#[tokio::test]
async fn builds_of_text_and_json_indexes_that_the_list_lacks_keep_their_ids() {
    // Before 2.6.4 the list had those of vector and scalar indexes alone.
    let expected = with_inserts(&[
        "text_log/8801/1/100/10/1001/102/meta.json_0 -> text_log/8801/1/200/20/2001/102/meta.json_0",
        "text_log/8801/1/100/10/1001/103/meta.json_0 -> text_log/8801/1/200/20/2001/103/meta.json_0",
        "json_stats/2/8802/1/100/10/1001/104/shared_key_index/inverted_index_0 -> \
         json_stats/2/8802/1/200/20/2001/104/shared_key_index/inverted_index_0",
        "json_stats/2/8802/1/100/10/1001/105/shared_key_index/inverted_index_0 -> \
         json_stats/2/8802/1/200/20/2001/105/shared_key_index/inverted_index_0",
    ]);
    for builds in [&[][..], &[7001]] {
        assert_eq!(shared_builds(builds).open().await.copies(1001).await, pairs(1001, &expected), "{builds:?}");
    }
}

#[tokio::test]
async fn a_build_of_a_vector_index_that_the_list_lacks_is_refused() {
    let mut tree = Tree::new();
    tree.full_segment(1001, 100);
    tree.builds = vec![7777];
    assert_says(&tree.open().await.refused(1001).await, &["segment 1001", "index_files/7001", "build_ids lack"]);
}

#[tokio::test]
async fn the_builds_of_several_segments_are_numbered_by_their_ranks() {
    let mut tree = Tree::new();
    tree.full_segment(1001, 100);
    tree.full_segment(1002, 100);
    tree.builds = vec![7002, 7001, 9];
    let opened = tree.open().await;
    for (segment, source, target) in [(1001, 7001, 501), (1002, 7002, 502)] {
        let copies = opened.copies(segment).await;
        let key = format!("index_files/{source}/1/10/{segment}/HNSW");
        assert_eq!(copies[&key], format!("index_files/{target}/1/20/{}/HNSW", segment + 1_000));
    }
}

/// Deletions of segment 1777, which compaction replaced, listed by segment 1001, and by 1002 where `both`.
async fn compacted(both: bool) -> Opened {
    let mut tree = Tree::new();
    let theirs = tree.log_at("delta_log/100/10/1777/5901", 1);
    let own = tree.log_at("delta_log/100/10/1001/5902", 1);
    tree.segment(1001, 100)["deltalog_files"] = json!([logs(0, vec![own]), logs(0, vec![theirs.clone()])]);
    tree.segment(1002, 100);
    if both {
        tree.last()["deltalog_files"] = json!([logs(0, vec![theirs])]);
    }
    tree.open().await
}

#[tokio::test]
async fn deletions_of_segments_that_were_compacted_away_go_below_the_segment_that_lists_them() {
    let copies = compacted(false).await.copies(1001).await;
    assert_eq!(copies["delta_log/100/10/1777/5901"], "delta_log/200/20/2001/5901");
    assert_eq!(copies["delta_log/100/10/1001/5902"], "delta_log/200/20/2001/5902");
    assert_eq!(copies.len(), 6);
}

#[tokio::test]
async fn deletions_that_two_segments_list_go_below_both() {
    let opened = compacted(true).await;
    for (segment, target) in [(1001, "delta_log/200/20/2001/5901"), (1002, "delta_log/200/20/2002/5901")] {
        assert_eq!(opened.copies(segment).await["delta_log/100/10/1777/5901"], target);
    }
}

#[tokio::test]
async fn only_deletions_may_be_of_another_segment_and_none_of_another_partition_or_collection() {
    let foreign = [
        ("deltalog_files", "delta_log/101/10/1777/5901", "collection 101"),
        ("deltalog_files", "delta_log/100/11/1777/5901", "partition 11"),
        ("statslog_files", "stats_log/100/10/1777/100/5901", "segment 1777"),
        ("bm25_statslog_files", "bm25_stats/100/10/1777/100/5901", "segment 1777"),
    ];
    for (list, key, words) in foreign {
        let mut tree = Tree::new();
        let log = tree.log_at(key, 1);
        tree.segment(1001, 100)[list] = json!([logs(0, vec![log])]);
        assert_says(&tree.open().await.refused(1001).await, &["segment 1001", key, words]);
    }
}

#[tokio::test]
async fn deletions_of_the_same_id_of_two_segments_are_refused() {
    let mut tree = Tree::new();
    let (one, two) = (tree.log_at("delta_log/100/10/1777/5901", 1), tree.log_at("delta_log/100/10/1778/5901", 1));
    tree.segment(1001, 100)["deltalog_files"] = json!([logs(0, vec![one, two])]);
    assert_says(&tree.open().await.refused(1001).await, &["two objects would become delta_log/200/20/2001/5901"]);
}

fn level_zero(partition: i64) -> Tree {
    let mut tree = Tree::new();
    let log = tree.log_at(&format!("delta_log/100/{partition}/1003/5888"), 3);
    let entry: &mut Value = tree.entry(1003, 0, 0, Vec::new());
    entry["deltalog_files"] = json!([logs(0, vec![log])]);
    (entry["segment_level"], entry["partition_id"]) = (json!(1), json!(partition));
    tree
}

#[tokio::test]
async fn deletions_of_all_partitions_stay_those_of_all_partitions() {
    let opened = level_zero(-1).open().await;
    let expected = pairs(1003, &["delta_log/100/-1/1003/5888 -> delta_log/200/-1/2003/5888"]);
    assert_eq!(opened.copies(1003).await, expected);
    let plan = opened.plan(1003, &opened.target()).await.unwrap();
    assert_eq!((plan.rows, plan.source_partition_id, plan.target_partition_id), (0, -1, -1));
}

#[tokio::test]
async fn deletions_of_one_partition_go_to_its_target() {
    let expected = pairs(1003, &["delta_log/100/10/1003/5888 -> delta_log/200/20/2003/5888"]);
    assert_eq!(level_zero(10).open().await.copies(1003).await, expected);
}

#[tokio::test]
async fn an_index_in_the_newest_place_has_its_ids_replaced_there() {
    let mut tree = Tree::new();
    let path = tree.object("index_v1/100/10/1001/7001/1/HNSW");
    tree.builds = vec![7001];
    let mut entry = index(1001, 101, 7001, &[&path], "HNSW");
    entry["index_store_path_version"] = json!(1);
    tree.segment(1001, 100)["index_files"] = json!([entry]);
    let expected = with_inserts(&["index_v1/100/10/1001/7001/1/HNSW -> index_v1/200/20/2001/500/1/HNSW"]);
    assert_eq!(tree.open().await.copies(1001).await, pairs(1001, &expected));
    for (key, words) in [
        ("index_v1/100/10/1001/7002/1/HNSW", "index build 7002"),
        ("index_v1/100/10/1002/7001/1/HNSW", "segment 1002"),
        ("index_files/7001/1/10/1002/HNSW", "segment 1002"),
    ] {
        tree.last()["index_files"][0]["index_file_paths"] = json!([key]);
        assert_says(&tree.open().await.refused(1001).await, &[key, words]);
    }
}
