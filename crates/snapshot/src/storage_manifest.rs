//! The storage manifest of a segment of storage version 3: which entry of the metadata names it, and what of it a copy
//! needs to know. The segment is what lies in its folder; the manifest adds the large values, which lie beside it.
//!
//! The file is `{base_path}/_metadata/manifest-{version}.avro`: an Avro object container since March 2026, before that a
//! raw datum behind a magic number (milvus-storage, `cpp/src/manifest.cpp`). Each kind of file has a folder that its paths
//! are relative to (`cpp/include/milvus-storage/common/layout.h`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::Name;
use apache_avro::{Reader, Schema, from_value};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// The largest storage manifest that is read; Milvus keeps a thousand of them in memory.
pub(crate) const STORAGE_MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// The first version of segments that have a storage manifest.
pub(crate) const STORAGE_VERSION_MANIFEST: i64 = 3;

/// Records within records that a storage manifest's schema may have; Milvus' has three.
const SCHEMA_DEPTH_MAX: usize = 16;
/// What begins an Avro object container.
const CONTAINER_MAGIC: &[u8] = b"Obj\x01";
/// The number that begins the raw form, "MILV" read as a big-endian number and written as Avro writes an int.
const RAW_MAGIC: i32 = 0x4D49_4C56;
/// Versions of the raw form.
const RAW_VERSIONS: std::ops::RangeInclusive<i32> = 1..=6;
/// The version since which the raw form has statistics with metadata, large values, and indexes.
const RAW_STATISTICS: i32 = 3;
const RAW_LARGE_VALUES: i32 = 5;
const RAW_INDEXES: i32 = 6;

/// Where a segment's storage manifest lies, as the metadata says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its version; 0: the segment is growing, and nothing of it was written yet.
    pub(crate) version: u64,
    /// The segment's folder.
    pub(crate) base_path: String,
}

#[derive(Deserialize)]
struct PackedEntry {
    ver: u64,
    base_path: String,
}

impl Entry {
    /// Reads the entry's text: JSON, or the plain path of the manifest itself.
    pub(crate) fn parse(text: &str) -> Option<Entry> {
        if let Ok(PackedEntry { ver, base_path }) = serde_json::from_str(text) {
            return Some(Entry { version: ver, base_path });
        }
        let (base_path, file) = text.split_once("/_metadata/")?;
        let version = file.strip_prefix("manifest-")?.strip_suffix(".avro")?.parse().ok()?;
        Some(Entry { version, base_path: base_path.to_owned() })
    }

    /// The entry's text with another folder.
    pub(crate) fn text(&self) -> String {
        json!({ "ver": self.version, "base_path": self.base_path }).to_string()
    }
}

/// The key of the manifest below its segment's folder.
pub(crate) fn key_of(version: u64) -> String {
    format!("_metadata/manifest-{version}.avro")
}

