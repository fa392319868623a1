//! A copy that takes only some of the indexes: files of the others stay behind, and its own manifest names none of them.

use std::collections::BTreeSet;

use ferry_snapshot::Target;
use serde_json::{Value, json};

use crate::opened::Opened;
use crate::schemas::MANIFEST;
use crate::tree::{Tree, folder, index, stats_index};

const VECTOR: &str = "index_files/500/1/20/2001/HNSW";
const SCALAR: &str = "index_files/501/1/20/2001/STL_SORT";
const TEXT: &str = "text_log/502/1/200/20/2001/102/meta.json_0";
const JSON: &str = "json_stats/2/503/1/200/20/2001/103/shared_key_index/x_0";

/// A segment with an index of each kind.
async fn indexed() -> Opened {
    let mut tree = Tree::new();
    let vector = tree.index(1001, 7001);
    let scalar = tree.object("index_files/7002/1/10/1001/STL_SORT");
    let text = tree.object("text_log/7003/1/100/10/1001/102/meta.json_0");
    let json = tree.object("json_stats/2/7004/1/100/10/1001/103/shared_key_index/x_0");
    tree.builds = vec![7001, 7002, 7003, 7004];
    let entry = tree.segment(1001, 100);
    entry["index_files"] = json!([vector, index(1001, 100, 7002, &[&scalar], "STL_SORT")]);
    entry["text_index_files"] = json!([stats_index(102, 7003, &[text], None)]);
    entry["json_key_index_files"] = json!([stats_index(103, 7004, &[json], Some(2))]);
    tree.open().await
}

/// Target keys of the indexes that are copied, and paths of those that the copy's manifest names.
async fn chosen(opened: &Opened, choice: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let target = Target { indexes: choice.parse().unwrap(), ..opened.target() };
    let plan = opened.plan(1001, &target).await.unwrap();
    let copied = plan.files.iter().map(|file| file.target_key.clone());
    let copied: BTreeSet<String> = copied.filter(|key| !key.starts_with("insert_log")).collect();
    assert_eq!(plan.files.len(), 4 + copied.len(), "no log is left out");
    let manifest = MANIFEST.decode(5, &plan.snapshot_files[0].content).unwrap();
    (copied, named(&manifest))
}

fn named(manifest: &Value) -> BTreeSet<String> {
    let items = |list: &str| manifest[list].as_array().unwrap().clone();
    let indexes = items("index_files").into_iter().map(|index| index["index_file_paths"].clone());
    let stats = [items("text_index_files"), items("json_key_index_files")].concat();
    let files = indexes.chain(stats.into_iter().map(|index| index["stats"]["files"].clone()));
    files.flat_map(|files| serde_json::from_value::<Vec<String>>(files).unwrap()).collect()
}

#[tokio::test]
async fn the_chosen_indexes_are_copied_and_named_and_no_others() {
    let opened = indexed().await;
    let choices: [(&str, &[&str]); 8] = [
        ("all", &[VECTOR, SCALAR, TEXT, JSON]),
        ("vector,scalar,text,json", &[VECTOR, SCALAR, TEXT, JSON]),
        ("vector", &[VECTOR]),
        ("scalar", &[SCALAR]),
        ("text", &[TEXT]),
        ("json", &[JSON]),
        ("vector,json", &[VECTOR, JSON]),
        ("none", &[]),
    ];
    for (choice, expected) in choices {
        let expected: BTreeSet<String> = expected.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(chosen(&opened, choice).await, (expected.clone(), expected), "{choice}");
    }
}

#[tokio::test]
async fn an_index_that_is_left_out_may_be_missing_or_unknown() {
    let mut tree = Tree::new();
    tree.full_segment(1001, 100);
    tree.objects.remove("index_files/7001/1/10/1001/HNSW").unwrap();
    tree.builds = vec![9];
    let opened = tree.open().await;
    assert!(opened.plan(1001, &opened.target()).await.is_err(), "its build has no new id");
    let target = Target { indexes: "none".parse().unwrap(), ..opened.target() };
    assert_eq!(opened.plan(1001, &target).await.unwrap().files.len(), 6);
}

#[tokio::test]
async fn an_index_of_a_field_that_the_schema_lacks_is_told_by_its_type() {
    for (kind, is_vector) in [("HNSW", true), ("DISKANN", true), ("STL_SORT", false), ("Trie", false), ("RTREE", false)]
    {
        let mut tree = Tree::new();
        let path = tree.object("index_files/7001/1/10/1001/file");
        tree.builds = vec![7001];
        tree.segment(1001, 100)["index_files"] = json!([index(1001, 999, 7001, &[&path], kind)]);
        let opened = tree.open().await;
        assert_eq!(chosen(&opened, "vector").await.0.len(), usize::from(is_vector), "{kind}");
        assert_eq!(chosen(&opened, "scalar").await.0.len(), usize::from(!is_vector), "{kind}");
    }
}

#[tokio::test]
async fn what_lies_in_a_folder_of_storage_version_3_goes_along_whatever_is_chosen() {
    let mut tree = Tree::new();
    let text = "_stats/text_index.102/meta.json_0";
    tree.stored(1001, 100, &[], &[]);
    let text = tree.object(&format!("{}/{text}", folder(1001)));
    let beside = tree.object("index_v1/100/10/1001/7001/1/HNSW");
    tree.builds = vec![7001];
    tree.last()["text_index_files"] = json!([stats_index(102, 7003, &[text], None)]);
    tree.last()["index_files"] = json!([index(1001, 101, 7001, &[&beside], "HNSW")]);
    let opened = tree.open().await;
    let target = Target { indexes: "none".parse().unwrap(), ..opened.target() };
    let plan = opened.plan(1001, &target).await.unwrap();
    let copied: BTreeSet<&str> = plan.files.iter().map(|file| file.target_key.as_str()).collect();
    let expected = [
        "insert_log/200/20/2001/_data/0.parquet",
        "insert_log/200/20/2001/_metadata/manifest-3.avro",
        "insert_log/200/20/2001/_stats/text_index.102/meta.json_0",
    ];
    assert_eq!(copied, BTreeSet::from(expected));
    let manifest = MANIFEST.decode(5, &plan.snapshot_files[0].content).unwrap();
    assert_eq!(named(&manifest), BTreeSet::from([expected[2].to_owned()]));
}
