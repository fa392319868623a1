//! The metadata file of a snapshot: proto-JSON as Milvus writes it, with names in snake_case or camelCase.
//! What `Metadata::parse` returns is of a known version and not being deleted, and its lists agree with each other.
//! That the file exists is the commit point: Milvus writes it while the state in it is still Pending.

mod wire;

use std::collections::{BTreeMap, BTreeSet};

use ferry_objects::{KeyError, shown};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::paths;
use wire::{absent, enumeration, int64, int64_map, int64s, is_default, uint64};

/// The newest format version that this crate reads, and the one it writes.
pub const FORMAT_VERSION_MAX: i32 = 5;

/// The root of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// 0 means 1. It decides the schema of the manifests.
    #[serde(default, deserialize_with = "wire::int32", skip_serializing_if = "is_default", alias = "formatVersion")]
    pub format_version: i32,
    /// Which snapshot this is.
    #[serde(alias = "snapshotInfo")]
    pub snapshot_info: SnapshotInfo,
    /// Of what.
    #[serde(deserialize_with = "wire::object")]
    pub collection: Collection,
    /// Definitions of indexes, kept as they are.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Value>,
    /// Keys of the manifests, one per segment.
    #[serde(default, deserialize_with = "absent", skip_serializing_if = "Vec::is_empty", alias = "manifestList")]
    pub manifest_list: Vec<String>,
    /// Storage manifests of segments whose files are not listed in their manifest.
    #[serde(
        default,
        deserialize_with = "absent",
        skip_serializing_if = "Vec::is_empty",
        alias = "storagev2ManifestList"
    )]
    pub storagev2_manifest_list: Vec<StorageManifest>,
    /// Ids of the segments; may be absent.
    #[serde(default, with = "int64s", skip_serializing_if = "Vec::is_empty", alias = "segmentIds")]
    pub segment_ids: Vec<i64>,
    /// Ids of the index builds, one for each index: a build that made several stands here several times.
    #[serde(default, with = "int64s", skip_serializing_if = "Vec::is_empty", alias = "buildIds")]
    pub build_ids: Vec<i64>,
    /// Whether the snapshot refers to files elsewhere or carries them.
    #[serde(default, with = "enumeration", skip_serializing_if = "is_default")]
    pub layout: Layout,
}

/// `snapshot_info`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotInfo {
    /// The user's name for it.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default")]
    pub name: String,
    /// Its id.
    #[serde(with = "int64", skip_serializing_if = "is_default")]
    pub id: i64,
    /// The user's words.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default")]
    pub description: String,
    /// The collection it was taken of.
    #[serde(with = "int64", skip_serializing_if = "is_default", alias = "collectionId")]
    pub collection_id: i64,
    /// The partitions it covers.
    #[serde(with = "int64s", skip_serializing_if = "Vec::is_empty", alias = "partitionIds")]
    pub partition_ids: Vec<i64>,
    /// The timestamp up to which it holds the collection's writes, in Milvus' hybrid form.
    #[serde(with = "uint64", skip_serializing_if = "is_default", alias = "createTs")]
    pub create_ts: u64,
    /// The key of this very file where it was written; it tells the root that keys carry.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default", alias = "s3Location")]
    pub s3_location: String,
    /// How far its writer had come when it wrote this file; only one that is being deleted is not read.
    #[serde(with = "enumeration", skip_serializing_if = "is_default")]
    pub state: State,
    /// Whatever else the writer put there, kept as it is.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `collection`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collection {
    /// The schema, kept as it is.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub schema: Value,
    /// How many partitions a partition key spreads over.
    #[serde(with = "int64", skip_serializing_if = "is_default", alias = "numPartitions")]
    pub num_partitions: i64,
    /// How many shards.
    #[serde(with = "int64", skip_serializing_if = "is_default", alias = "numShards")]
    pub num_shards: i64,
    /// The consistency level, kept as it is.
    #[serde(skip_serializing_if = "Value::is_null", alias = "consistencyLevel")]
    pub consistency_level: Value,
    /// Properties.
    #[serde(deserialize_with = "absent", skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
    /// Ids of the partitions by name.
    #[serde(with = "int64_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<String, i64>,
    /// Names of the channels.
    #[serde(deserialize_with = "absent", skip_serializing_if = "Vec::is_empty", alias = "virtualChannelNames")]
    pub virtual_channel_names: Vec<String>,
    /// Whatever else the writer put there, kept as it is.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One property of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Property {
    /// Its name.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default")]
    pub key: String,
    /// Its value.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default")]
    pub value: String,
}

