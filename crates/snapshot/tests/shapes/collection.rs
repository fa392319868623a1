//! A collection with everything in it that a snapshot can have at once.

use serde_json::{Value, json};

use crate::tree::{Tree, folder, group, index, logs, stats_index};

/// The root that the bundle was written at.
const BUNDLE_ROOT: &str = "backup/exports/u1/";
/// What the paths of its data begin with.
const DATA: [&str; 7] =
    ["insert_log/", "delta_log/", "stats_log/", "index_files/", "index_v1/", "text_log/", "json_stats/"];

/// Segments of every kind there is below storage version 3, in the first format versions without groups.
pub(crate) fn listed(version: u8) -> Tree {
    let mut tree = Tree::new();
    tree.version = version;
    tree.full_segment(1001, 100);
    let theirs = tree.log_at("delta_log/100/10/1777/5901", 1);
    for segment in [1002, 1003] {
        tree.full_segment(segment, 70)["deltalog_files"] = json!([logs(0, vec![theirs.clone()])]);
    }
    // Each lists the deletions of a segment that both were made of, so its own are gone.
    tree.objects
        .retain(|key, _| !["delta_log/100/10/1002/", "delta_log/100/10/1003/"].iter().any(|own| key.starts_with(own)));
    let all = tree.log_at("delta_log/100/-1/1004/5888", 3);
    let level_zero = tree.entry(1004, 0, 0, Vec::new());
    level_zero["deltalog_files"] = json!([logs(0, vec![all])]);
    (level_zero["segment_level"], level_zero["partition_id"]) = (json!(1), json!(-1));
    let texts: Vec<String> =
        [102, 103].map(|field| tree.object(&format!("text_log/8801/1/100/10/1005/{field}/meta.json_0"))).to_vec();
    let json_key = tree.object("json_stats/2/8802/1/100/10/1005/104/shared_key_index/x_0");
    tree.builds.extend([8801, 8801, 8802]);
    let text_index = |at: usize| stats_index(102 + i64::try_from(at).unwrap(), 8801, &texts[at..=at], None);
    let entry = tree.segment(1005, 30);
    entry["text_index_files"] = json!([text_index(0), text_index(1)]);
    entry["json_key_index_files"] = json!([stats_index(104, 8802, &[json_key], Some(2))]);
    tree
}

/// The same with column groups, and folders with indexes in three places and summaries of every kind.
pub(crate) fn newest() -> Tree {
    let mut tree = listed(5);
    let vector = tree.log("insert_log", 1006, 101, 40);
    let others = tree.log("insert_log", 1006, 0, 40);
    tree.entry(1006, 40, 2, vec![group(0, &[0, 1, 100], vec![others]), group(101, &[101], vec![vector])]);
    for name in ["a", "b", "c"] {
        tree.object(&format!("insert_log/100/10/lobs/105/_data/{name}.vx"));
    }
    tree.stored(1007, 50, &["77"], &["105/_data/a.vx", "105/_data/b.vx"]);
    let text = tree.object(&format!("{}/_stats/text_index.102/meta.json_0", folder(1007)));
    let below = tree.object(&format!("{}/_index/7007/1/HNSW", folder(1007)));
    let beside = tree.object("index_v1/100/10/1007/7008/1/HNSW");
    tree.builds.extend([7007, 7008]);
    let never = tree.log_without_object(50);
    let named = tree.named.clone();
    let entry = tree.last();
    let files = [text, "1007/_stats/text_index.103/meta.json_0".to_owned(), "index.data".to_owned()];
    entry["text_index_files"] = json!([stats_index(102, 8801, &files, None)]);
    entry["index_files"] =
        json!([index(1007, 101, 7007, &[&below], "HNSW"), index(1007, 101, 7008, &[&beside], "HNSW")]);
    entry["binlog_files"] = json!([group(0, &[100, 101], vec![never.clone()])]);
    let mut rebuilt = never;
    rebuilt["log_path"] = json!(format!("{named}delta_log/100/10/1007/99"));
    entry["deltalog_files"] = json!([logs(0, vec![rebuilt])]);
    tree.stored(1008, 60, &[], &["105/_data/b.vx"]);
    tree
}

/// The tree as the data of a self-contained bundle; it lies where it was written.
pub(crate) fn bundled(mut tree: Tree) -> Tree {
    tree.entries.iter_mut().for_each(rebase);
    for entry in &mut tree.storage {
        let mut manifest: Value = serde_json::from_str(entry["manifest"].as_str().unwrap()).unwrap();
        rebase(&mut manifest);
        entry["manifest"] = json!(manifest.to_string());
    }
    tree.snapshot_named = BUNDLE_ROOT.to_owned();
    tree.snapshot_lies = BUNDLE_ROOT.to_owned();
    tree.lies = format!("{BUNDLE_ROOT}files/");
    tree.edit = |metadata| metadata["layout"] = json!("SnapshotLayoutSelfContained");
    tree
}

/// Puts the bundle's folder before every path of data.
fn rebase(value: &mut Value) {
    match value {
        Value::String(text) if DATA.iter().any(|start| text.starts_with(start)) => {
            *text = format!("{BUNDLE_ROOT}files/{text}");
        }
        Value::Array(items) => items.iter_mut().for_each(rebase),
        Value::Object(fields) => fields.values_mut().for_each(rebase),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