/// What a copy needs of a storage manifest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Contents {
    #[serde(default)]
    column_groups: Vec<ColumnGroup>,
    #[serde(default)]
    delta_logs: Vec<DeltaLog>,
    #[serde(default)]
    lob_files: Vec<LargeValues>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct ColumnGroup {
    files: Vec<ColumnGroupFile>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct ColumnGroupFile {
    path: String,
    #[serde(default)]
    start_index: i64,
    #[serde(default)]
    end_index: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct DeltaLog {
    path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct LargeValues {
    path: String,
}

/// Why a file is no storage manifest that we understand.
#[derive(Debug, Error)]
pub enum StorageManifestError {
    /// Neither form.
    #[error("it is neither an Avro object container nor the raw form that milvus-storage wrote before March 2026")]
    Unknown,
    /// A version of the raw form that no milvus-storage wrote.
    #[error("its raw form has version {0}, which no milvus-storage wrote before it changed to Avro object containers")]
    RawVersion(i32),
    /// A schema without an end, which no writer of storage manifests needs, and which could be followed for ever.
    #[error("the schema inside it refers to itself, or is nested too deep")]
    Recursive,
    /// Cut off, damaged, or without what every version has.
    #[error("it cannot be read: {0}")]
    Avro(String),
}

impl Contents {
    /// Reads either form.
    pub(crate) fn read(content: &[u8]) -> Result<Contents, StorageManifestError> {
        let failed = |error: apache_avro::Error| StorageManifestError::Avro(error.to_string());
        if !content.starts_with(CONTAINER_MAGIC) {
            return read_raw(content);
        }
        let mut records = Reader::new(content).map_err(failed)?;
        if !is_finite(records.writer_schema(), &mut Vec::new()) {
            return Err(StorageManifestError::Recursive);
        }
        let record = records.next().ok_or_else(|| StorageManifestError::Avro("it holds no record".to_owned()))?;
        from_value(&record.map_err(failed)?).map_err(failed)
    }

    /// Paths of the large values, relative to the partition's `lobs` folder.
    pub(crate) fn large_values(&self) -> impl Iterator<Item = &str> {
        self.lob_files.iter().map(|file| file.path.as_str())
    }

    /// Keys below the segment's folder of all files that hold its rows and deletions. Only those of an external table are
    /// named by whole paths, which are no keys there.
    pub(crate) fn rows_and_deletions(&self) -> impl Iterator<Item = String> + '_ {
        let with_rows = |file: &&ColumnGroupFile| file.end_index > file.start_index;
        let data = self.column_groups.iter().flat_map(|group| &group.files).filter(with_rows);
        let data = data.map(|file| ("_data", file.path.as_str()));
        let deltas = self.delta_logs.iter().map(|log| ("_delta", log.path.as_str()));
        data.chain(deltas).map(|(folder, path)| format!("{folder}/{path}"))
    }

    /// Whether any file with rows is named.
    pub(crate) fn has_rows(&self) -> bool {
        self.column_groups.iter().flat_map(|group| &group.files).any(|file| file.end_index > file.start_index)
    }
}

/// Whether a schema ends, so that its data can be decoded in bounded depth. `within` has the records around it.
fn is_finite<'a>(schema: &'a Schema, within: &mut Vec<&'a Name>) -> bool {
    if within.len() > SCHEMA_DEPTH_MAX {
        return false;
    }
    match schema {
        Schema::Record(record) => {
            within.push(&record.name);
            let finite = record.fields.iter().all(|field| is_finite(&field.schema, within));
            within.pop();
            finite
        }
        Schema::Array(array) => is_finite(&array.items, within),
        Schema::Map(map) => is_finite(&map.types, within),
        Schema::Union(union) => union.variants().iter().all(|variant| is_finite(variant, within)),
        Schema::Ref { name } => !within.contains(&name),
        _ => true,
    }
}

fn read_raw(content: &[u8]) -> Result<Contents, StorageManifestError> {
    #[derive(Deserialize)]
    struct Head {
        magic: i32,
        version: i32,
    }
    let mut rest = content;
    let head = GenericDatumReader::builder(&RAW_HEAD).build().and_then(|reader| reader.read_deser::<Head>(&mut rest));
    let version = match head {
        Ok(Head { magic: RAW_MAGIC, version }) => version,
        Ok(Head { .. }) | Err(_) => return Err(StorageManifestError::Unknown),
    };
    let schema = RAW_BODIES.get(&version).ok_or(StorageManifestError::RawVersion(version))?;
    // What stands behind the large values, or in their place in older versions, is no concern of a copy.
    GenericDatumReader::builder(schema)
        .build()
        .and_then(|reader| reader.read_value(&mut rest))
        .and_then(|value| from_value(&value))
        .map_err(|error| StorageManifestError::Avro(error.to_string()))
}

static RAW_HEAD: LazyLock<Schema> =
    LazyLock::new(|| schema(&record("Head", &[("magic", json!("int")), ("version", json!("int"))])));
static RAW_BODIES: LazyLock<BTreeMap<i32, Schema>> =
    LazyLock::new(|| RAW_VERSIONS.map(|version| (version, schema(&raw_body(version)))).collect());

/// The raw form behind its head, in the order in which its fields were written.
fn raw_body(version: i32) -> Value {
    let (long, text) = (json!("long"), json!("string"));
    let texts = array(&text);
    let text_map = map(&text);
    let file = record(
        "File",
        &[
            ("path", text.clone()),
            ("start_index", long.clone()),
            ("end_index", long.clone()),
            ("metadata", json!("bytes")),
        ],
    );
    let group = record("Group", &[("columns", texts.clone()), ("files", array(&file)), ("format", text.clone())]);
    let delta = record("Delta", &[("path", text.clone()), ("type", json!("int")), ("num_entries", long.clone())]);
    let statistics = match version >= RAW_STATISTICS {
        true => record("Statistics", &[("paths", texts.clone()), ("metadata", text_map.clone())]),
        false => texts.clone(),
    };
    let mut fields = vec![("column_groups", array(&group)), ("delta_logs", array(&delta)), ("stats", map(&statistics))];
    if version >= RAW_INDEXES {
        let texts_of = ["column_name", "index_name", "index_type", "path"].map(|name| (name, text.clone()));
        let longs_of = ["field_id", "index_id", "build_id", "index_version", "num_rows", "serialized_size", "mem_size"]
            .map(|name| (name, long.clone()));
        let ints_of = ["current_index_version", "current_scalar_index_version", "index_store_path_version"]
            .map(|name| (name, json!("int")));
        let rest = [("index_file_keys", texts), ("properties", text_map)];
        let index: Vec<_> = texts_of.into_iter().chain(longs_of).chain(ints_of).chain(rest).collect();
        fields.push(("indexes", array(&record("Index", &index))));
    }
    if version >= RAW_LARGE_VALUES {
        let longs_of = ["field_id", "total_rows", "valid_rows", "file_size_bytes"].map(|name| (name, long.clone()));
        let values: Vec<_> = [("path", text)].into_iter().chain(longs_of).collect();
        fields.push(("lob_files", array(&record("Values", &values))));
    }
    record("Body", &fields)
}

fn array(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn map(values: &Value) -> Value {
    json!({ "type": "map", "values": values })
}

fn record(name: &str, fields: &[(&str, Value)]) -> Value {
    let fields: Vec<Value> = fields.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
    json!({ "type": "record", "name": name, "fields": fields })
}

fn schema(json: &Value) -> Schema {
    Schema::parse(json).expect("the schemas of this file are valid")
}

#[cfg(test)]
mod tests;