/// Where the storage manifest of one segment is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageManifest {
    /// The segment.
    #[serde(with = "int64", skip_serializing_if = "is_default", alias = "segmentId", alias = "segmentID")]
    pub segment_id: i64,
    /// Its path, plain or packed in JSON.
    #[serde(deserialize_with = "absent", skip_serializing_if = "is_default")]
    pub manifest: String,
}

/// How far a snapshot's writer came. On the wire a name, or a number in the order given here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not set.
    #[default]
    Unknown,
    /// What Milvus writes: it tells its own catalog of the commit only after this file exists.
    Pending,
    /// What Ferry writes.
    Committed,
    /// Being deleted.
    Deleting,
}

/// Whether a snapshot carries its files. On the wire a name, or a number in the order given here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Not set: as `Referenced`.
    #[default]
    Unknown,
    /// The files stay where the collection has them.
    Referenced,
    /// The files lie in a bundle with the snapshot; none is outside of it.
    SelfContained,
}

impl wire::Enumeration for State {
    const NAMES: &'static [(&'static str, State)] = &[
        ("SnapshotStateNone", State::Unknown),
        ("SnapshotStatePending", State::Pending),
        ("SnapshotStateCommitted", State::Committed),
        ("SnapshotStateDeleting", State::Deleting),
    ];
    // Milvus' own reader never looks at it.
    const OTHER: Option<State> = Some(State::Unknown);
}

impl wire::Enumeration for Layout {
    const NAMES: &'static [(&'static str, Layout)] = &[
        ("SnapshotLayoutUnknown", Layout::Unknown),
        ("SnapshotLayoutReferenced", Layout::Referenced),
        ("SnapshotLayoutSelfContained", Layout::SelfContained),
    ];
    const OTHER: Option<Layout> = None;
}

/// Why a metadata file is refused.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// Not JSON, or a field of the wrong type.
    #[error(
        "not the metadata of a snapshot: field {field}: {message}; name the snapshots/*/metadata/*.json file that Milvus or `ferry snapshot create` wrote"
    )]
    Json {
        /// Where in the file.
        field: String,
        /// What is wrong there.
        message: String,
    },
    /// Written by a newer Milvus.
    #[error(
        "format_version is {0}, newer than the 5 this version reads; upgrade Ferry, or take the snapshot with an older Milvus"
    )]
    Version(i32),
    /// Written before Milvus' snapshots had their present names.
    #[error(
        "it has the hyphenated names, such as snapshot-info, that pre-release builds of Milvus 2.6 wrote; take the \
         snapshot again with a released Milvus"
    )]
    PreRelease,
    /// Its files are being removed.
    #[error("snapshot_info.state is Deleting: its files are being removed; take a new snapshot")]
    Deleting,
    /// An id that must be set is not.
    #[error("{field} is {value}; it must be a positive id: take the snapshot again")]
    BadId {
        /// The field.
        field: &'static str,
        /// What it says.
        value: i64,
    },
    /// A list names something twice.
    #[error("{field} names {id} twice; take the snapshot again")]
    Duplicate {
        /// The list.
        field: &'static str,
        /// What is named twice.
        id: i64,
    },
    /// A segment without a manifest.
    #[error("segment_ids names segment {0}, for which manifest_list has no manifest; take the snapshot again")]
    NoManifest(i64),
    /// A manifest without a segment.
    #[error("manifest_list has a manifest of segment {0}, which segment_ids does not name; take the snapshot again")]
    ExtraManifest(i64),
    /// A storage manifest without a segment.
    #[error("storagev2_manifest_list names segment {0}, which the snapshot does not have; take the snapshot again")]
    ExtraStorageManifest(i64),
    /// A path that is not where such a file belongs.
    #[error("{field}: the path {path} is not {expected}; take the snapshot again")]
    Path {
        /// The field.
        field: &'static str,
        /// The path.
        path: String,
        /// What it should look like.
        expected: String,
    },
    /// A hostile path.
    #[error("{field}: {source}")]
    Key {
        /// The field.
        field: &'static str,
        /// What is wrong.
        source: KeyError,
    },
    /// A path with credentials; it is not repeated here.
    #[error("{field} contains a path with credentials or a query; remove them from the snapshot")]
    Credentials {
        /// The field.
        field: &'static str,
    },
    /// The ids in the file are not those in its path.
    #[error("{field} is {inside}, but the file lies at a path that says {path}; move it back, or name the right file")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// The id inside.
        inside: i64,
        /// The id in the path.
        path: i64,
    },
}

impl Metadata {
    /// Reads and checks a metadata file.
    pub fn parse(content: &[u8]) -> Result<Metadata, MetadataError> {
        Metadata::parse_with_manifests(content).map(|(metadata, _)| metadata)
    }

