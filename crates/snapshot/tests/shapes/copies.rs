//! The copy is a snapshot again: what a job writes beside the data is held against a reader that shares nothing with the
//! crate, and then restored once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferry_objects::Stores;
use ferry_snapshot::{CopiedSegment, Snapshot, Target};
use object_store::memory::InMemory;
use serde_json::{Value, json};

use crate::collection::{bundled, listed, newest};
use crate::opened::{Opened, mapping, target_at};
use crate::reader::{Objects, Read, read};
use crate::schemas::MANIFEST;

/// A copy as it lies in its target.
struct Copy {
    /// By the names that the copy's snapshot gives them.
    objects: Objects,
    read: Read,
}

/// Plans and writes the copy of these segments, as the tasks of a job and its publication do.
async fn copy(snapshot: &Snapshot, target: &Target, segments: &[i64]) -> Copy {
    let named = |key: &str| match (target.location.bucket(), target.location.root()) {
        (Some(_), root) if !root.is_empty() => format!("{root}/{key}"),
        _ => key.to_owned(),
    };
    let mut objects = Objects::new();
    let mut data = BTreeSet::new();
    let mut copied = Vec::new();
    for segment in segments {
        let plan = snapshot.plan(&mapping(*segment), target).await.unwrap();
        for file in &plan.files {
            let content = snapshot.location().read(&file.source_key, 1 << 20).await.unwrap();
            target.location.write(&file.target_key, content.clone()).await.unwrap();
            data.insert(named(&file.target_key));
            objects.insert(named(&file.target_key), content.to_vec());
        }
        for file in plan.snapshot_files {
            target.location.write(&file.target_key, file.content.clone()).await.unwrap();
            assert!(objects.insert(named(&file.target_key), file.content.to_vec()).is_none(), "{}", file.target_key);
        }
        copied.push(CopiedSegment {
            source_segment_id: *segment,
            target_segment_id: segment + 1_000,
            partition_id: plan.target_partition_id,
        });
    }
    let file = snapshot.metadata_of_copy(target, copied).unwrap();
    assert_eq!(file.target_key, target.metadata_key());
    target.location.write(&file.target_key, file.content.clone()).await.unwrap();
    let key = named(&file.target_key);
    assert!(objects.insert(key.clone(), file.content.to_vec()).is_none());
    let read = read(&objects, &key).unwrap();
    assert_eq!(read.data, data, "the snapshot names what was copied, and nothing else");
    Copy { objects, read }
}

/// Copies all segments, and the copy once more to a third place: contents are equal and ids new.
async fn copied_twice(opened: &Opened, target: &Target) -> Copy {
    let segments: Vec<i64> = opened.snapshot.segment_ids().collect();
    let first = copy(&opened.snapshot, target, &segments).await;
    let uri = target.location.object_uri(&target.metadata_key());
    let again = Snapshot::open(&opened.stores, &uri).await.unwrap();
    let third = Target {
        collection_id: 300,
        partition_ids: BTreeMap::from([(20, 30)]),
        build_id_base: 900,
        snapshot_id: 8,
        ..target_at(opened.stores.open("memory:///third").unwrap())
    };
    let segments: Vec<i64> = again.segment_ids().collect();
    let second = copy(&again, &third, &segments).await;
    assert_eq!(contents(&first), contents(&second));
    assert_eq!(rows(&first), rows(&second));
    assert!(first.read.data.is_disjoint(&second.read.data), "ids are new, as the reader has seen");
    first
}

fn contents(copy: &Copy) -> Vec<&Vec<u8>> {
    let mut contents: Vec<_> = copy.read.data.iter().map(|key| &copy.objects[key]).collect();
    contents.sort();
    contents
}

fn rows(copy: &Copy) -> Vec<(String, String)> {
    let rows = |manifest: &Value| (manifest["num_of_rows"].to_string(), manifest["storage_version"].to_string());
    copy.read.manifests.values().map(rows).collect()
}

#[tokio::test]
async fn the_copy_of_each_format_version_is_a_snapshot_of_that_version() {
    for version in 1..=5 {
        let opened = listed(version).open().await;
        let copy = copied_twice(&opened, &opened.target()).await;
        assert_eq!(copy.read.metadata["format_version"], version);
        assert_eq!(copy.read.metadata["segment_ids"], json!(["2001", "2002", "2003", "2004", "2005"]));
        assert_eq!(copy.read.metadata["build_ids"], json!(["500", "501", "502", "503", "504"]));
        let path = &copy.read.manifests[&2003]["deltalog_files"][0]["binlogs"][0]["log_path"];
        assert_eq!(path, "delta_log/200/20/2003/5901");
        let level_zero = &copy.read.manifests[&2004];
        assert_eq!((&level_zero["partition_id"], &level_zero["segment_level"]), (&json!(-1), &json!(1)));
        let builds: BTreeSet<String> = ["text_index_files", "json_key_index_files"]
            .iter()
            .flat_map(|list| copy.read.manifests[&2005][list].as_array().unwrap().clone())
            .map(|index| index["stats"]["build_id"].to_string())
            .collect();
        assert_eq!(builds, BTreeSet::from(["503".to_owned(), "504".to_owned()]));
    }
}

