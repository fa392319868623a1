//! Large values, which lie beside the segments of a partition, and the storage manifest that says which of them are a
//! segment's: as milvus-storage wrote it before March 2026, as it does since, and damaged.

use serde_json::json;

use crate::opened::{assert_says, pairs};
use crate::schemas::{RAW_FIRST, RAW_HEAD, RAW_THIRD, STORAGE_MANIFEST};
use crate::tree::{Tree, folder, storage_manifest};

/// The letters MILV as a number.
const MAGIC: i64 = 0x4D49_4C56;

/// Six large values of a partition.
fn with_values(tree: &mut Tree) {
    for name in ["a", "b", "c", "d", "e", "f"] {
        tree.object(&format!("insert_log/100/10/lobs/102/_data/{name}.vx"));
    }
}

/// The raw form of a version.
fn raw(version: u8, large_values: &[&str]) -> Vec<u8> {
    let body = if version < 3 { &RAW_FIRST } else { &RAW_THIRD };
    let head = RAW_HEAD.encode(1, &json!({"magic": MAGIC, "version": version}));
    [head, body.encode(version, &storage_manifest(100, &[], large_values))].concat()
}

const DATA: [&str; 2] = ["insert_log/@/_data/0.parquet", "insert_log/@/_metadata/manifest-3.avro"];

fn value(name: &str) -> String {
    format!("insert_log/100/10/lobs/102/_data/{name}.vx -> insert_log/200/20/lobs/102/_data/{name}.vx")
}

fn with_data(names: &[&str], segment: i64) -> std::collections::BTreeMap<String, String> {
    let values: Vec<String> = names.iter().map(|name| value(name)).collect();
    let lines: Vec<&str> = DATA.into_iter().chain(values.iter().map(String::as_str)).collect();
    pairs(segment, &lines)
}

#[tokio::test]
async fn a_segment_takes_those_large_values_that_its_own_storage_manifest_names() {
    let mut tree = Tree::new();
    with_values(&mut tree);
    tree.stored(1001, 100, &[], &["102/_data/a.vx", "102/_data/b.vx", "102/_data/c.vx"]);
    tree.stored(1002, 100, &[], &["102/_data/c.vx", "102/_data/d.vx"]);
    tree.stored(1003, 100, &[], &[]);
    let opened = tree.open().await;
    assert_eq!(opened.copies(1001).await, with_data(&["a", "b", "c"], 1001));
    assert_eq!(opened.copies(1002).await, with_data(&["c", "d"], 1002), "one that two segments name goes with both");
    assert_eq!(opened.copies(1003).await, with_data(&[], 1003));
}

#[tokio::test]
async fn a_large_value_of_a_whole_key_or_outside_of_its_partition_is_refused_by_name() {
    for path in [
        "insert_log/100/10/lobs/102/_data/a.vx",
        "insert_log/100/11/lobs/102/_data/a.vx",
        "insert_log/101/10/lobs/102/_data/a.vx",
        "insert_log/100/10/1002/_data/0.parquet",
        "../../11/lobs/102/_data/a.vx",
        "s3://other/insert_log/100/10/lobs/102/_data/a.vx",
        "/etc/insert_log/100/10/lobs/102/_data/a.vx",
    ] {
        let mut tree = Tree::new();
        tree.stored(1001, 100, &[], &[path]);
        assert_says(&tree.open().await.refused(1001).await, &["segment 1001", path]);
    }
}

#[tokio::test]
async fn the_raw_form_of_milvus_storage_before_march_2026_is_read_in_every_version() {
    for version in 1..=5 {
        let mut tree = Tree::new();
        with_values(&mut tree);
        tree.stored_with(1001, 100, raw(version, &["102/_data/a.vx"]));
        // Large values came with version 5.
        let values: &[&str] = if version < 5 { &[] } else { &["a"] };
        assert_eq!(tree.open().await.copies(1001).await, with_data(values, 1001), "{version}");
    }
}

#[tokio::test]
async fn the_raw_form_begins_with_the_bytes_that_were_seen() {
    assert_eq!(raw(1, &[])[..6], [0xac, 0xb1, 0xca, 0xd4, 0x09, 0x02]);
}

#[tokio::test]
async fn a_storage_manifest_that_is_damaged_is_refused_by_name() {
    let whole = STORAGE_MANIFEST.container(1, &storage_manifest(100, &[], &["102/_data/a.vx"]));
    let later = [RAW_HEAD.encode(1, &json!({"magic": MAGIC, "version": 9})), vec![0; 40]].concat();
    for (content, words) in [
        (whole[..whole.len() - 30].to_vec(), "cannot be read"),
        (whole[..40].to_vec(), "cannot be read"),
        (raw(5, &["102/_data/a.vx"])[..20].to_vec(), "cannot be read"),
        (later, "version 9"),
        (b"{\"column_groups\": []}".to_vec(), "neither"),
        (Vec::new(), "neither"),
    ] {
        let mut tree = Tree::new();
        tree.stored_with(1001, 100, content);
        let refused = tree.open().await.refused(1001).await;
        let key = format!("{}/_metadata/manifest-3.avro", folder(1001));
        assert_says(&refused, &["segment 1001", &key, words, "take the snapshot again"]);
    }
}

#[tokio::test]
async fn the_storage_manifest_of_the_version_that_the_snapshot_names_decides() {
    let mut tree = Tree::new();
    with_values(&mut tree);
    tree.stored(1001, 100, &[], &["102/_data/a.vx"]);
    // A later commit of the live collection, after the snapshot was taken.
    let later = STORAGE_MANIFEST.container(1, &storage_manifest(100, &[], &["102/_data/f.vx"]));
    tree.objects.insert(format!("{}/_metadata/manifest-4.avro", folder(1001)), later);
    let mut expected = with_data(&["a"], 1001);
    let key = "insert_log/100/10/1001/_metadata/manifest-4.avro";
    expected.insert(key.to_owned(), "insert_log/200/20/2001/_metadata/manifest-4.avro".to_owned());
    assert_eq!(tree.open().await.copies(1001).await, expected);
}