    /// The same, with the keys of the manifests by segment, which the check needs anyway.
    pub(crate) fn parse_with_manifests(content: &[u8]) -> Result<(Metadata, BTreeMap<i64, String>), MetadataError> {
        let mut deserializer = serde_json::Deserializer::from_slice(content);
        let metadata: Metadata =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| match is_pre_release(content) {
                true => MetadataError::PreRelease,
                false => MetadataError::Json { field: error.path().to_string(), message: error.inner().to_string() },
            })?;
        deserializer
            .end()
            .map_err(|error| MetadataError::Json { field: ".".to_owned(), message: error.to_string() })?;
        let manifests = metadata.check()?;
        Ok((metadata, manifests))
    }

    /// The file's bytes, as `parse` reads them: int64 as strings, unpopulated fields absent.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings, numbers and kept JSON are always JSON")
    }

    /// The version that decides the manifests' schema: 1 to 5.
    pub fn manifest_version(&self) -> u8 {
        u8::try_from(self.format_version.clamp(1, FORMAT_VERSION_MAX)).unwrap_or(1)
    }

    /// The segments' ids with the keys of their manifests, in the order of the ids.
    pub fn manifests(&self) -> Result<BTreeMap<i64, String>, MetadataError> {
        let mut manifests = BTreeMap::new();
        for path in &self.manifest_list {
            let (segment_id, key) = self.manifest_of(path)?;
            if manifests.insert(segment_id, key).is_some() {
                return Err(MetadataError::Duplicate { field: "manifest_list", id: segment_id });
            }
        }
        Ok(manifests)
    }

    fn manifest_of(&self, path: &str) -> Result<(i64, String), MetadataError> {
        let field = "manifest_list";
        let key = paths::plain_key(path).map_err(|fault| fault.into_error(field))?;
        let info = &self.snapshot_info;
        paths::manifest_ids(&key)
            .filter(|ids| (ids.collection_id, ids.snapshot_id) == (info.collection_id, info.id))
            .map(|ids| (ids.segment_id, key))
            .ok_or_else(|| MetadataError::Path {
                field,
                path: shown(path),
                expected: format!("snapshots/{}/manifests/{}/{{segment id}}.avro", info.collection_id, info.id),
            })
    }

    /// Checks everything that needs no other file.
    pub(crate) fn check(&self) -> Result<BTreeMap<i64, String>, MetadataError> {
        if !(0..=FORMAT_VERSION_MAX).contains(&self.format_version) {
            return Err(MetadataError::Version(self.format_version));
        }
        let info = &self.snapshot_info;
        match info.state {
            State::Unknown | State::Pending | State::Committed => {}
            State::Deleting => return Err(MetadataError::Deleting),
        }
        positive("snapshot_info.id", info.id)?;
        positive("snapshot_info.collection_id", info.collection_id)?;
        paths::check_plain("snapshot_info.s3_location", &info.s3_location)?;
        self.check_lists()
    }

    fn check_lists(&self) -> Result<BTreeMap<i64, String>, MetadataError> {
        let manifests = self.manifests()?;
        let segments = distinct("segment_ids", &self.segment_ids)?;
        self.build_ids.iter().try_for_each(|id| positive("build_ids", *id))?;
        if !segments.is_empty() {
            if let Some(id) = segments.iter().find(|id| !manifests.contains_key(id)) {
                return Err(MetadataError::NoManifest(*id));
            }
            if let Some(id) = manifests.keys().find(|id| !segments.contains(id)) {
                return Err(MetadataError::ExtraManifest(*id));
            }
        }
        let storage: Vec<i64> = self.storagev2_manifest_list.iter().map(|entry| entry.segment_id).collect();
        let storage = distinct("storagev2_manifest_list", &storage)?;
        match storage.iter().find(|id| !manifests.contains_key(id)) {
            Some(id) => Err(MetadataError::ExtraStorageManifest(*id)),
            None => Ok(manifests),
        }
    }
}

/// Whether it has the names of the format's first builds.
fn is_pre_release(content: &[u8]) -> bool {
    let fields: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(content);
    fields.is_ok_and(|fields| fields.contains_key("snapshot-info"))
}

fn positive(field: &'static str, value: i64) -> Result<(), MetadataError> {
    if value > 0 { Ok(()) } else { Err(MetadataError::BadId { field, value }) }
}

fn distinct(field: &'static str, ids: &[i64]) -> Result<BTreeSet<i64>, MetadataError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        positive(field, *id)?;
        if !seen.insert(*id) {
            return Err(MetadataError::Duplicate { field, id: *id });
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests;
