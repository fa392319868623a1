//! A reader of snapshots that shares nothing with the crate: the rules of Milvus' format and layout, once more, over the
//! objects of a bucket by key. It says what is wrong, and gives what the snapshot names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::avro::in_container;
use crate::schemas::{MANIFEST, STORAGE_MANIFEST};

pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// A snapshot that follows every rule.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) metadata: Value,
    /// By segment.
    pub(crate) manifests: BTreeMap<i64, Value>,
    /// Every object that belongs to a segment.
    pub(crate) data: BTreeSet<String>,
}

/// A keyword with the offsets of collection, partition, segment and build after it.
type Place = (&'static str, Option<usize>, usize, usize, Option<usize>);

const PLACES: [Place; 9] = [
    ("insert_log", Some(1), 2, 3, None),
    ("delta_log", Some(1), 2, 3, None),
    ("stats_log", Some(1), 2, 3, None),
    ("bm25_stats", Some(1), 2, 3, None),
    ("index_files", None, 3, 4, Some(1)),
    ("index_v1", Some(1), 2, 3, Some(4)),
    ("text_log", Some(3), 4, 5, Some(1)),
    ("json_key_index_log", Some(3), 4, 5, Some(1)),
    ("json_stats", Some(4), 5, 6, Some(2)),
];

/// Reads the snapshot whose metadata file lies at the key.
pub(crate) fn read(objects: &Objects, metadata_key: &str) -> Result<Read, String> {
    let content = objects.get(metadata_key).ok_or("there is no metadata file")?;
    let metadata: Value = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    let (root, tail) = split_root(metadata_key).ok_or("the metadata file lies elsewhere")?;
    let info = metadata.get("snapshot_info").ok_or("no snapshot_info")?;
    metadata.get("collection").ok_or("no collection")?;
    let (id, collection) = (number(info, "id")?, number(info, "collection_id")?);
    want("the metadata's place", tail, format!("snapshots/{collection}/metadata/{id}.json"))?;
    want("s3_location", info["s3_location"].as_str(), Some(metadata_key))?;
    if info["state"] != "SnapshotStateCommitted" || info.get("pending_start_time").is_some() {
        return Err(format!("it is not committed: {info}"));
    }
    let is_bundle = match metadata.get("layout").and_then(Value::as_str) {
        None | Some("SnapshotLayoutReferenced") => false,
        Some("SnapshotLayoutSelfContained") => true,
        Some(other) => return Err(format!("the layout {other}")),
    };
    let version = metadata.get("format_version").map_or(Some(1), Value::as_u64).and_then(|it| u8::try_from(it).ok());
    let version = version.filter(|version| (1..=5).contains(version)).ok_or("no known format_version")?;
    let mut read = Read { manifests: BTreeMap::new(), data: BTreeSet::new(), metadata: metadata.clone() };
    let manifests = format!("{root}snapshots/{collection}/manifests/{id}");
    for path in texts(&metadata, "manifest_list")? {
        let segment = path.strip_prefix(&format!("{manifests}/")).and_then(|file| file.strip_suffix(".avro"));
        let segment: i64 = segment.and_then(|id| id.parse().ok()).ok_or(format!("the manifest {path}"))?;
        let content = objects.get(path).ok_or(format!("{path} is not there"))?;
        let manifest = MANIFEST.decode(version, content).map_err(|error| format!("{path}: {error}"))?;
        want("the segment in a manifest", manifest["segment_id"].as_i64(), Some(segment))?;
        if read.manifests.insert(segment, manifest).is_some() {
            return Err(format!("segment {segment} twice"));
        }
    }
    let listed = numbers(&metadata, "segment_ids")?;
    want("segment_ids", listed, read.manifests.keys().copied().collect::<Vec<_>>())?;
    let builds = numbers(&metadata, "build_ids")?;
    let segments = Segments { objects, root, is_bundle, collection, builds, metadata: &metadata };
    for manifest in read.manifests.values() {
        segments.check(manifest, &mut read.data).map_err(|error| format!("{}: {error}", manifest["segment_id"]))?;
    }
    Ok(read)
}

struct Segments<'a> {
    objects: &'a Objects,
    root: &'a str,
    is_bundle: bool,
    collection: i64,
    builds: Vec<i64>,
    metadata: &'a Value,
}

