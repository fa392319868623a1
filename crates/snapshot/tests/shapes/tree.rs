//! Small trees in the shapes that Milvus writes. Without more words a tree is what Milvus 3 of summer 2026 leaves in a
//! bucket: format version 5, state Pending, no `s3_location`, one partition, keys that start at the bucket.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::schemas::{MANIFEST, STORAGE_MANIFEST};

pub(crate) const COLLECTION: i64 = 100;
pub(crate) const PARTITION: i64 = 10;
pub(crate) const SNAPSHOT: i64 = 9001;

/// The fields of the collection: row id and timestamp, which Milvus adds, a primary key, and a vector.
const FIELDS: [i64; 4] = [0, 1, 100, 101];
/// The channel that the collection's writes come through.
const CHANNEL: &str = "by-dev-rootcoord-dml_0_100v0";
const TIMESTAMP: i64 = 450_000_000_000_000_000;

/// A tree that is being made.
pub(crate) struct Tree {
    /// The format version.
    pub(crate) version: u8,
    /// What paths to data begin with inside the snapshot's files.
    pub(crate) named: String,
    /// What paths to the snapshot's own files begin with.
    pub(crate) snapshot_named: String,
    /// Where data lies, and where the snapshot's files do.
    pub(crate) lies: String,
    pub(crate) snapshot_lies: String,
    /// Every object of the data by its key.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// The manifests of the segments.
    pub(crate) entries: Vec<Value>,
    /// `storagev2_manifest_list`.
    pub(crate) storage: Vec<Value>,
    /// `build_ids`.
    pub(crate) builds: Vec<i64>,
    /// What is different in the metadata file.
    pub(crate) edit: fn(&mut Value),
    /// The id of the next log.
    pub(crate) next_log: i64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::named("")
    }

    /// A tree whose root is written into every path, and at which it lies.
    pub(crate) fn named(root: &str) -> Self {
        Self {
            version: 5,
            named: root.to_owned(),
            snapshot_named: root.to_owned(),
            lies: root.to_owned(),
            snapshot_lies: root.to_owned(),
            objects: BTreeMap::new(),
            entries: Vec::new(),
            storage: Vec::new(),
            builds: Vec::new(),
            edit: |_| (),
            next_log: 5_001,
        }
    }

    /// Puts an object at its place; the path by which the snapshot names it.
    pub(crate) fn object(&mut self, key: &str) -> String {
        self.objects.insert(key.to_owned(), format!("{key}\n").repeat(3).into_bytes());
        format!("{}{key}", self.named)
    }

    /// A log of a segment with rows in it. Ids of logs count from 5001.
    pub(crate) fn log(&mut self, kind: &str, segment: i64, field: i64, rows: i64) -> Value {
        let id = self.next_log;
        let field = if kind == "delta_log" { String::new() } else { format!("{field}/") };
        self.log_at(&format!("{kind}/{COLLECTION}/{PARTITION}/{segment}/{field}{id}"), rows)
    }

    /// The same at a key of its own.
    pub(crate) fn log_at(&mut self, key: &str, rows: i64) -> Value {
        let path = self.object(key);
        let size = self.objects[key].len();
        let log = self.log_without_object(rows);
        let Value::Object(mut log) = log else { unreachable!("a log is an object") };
        log.insert("log_path".to_owned(), json!(path));
        log.insert("log_size".to_owned(), json!(size));
        Value::Object(log)
    }

    /// A log that names nothing.
    pub(crate) fn log_without_object(&mut self, rows: i64) -> Value {
        self.next_log += 1;
        json!({
            "entries_num": rows, "timestamp_from": 1, "timestamp_to": 2, "log_path": "", "log_size": 0,
            "log_id": self.next_log - 1, "memory_size": 0,
        })
    }

    /// The insert logs of a segment, one for each field.
    pub(crate) fn inserts(&mut self, segment: i64, rows: i64) -> Vec<Value> {
        FIELDS.map(|field| logs(field, vec![self.log("insert_log", segment, field, rows)])).to_vec()
    }

    /// Adds a segment of storage version 0 that has insert logs alone.
    pub(crate) fn segment(&mut self, segment: i64, rows: i64) -> &mut Value {
        let inserts = self.inserts(segment, rows);
        self.entry(segment, rows, 0, inserts)
    }

    /// Adds a segment with logs of every kind and an index.
    pub(crate) fn full_segment(&mut self, segment: i64, rows: i64) -> &mut Value {
        let inserts = self.inserts(segment, rows);
        let deltas = json!([logs(0, vec![self.log("delta_log", segment, 0, 1)])]);
        let stats = json!([logs(100, vec![self.log("stats_log", segment, 100, rows)])]);
        let index = json!([self.index(segment, segment + 6_000)]);
        let entry = self.entry(segment, rows, 0, inserts);
        (entry["deltalog_files"], entry["statslog_files"], entry["index_files"]) = (deltas, stats, index);
        entry
    }

    /// Adds a segment of storage version 3: a folder and its storage manifest, of version 3 too, and no list.
    pub(crate) fn stored(&mut self, segment: i64, rows: i64, deltas: &[&str], large_values: &[&str]) -> &mut Value {
        let manifest = STORAGE_MANIFEST.container(1, &storage_manifest(rows, deltas, large_values));
        self.stored_with(segment, rows, manifest);
        for delta in deltas {
            self.object(&format!("{}/_delta/{delta}", folder(segment)));
        }
        self.last()
    }

    /// The same with a storage manifest of the caller's own.
    pub(crate) fn stored_with(&mut self, segment: i64, rows: i64, manifest: Vec<u8>) -> &mut Value {
        let folder = folder(segment);
        self.objects.insert(format!("{folder}/_metadata/manifest-3.avro"), manifest);
        if rows > 0 {
            self.object(&format!("{folder}/_data/0.parquet"));
        }
        let base_path = format!("{}{folder}", self.named);
        let manifest = json!({"ver": 3, "base_path": base_path}).to_string();
        self.storage.push(json!({"segment_id": segment.to_string(), "manifest": manifest}));
        self.entry(segment, rows, 3, Vec::new())
    }

    /// Adds a manifest.
    pub(crate) fn entry(&mut self, segment: i64, rows: i64, storage_version: i64, inserts: Vec<Value>) -> &mut Value {
        let inserts = Value::Array(inserts);
        let position = json!({"channel_name": CHANNEL, "msg_id": [8, 1], "msg_group": "", "timestamp": TIMESTAMP});
        self.entries.push(json!({
            "segment_id": segment, "partition_id": PARTITION, "segment_level": 2, "channel_name": CHANNEL,
            "num_of_rows": rows, "start_position": position, "dml_position": position,
            "storage_version": storage_version, "is_sorted": true, "commit_timestamp": 0,
            "delete_apply_start_after_timetick": 0, "binlog_files": inserts, "deltalog_files": [],
            "statslog_files": [], "bm25_statslog_files": [], "index_files": [], "text_index_files": [],
            "json_key_index_files": [],
        }));
        self.last()
    }

    /// The manifest that was added last.
    pub(crate) fn last(&mut self) -> &mut Value {
        self.entries.last_mut().expect("a segment was added")
    }

    /// The vector index of a segment, with one file.
    pub(crate) fn index(&mut self, segment: i64, build: i64) -> Value {
        let path = self.object(&format!("index_files/{build}/1/{PARTITION}/{segment}/HNSW"));
        self.builds.push(build);
        index(segment, 101, build, &[&path], "HNSW")
    }

    pub(crate) fn manifest_key(segment: &Value) -> String {
        format!("snapshots/{COLLECTION}/manifests/{SNAPSHOT}/{segment}.avro")
    }

    pub(crate) fn metadata_key() -> String {
        format!("snapshots/{COLLECTION}/metadata/{SNAPSHOT}.json")
    }

    /// What `SaveSnapshot` writes before it commits.
    pub(crate) fn metadata(&self) -> Value {
        let text = |id: i64| id.to_string();
        let ids: Vec<String> = self.entries.iter().map(|entry| entry["segment_id"].to_string()).collect();
        let manifest =
            |id: &String| format!("{}{}", self.snapshot_named, Self::manifest_key(&json!(id.parse::<i64>().unwrap())));
        let mut metadata = json!({
            "format_version": self.version,
            "snapshot_info": {
                "name": "nightly", "id": text(SNAPSHOT), "collection_id": text(COLLECTION),
                "partition_ids": [text(PARTITION)], "create_ts": text(TIMESTAMP), "state": "SnapshotStatePending",
                "pending_start_time": "1790000000000",
                "channel_seek_positions": [{"channel_name": CHANNEL, "msg_id": "CAE=", "timestamp": text(TIMESTAMP)}],
            },
            "collection": {
                "schema": {"name": "source", "fields": [
                    {"fieldID": "100", "name": "id", "is_primary_key": true, "data_type": "Int64"},
                    {"fieldID": "101", "name": "vector", "data_type": "FloatVector"},
                ]},
                "num_partitions": "1", "num_shards": "1", "consistency_level": "Bounded",
                "partitions": {"_default": text(PARTITION)}, "virtual_channel_names": [CHANNEL],
            },
            "manifest_list": ids.iter().map(manifest).collect::<Vec<_>>(),
            "segment_ids": ids,
            "layout": "SnapshotLayoutReferenced",
        });
        if !self.storage.is_empty() {
            metadata["storagev2_manifest_list"] = json!(self.storage);
        }
        if !self.builds.is_empty() {
            metadata["build_ids"] = json!(self.builds.iter().map(i64::to_string).collect::<Vec<_>>());
        }
        (self.edit)(&mut metadata);
        metadata
    }

    /// Every object by the key at which it lies; the metadata file is the last.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let data = self.objects.iter().map(|(key, content)| (format!("{}{key}", self.lies), content.clone()));
        let manifests = self.entries.iter().map(|entry| {
            let key = format!("{}{}", self.snapshot_lies, Self::manifest_key(&entry["segment_id"]));
            (key, MANIFEST.encode(self.version, entry))
        });
        let metadata =
            (format!("{}{}", self.snapshot_lies, Self::metadata_key()), self.metadata().to_string().into_bytes());
        data.chain(manifests).chain([metadata]).collect()
    }
}