#[tokio::test]
async fn a_manifest_of_a_copy_differs_from_its_source_in_ids_and_paths_alone() {
    let tree = newest();
    let opened = tree.open().await;
    let copy = copied_twice(&opened, &opened.target()).await;
    for source in &tree.entries {
        let id = source["segment_id"].as_i64().unwrap();
        let (source, copied) = (blank(source.clone()), blank(copy.read.manifests[&(id + 1_000)].clone()));
        assert_eq!(copied, source, "{id}");
    }
}

/// A manifest without ids and paths.
fn blank(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let changed = ["segment_id", "partition_id", "build_id", "log_path", "index_file_paths", "files"];
            Value::Object(
                fields
                    .into_iter()
                    .filter(|(name, _)| !changed.contains(&name.as_str()))
                    .map(|(name, value)| (name, blank(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(blank).collect()),
        other => other,
    }
}

#[tokio::test]
async fn folders_of_storage_version_3_are_named_by_their_new_place() {
    let opened = newest().open().await;
    let copy = copied_twice(&opened, &opened.target()).await;
    let storage = copy.read.metadata["storagev2_manifest_list"].as_array().unwrap();
    let entry = |at: usize| serde_json::from_str::<Value>(storage[at]["manifest"].as_str().unwrap()).unwrap();
    assert_eq!((storage.len(), &storage[0]["segment_id"]), (2, &json!("2007")));
    assert_eq!(entry(0), json!({"ver": 3, "base_path": "insert_log/200/20/2007"}));
    assert_eq!(entry(1), json!({"ver": 3, "base_path": "insert_log/200/20/2008"}));
    let manifest = &copy.read.manifests[&2007];
    let files = [
        "insert_log/200/20/2007/_stats/text_index.102/meta.json_0",
        "2007/_stats/text_index.103/meta.json_0",
        "index.data",
    ];
    assert_eq!(manifest["text_index_files"][0]["stats"]["files"], json!(files));
    assert_eq!(manifest["deltalog_files"][0]["binlogs"][0]["log_path"], "delta_log/200/20/2007/99");
    assert_eq!(manifest["index_files"][0]["index_file_paths"][0], "insert_log/200/20/2007/_index/7007/1/HNSW");
    let values: Vec<_> = copy.read.data.iter().filter(|key| key.contains("lobs")).collect();
    assert_eq!(values, ["insert_log/200/20/lobs/105/_data/a.vx", "insert_log/200/20/lobs/105/_data/b.vx"]);
}

#[tokio::test]
async fn a_copy_that_is_a_bundle_has_its_data_in_its_folder() {
    let opened = newest().open().await;
    let target = Target { is_bundle: true, ..opened.target() };
    let copy = copied_twice(&opened, &target).await;
    assert_eq!(copy.read.metadata["layout"], "SnapshotLayoutSelfContained");
    assert!(copy.read.data.iter().all(|key| key.starts_with("files/")), "{:?}", copy.read.data);
    assert!(copy.read.data.contains("files/insert_log/200/20/2001/0/5001"));
    let summary = &copy.read.manifests[&2007]["deltalog_files"][0]["binlogs"][0]["log_path"];
    assert_eq!(summary, "files/delta_log/200/20/2007/99");
}

#[tokio::test]
async fn the_copy_of_a_bundle_is_one_only_if_that_is_asked() {
    for is_bundle in [false, true] {
        let mut tree = bundled(newest());
        (tree.lies, tree.snapshot_lies) = ("here/files/".to_owned(), "here/".to_owned());
        let opened = tree.open().await;
        let target = Target { is_bundle, ..opened.target() };
        let copy = copied_twice(&opened, &target).await;
        let key = if is_bundle { "files/insert_log/200/20/2001/0/5001" } else { "insert_log/200/20/2001/0/5001" };
        assert!(copy.read.data.contains(key), "{:?}", copy.read.data);
    }
}

#[tokio::test]
async fn in_a_bucket_the_paths_of_a_copy_start_at_the_bucket() {
    for (root, is_bundle) in [("", false), ("", true), ("restored/x", false), ("restored/x", true)] {
        let tree = newest();
        let stores = Stores::new().with("s3://bucket", Arc::new(InMemory::new())).unwrap();
        let snapshot = tree.open_in(&stores, "memory:///").await.unwrap();
        let location = stores.open(&format!("s3://bucket/{root}")).unwrap();
        let opened = Opened::of(stores, snapshot);
        let copy = copied_twice(&opened, &Target { is_bundle, ..target_at(location) }).await;
        let prefix = if root.is_empty() { String::new() } else { format!("{root}/") };
        let place = format!("{prefix}snapshots/200/metadata/9.json");
        assert_eq!(copy.read.metadata["snapshot_info"]["s3_location"], place.as_str());
        assert!(copy.read.data.iter().all(|key| key.starts_with(&prefix)), "{:?}", copy.read.data);
    }
}

#[tokio::test]
async fn a_part_of_the_segments_makes_a_snapshot_of_that_part() {
    let opened = newest().open().await;
    let copy = copy(&opened.snapshot, &opened.target(), &[1008, 1001]).await;
    assert_eq!(copy.read.metadata["segment_ids"], json!(["2001", "2008"]));
    assert_eq!(copy.read.metadata["storagev2_manifest_list"].as_array().unwrap().len(), 1);
    assert!(!copy.read.data.contains("insert_log/200/20/lobs/105/_data/a.vx"));
}

#[tokio::test]
async fn a_copy_without_some_indexes_is_a_snapshot_without_them() {
    let opened = newest().open().await;
    for choice in ["none", "vector", "text,json"] {
        let target = Target { indexes: choice.parse().unwrap(), ..opened.target() };
        let copy = copied_twice(&opened, &target).await;
        assert_eq!(copy.read.data.iter().any(|key| key.starts_with("index_files")), choice == "vector", "{choice}");
        assert_eq!(copy.read.data.iter().any(|key| key.starts_with("text_log")), choice == "text,json", "{choice}");
    }
}

#[tokio::test]
async fn builds_that_keep_their_ids_are_named_by_them() {
    let opened = listed(5).open().await;
    let target = Target { build_id_base: 0, ..opened.target() };
    let copy = copy(&opened.snapshot, &target, &[1001, 1005]).await;
    assert_eq!(copy.read.metadata["build_ids"], json!(["7001", "7002", "7003", "8801", "8802"]));
    assert!(copy.read.data.contains("index_files/7001/1/20/2001/HNSW"));
}

#[tokio::test]
async fn what_the_source_says_beside_ids_and_places_is_kept() {
    let mut tree = listed(4);
    tree.edit = |metadata| {
        metadata["indexes"] = json!([{"indexID": "7", "index_params": [{"key": "index_type", "value": "HNSW"}]}]);
        metadata["snapshot_info"]["compaction_protection_seconds"] = json!("60");
        metadata["collection"]["properties"] = json!([{"key": "mmap.enabled", "value": "true"}]);
        metadata["collection"]["partitions"] = json!({"_default": "10", "other": "11"});
    };
    let source = tree.metadata();
    let opened = tree.open().await;
    let copy = copied_twice(&opened, &opened.target()).await;
    let metadata = &copy.read.metadata;
    assert_eq!(metadata["indexes"], source["indexes"]);
    for name in ["schema", "properties", "num_shards", "consistency_level", "virtual_channel_names"] {
        assert_eq!(metadata["collection"][name], source["collection"][name], "{name}");
    }
    for name in ["name", "create_ts", "compaction_protection_seconds", "channel_seek_positions"] {
        assert_eq!(metadata["snapshot_info"][name], source["snapshot_info"][name], "{name}");
    }
    assert_eq!(metadata["collection"]["partitions"], json!({"_default": "20", "other": "11"}));
    assert_eq!(metadata["snapshot_info"]["partition_ids"], json!(["11", "20"]));
}

#[tokio::test]
async fn the_independent_reader_sees_what_is_wrong() {
    let opened = newest().open().await;
    let copy = copied_twice(&opened, &opened.target()).await;
    let key = "snapshots/200/metadata/9.json";
    let manifest_key = "snapshots/200/manifests/9/2001.avro";
    for gone in [
        "insert_log/200/20/2001/0/5001",
        "index_files/500/1/20/2001/HNSW",
        "insert_log/200/20/lobs/105/_data/a.vx",
        "insert_log/200/20/2007/_metadata/manifest-3.avro",
        "insert_log/200/20/2007/_data/0.parquet",
        manifest_key,
        key,
    ] {
        let mut objects = copy.objects.clone();
        objects.remove(gone).unwrap();
        assert!(read(&objects, key).is_err(), "{gone} is gone");
    }
    let edits: [fn(&mut Value); 6] = [
        |metadata| metadata["format_version"] = json!(4),
        |metadata| metadata["segment_ids"] = json!(["2001"]),
        |metadata| metadata["build_ids"] = json!(["7001"]),
        |metadata| metadata["snapshot_info"]["id"] = json!("10"),
        |metadata| metadata["snapshot_info"]["state"] = json!("SnapshotStatePending"),
        |metadata| metadata["layout"] = json!("SnapshotLayoutSelfContained"),
    ];
    for (at, edit) in edits.iter().enumerate() {
        let mut objects = copy.objects.clone();
        let mut metadata = copy.read.metadata.clone();
        edit(&mut metadata);
        objects.insert(key.to_owned(), metadata.to_string().into_bytes());
        assert!(read(&objects, key).is_err(), "edit {at}");
    }
    let mut manifest = copy.read.manifests[&2001].clone();
    manifest["binlog_files"][0]["binlogs"][0]["entries_num"] = json!(99);
    let mut objects = copy.objects;
    objects.insert(manifest_key.to_owned(), MANIFEST.encode(5, &manifest));
    assert!(read(&objects, key).is_err(), "rows differ");
}