impl Segments<'_> {
    fn check(&self, manifest: &Value, data: &mut BTreeSet<String>) -> Result<(), String> {
        let is_stored = manifest["storage_version"].as_i64() >= Some(3);
        let lists = [
            ("binlog_files", "insert_log"),
            ("deltalog_files", "delta_log"),
            ("statslog_files", "stats_log"),
            ("bm25_statslog_files", "bm25_stats"),
        ];
        for (list, keyword) in lists {
            for log in items(manifest, list).flat_map(|field| items(field, "binlogs")) {
                let path = log["log_path"].as_str().unwrap();
                let is_placeholder = path.is_empty() && log["entries_num"] == 0;
                if !(is_stored || is_placeholder) {
                    self.take(manifest, path, &[keyword], None, data)?;
                }
                self.check_summary(manifest, path)?;
            }
        }
        for index in items(manifest, "index_files") {
            want("the segment of an index", &index["segment_id"], &manifest["segment_id"])?;
            for path in texts(index, "index_file_paths")? {
                let keywords = ["index_files", "index_v1", "insert_log"];
                self.take(
                    manifest,
                    path,
                    &keywords[..if is_stored { 3 } else { 2 }],
                    index["build_id"].as_i64(),
                    data,
                )?;
            }
        }
        let texts_of = items(manifest, "text_index_files").map(|index| (index, &["text_log"][..]));
        let keys = ["json_stats", "json_key_index_log"];
        let jsons_of = items(manifest, "json_key_index_files").map(|index| (index, &keys[..]));
        for (index, keywords) in texts_of.chain(jsons_of) {
            for path in texts(&index["stats"], "files")? {
                if !is_stored {
                    self.take(manifest, path, keywords, index["stats"]["build_id"].as_i64(), data)?;
                }
                self.check_summary(manifest, path)?;
            }
        }
        if is_stored { self.check_folder(manifest, data) } else { check_rows(manifest) }
    }

    /// A file that must be there, under the ids of its segment.
    fn take(
        &self,
        manifest: &Value,
        path: &str,
        keywords: &[&str],
        build: Option<i64>,
        data: &mut BTreeSet<String>,
    ) -> Result<(), String> {
        let key = self.inside(path)?;
        let parts: Vec<&str> = key.split('/').collect();
        if !keywords.contains(&parts[0]) {
            return Err(format!("{path} is none of {keywords:?}"));
        }
        self.check_ids(manifest, &parts, path)?;
        let offset = PLACES.iter().find(|place| place.0 == parts[0]).and_then(|place| place.4);
        if let (Some(offset), Some(build)) = (offset, build) {
            want("the build in a path", parts[offset], build.to_string())?;
            if !self.builds.is_empty() && !self.builds.contains(&build) {
                return Err(format!("build_ids lack {build}"));
            }
        }
        if !self.objects.contains_key(path) {
            return Err(format!("{path} is not there"));
        }
        data.insert(path.to_owned());
        Ok(())
    }

    /// What is only a summary names no other ids either.
    fn check_summary(&self, manifest: &Value, path: &str) -> Result<(), String> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.iter().position(|part| PLACES.iter().any(|place| place.0 == *part)) {
            Some(at) => {
                self.inside(path)?;
                self.check_ids(manifest, &parts[at..], path)
            }
            None => Ok(()),
        }
    }

    fn check_ids(&self, manifest: &Value, parts: &[&str], path: &str) -> Result<(), String> {
        let place = PLACES.iter().find(|place| place.0 == parts[0]).ok_or(format!("{path} is nowhere"))?;
        let (_, collection, partition, segment, _) = *place;
        let wanted = [
            (collection, self.collection.to_string()),
            (Some(partition), manifest["partition_id"].to_string()),
            (Some(segment), manifest["segment_id"].to_string()),
        ];
        for (offset, id) in wanted {
            if offset.is_some_and(|offset| parts.get(offset) != Some(&id.as_str())) {
                return Err(format!("{path} is not of {id}"));
            }
        }
        Ok(())
    }

    /// The key from the keyword on, of a path that lies where the snapshot's data has to.
    fn inside<'p>(&self, path: &'p str) -> Result<&'p str, String> {
        let folder = if self.is_bundle { format!("{}files/", self.root) } else { self.root.to_owned() };
        let key = path.strip_prefix(&folder).ok_or(format!("{path} is outside of {folder}"))?;
        let plain = !key.split('/').any(|part| ["", ".", ".."].contains(&part)) && !key.contains(['@', '?', ':']);
        plain.then_some(key).ok_or(format!("{path} is not plain"))
    }

    /// What lies below the base path is the segment, with the large values that its storage manifest names.
    fn check_folder(&self, manifest: &Value, data: &mut BTreeSet<String>) -> Result<(), String> {
        let entries = items(self.metadata, "storagev2_manifest_list");
        let mut own = entries.filter(|entry| entry["segment_id"] == Value::String(manifest["segment_id"].to_string()));
        let entry = own.next().ok_or("it has no storage manifest")?;
        if own.next().is_some() {
            return Err("it has two storage manifests".to_owned());
        }
        let entry: Value =
            serde_json::from_str(entry["manifest"].as_str().unwrap()).map_err(|error| error.to_string())?;
        let base = entry["base_path"].as_str().ok_or("no base_path")?;
        let parts: Vec<&str> = self.inside(base)?.split('/').collect();
        want("the base path's parts", parts.len(), 4)?;
        self.check_ids(manifest, &parts, base)?;
        let below = format!("{base}/");
        data.extend(self.objects.keys().filter(|key| key.starts_with(&below)).cloned());
        let key = format!("{base}/_metadata/manifest-{}.avro", entry["ver"]);
        let content = self.objects.get(&key).ok_or(format!("{key} is not there"))?;
        let contents = STORAGE_MANIFEST.decode(1, in_container(content)?)?;
        let partition = base.rsplit_once('/').unwrap().0;
        let named = items(&contents, "column_groups").flat_map(|group| items(group, "files"));
        let named = named.map(|file| format!("{base}/_data/{}", file["path"].as_str().unwrap()));
        let values =
            items(&contents, "lob_files").map(|file| format!("{partition}/lobs/{}", file["path"].as_str().unwrap()));
        for key in named.chain(values) {
            if !self.objects.contains_key(&key) {
                return Err(format!("{key} is not there"));
            }
            data.insert(key);
        }
        Ok(())
    }
}