/// The folder of a segment.
pub(crate) fn folder(segment: i64) -> String {
    format!("insert_log/{COLLECTION}/{PARTITION}/{segment}")
}

/// The logs of one field.
pub(crate) fn logs(field: i64, logs: Vec<Value>) -> Value {
    group(field, &[], logs)
}

/// The logs of a group of fields, as Milvus writes them since storage version 2.
pub(crate) fn group(field: i64, fields: &[i64], logs: Vec<Value>) -> Value {
    let logs = Value::Array(logs);
    let format = if fields.is_empty() { "" } else { "parquet" };
    json!({"field_id": field, "child_fields": fields, "format": format, "binlogs": logs})
}

/// An entry of an index over vectors or scalars.
pub(crate) fn index(segment: i64, field: i64, build: i64, paths: &[&str], kind: &str) -> Value {
    json!({
        "segment_id": segment, "field_id": field, "index_id": 7, "build_id": build, "index_name": "one",
        "index_params": [{"key": "index_type", "value": kind}], "index_file_paths": paths, "serialized_size": 10,
        "index_version": 1, "num_rows": 100, "current_index_version": 1, "mem_size": 0,
        "current_scalar_index_version": 0, "index_store_path_version": 0,
    })
}

/// An entry of a text index, and with a format of its data of a JSON index.
pub(crate) fn stats_index(field: i64, build: i64, files: &[String], format: Option<i64>) -> Value {
    let mut stats = json!({
        "field_id": field, "version": 1, "files": files, "log_size": 10, "memory_size": 0, "build_id": build,
    });
    if let Some(format) = format {
        stats["json_key_stats_data_format"] = json!(format);
    }
    json!({"field_id": field, "stats": stats})
}

/// What a storage manifest says of a segment with one file of rows.
pub(crate) fn storage_manifest(rows: i64, deltas: &[&str], large_values: &[&str]) -> Value {
    let file = json!({"path": "0.parquet", "start_index": 0, "end_index": rows, "properties": {}, "metadata": []});
    let delta = |path: &&str| json!({"path": path, "type": 0, "num_entries": 1});
    let large_value =
        |path: &&str| json!({"path": path, "field_id": 102, "total_rows": 1, "valid_rows": 1, "file_size_bytes": 10});
    json!({
        "column_groups": [{"columns": ["100", "101"], "files": if rows > 0 { vec![file] } else { vec![] }, "format": "parquet"}],
        "delta_logs": deltas.iter().map(delta).collect::<Vec<_>>(),
        "stats": {},
        "lob_files": large_values.iter().map(large_value).collect::<Vec<_>>(),
    })
}