/// Each field has all rows; no field of the trees that are held against this was added later.
fn check_rows(manifest: &Value) -> Result<(), String> {
    for field in items(manifest, "binlog_files") {
        let rows: i64 = items(field, "binlogs").map(|log| log["entries_num"].as_i64().unwrap()).sum();
        want("rows of a field", Some(rows), manifest["num_of_rows"].as_i64())?;
    }
    Ok(())
}

/// What stands before `snapshots/`, and the rest.
fn split_root(key: &str) -> Option<(&str, &str)> {
    key.find("snapshots/").map(|at| key.split_at(at))
}

fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'a>(value: &'a Value, list: &str) -> Result<Vec<&'a str>, String> {
    items(value, list).map(|item| item.as_str().ok_or(format!("{list} has {item}"))).collect()
}

/// Milvus writes an int64 as a string.
fn number(value: &Value, name: &str) -> Result<i64, String> {
    value[name].as_str().and_then(|text| text.parse().ok()).ok_or(format!("{name} is {}", value[name]))
}

fn numbers(value: &Value, list: &str) -> Result<Vec<i64>, String> {
    let texts = texts(value, list)?;
    texts.into_iter().map(|text| text.parse().map_err(|_| format!("{list} has {text}"))).collect()
}

fn want<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, found: A, wanted: B) -> Result<(), String> {
    match (found, wanted) {
        (found, wanted) if found == wanted => Ok(()),
        (found, wanted) => Err(format!("{what}: {found:?} where {wanted:?} is due")),
    }
}
