//! The manifest of one segment: a raw Avro datum whose schema follows from the snapshot's format version.
//! A datum is read whole and exactly: bytes left over, or too few, mean another schema or a damaged file.

mod schema;

use apache_avro::reader::datum::GenericDatumReader;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use schema::{list_schema, reader, writer};

/// Milvus' level of a segment that holds deletions only.
pub const LEVEL_ZERO: i64 = 1;

/// Everything a snapshot says of one segment. Fields that the format version lacks are zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "ManifestEntry")]
pub struct Manifest {
    /// The segment.
    pub segment_id: i64,
    /// Its partition; -1 for deletions that concern all.
    pub partition_id: i64,
    /// Its level.
    pub segment_level: i64,
    /// The channel its writes came through.
    pub channel_name: String,
    /// How many rows it has.
    pub num_of_rows: i64,
    /// Where its writes begin.
    pub start_position: Position,
    /// Up to where its writes are in it.
    pub dml_position: Position,
    /// The storage format of its files.
    pub storage_version: i64,
    /// Whether its rows are sorted by primary key.
    pub is_sorted: bool,
    /// Since version 3.
    #[serde(default)]
    pub commit_timestamp: i64,
    /// Since version 5.
    #[serde(default)]
    pub delete_apply_start_after_timetick: i64,
    /// Files with rows.
    pub binlog_files: Vec<FieldBinlog>,
    /// Files with deletions.
    pub deltalog_files: Vec<FieldBinlog>,
    /// Files with statistics.
    pub statslog_files: Vec<FieldBinlog>,
    /// Files with statistics for full-text ranking.
    pub bm25_statslog_files: Vec<FieldBinlog>,
    /// Vector and scalar indexes.
    pub index_files: Vec<IndexFiles>,
    /// Text indexes.
    pub text_index_files: Vec<TextIndex>,
    /// Indexes over JSON fields.
    pub json_key_index_files: Vec<JsonIndex>,
}

/// A place in a channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroMsgPosition")]
pub struct Position {
    /// The channel.
    pub channel_name: String,
    /// The message.
    #[serde(with = "apache_avro::serde::bytes")]
    pub msg_id: Vec<u8>,
    /// The consumer group.
    pub msg_group: String,
    /// Its timestamp.
    pub timestamp: i64,
}

/// The files of one field, or of one group of fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroFieldBinlog")]
pub struct FieldBinlog {
    /// The field.
    pub field_id: i64,
    /// Since version 4: the fields of the group.
    #[serde(default)]
    pub child_fields: Vec<i64>,
    /// Since version 4: the files' format.
    #[serde(default)]
    pub format: String,
    /// The files.
    pub binlogs: Vec<Binlog>,
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroBinlog")]
pub struct Binlog {
    /// Rows in it.
    pub entries_num: i64,
    /// Timestamp of the first.
    pub timestamp_from: i64,
    /// Timestamp of the last.
    pub timestamp_to: i64,
    /// Its key.
    pub log_path: String,
    /// Its size; 0 or wrong in old snapshots.
    pub log_size: i64,
    /// Its id.
    pub log_id: i64,
    /// Its size when loaded.
    pub memory_size: i64,
}

/// The files of one vector or scalar index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroIndexFilePathInfo")]
pub struct IndexFiles {
    /// The segment.
    pub segment_id: i64,
    /// The field.
    pub field_id: i64,
    /// The index.
    pub index_id: i64,
    /// The build that made these files.
    pub build_id: i64,
    /// The index' name.
    pub index_name: String,
    /// The index' parameters.
    pub index_params: Vec<KeyValue>,
    /// Keys of the files.
    pub index_file_paths: Vec<String>,
    /// Size of all files together.
    pub serialized_size: i64,
    /// Version of the build.
    pub index_version: i64,
    /// Rows it covers.
    pub num_rows: i64,
    /// Version of the index engine.
    pub current_index_version: i32,
    /// Size when loaded.
    pub mem_size: i64,
    /// Version of the scalar index engine.
    pub current_scalar_index_version: i32,
    /// Since version 2: which layout the keys follow.
    #[serde(default)]
    pub index_store_path_version: i32,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroKeyValuePair")]
pub struct KeyValue {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The text index of one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroTextIndexEntry")]
pub struct TextIndex {
    /// The field.
    pub field_id: i64,
    /// Its files.
    pub stats: TextIndexStats,
}

/// The files of a text index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroTextIndexStats")]
pub struct TextIndexStats {
    /// The field.
    pub field_id: i64,
    /// Version of the build.
    pub version: i64,
    /// Keys of the files.
    pub files: Vec<String>,
    /// Size of all files together.
    pub log_size: i64,
    /// Size when loaded.
    pub memory_size: i64,
    /// The build.
    pub build_id: i64,
}

/// The index of one JSON field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroJSONKeyIndexEntry")]
pub struct JsonIndex {
    /// The field.
    pub field_id: i64,
    /// Its files.
    pub stats: JsonIndexStats,
}

/// The files of an index over a JSON field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AvroJSONKeyStats")]
pub struct JsonIndexStats {
    /// The field.
    pub field_id: i64,
    /// Version of the build.
    pub version: i64,
    /// Keys of the files.
    pub files: Vec<String>,
    /// Size of all files together.
    pub log_size: i64,
    /// Size when loaded.
    pub memory_size: i64,
    /// The build.
    pub build_id: i64,
    /// Which layout the keys follow.
    pub json_key_stats_data_format: i64,
}

/// Why bytes are not the manifest they should be.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not a datum of this schema, or cut off.
    #[error("not a manifest of format version {version}, or cut off: {message}")]
    Datum {
        /// The version whose schema was used.
        version: u8,
        /// What the decoder says.
        message: String,
    },
    /// A datum, and then more.
    #[error("{count} bytes follow the datum of format version {version}; the file is damaged or of another version")]
    TrailingBytes {
        /// The version whose schema was used.
        version: u8,
        /// How many.
        count: usize,
    },
    /// An array of entries, the form before one file had one segment.
    #[error(
        "it is an Avro array of {count} entries, which pre-release builds of Milvus 2.6 wrote; take the snapshot again with \
         a released Milvus"
    )]
    Array {
        /// How many.
        count: usize,
    },
    /// The manifest of another segment.
    #[error("it is the manifest of segment {found}, not of segment {expected}")]
    Foreign {
        /// The segment wanted.
        expected: i64,
        /// The segment found.
        found: i64,
    },
    /// A field holds what this version cannot.
    #[error("format version {0} cannot hold every field that is set; write a newer version")]
    Unrepresentable(u8),
}

impl Manifest {
    /// Reads a manifest of `version` (1 to 5) that must be that of `segment_id`.
    pub fn decode(content: &[u8], version: u8, segment_id: i64) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = whole_datum(content, reader(version), version).map_err(|error| {
            let list = GenericDatumReader::builder(list_schema(version)).build();
            match list.map(|list| whole_datum::<Vec<Manifest>>(content, &list, version)) {
                Ok(Ok(entries)) if !entries.is_empty() => ManifestError::Array { count: entries.len() },
                Ok(_) | Err(_) => error,
            }
        })?;
        if manifest.segment_id != segment_id {
            return Err(ManifestError::Foreign { expected: segment_id, found: manifest.segment_id });
        }
        Ok(manifest)
    }

    /// Writes a manifest of `version` (1 to 5).
    pub fn encode(&self, version: u8) -> Result<Vec<u8>, ManifestError> {
        // Only the newest schema has every field; the writer refuses to leave one out.
        let content = if version >= schema::VERSION_MAX {
            writer(version).write_ser_to_vec(self)
        } else {
            let value = apache_avro::to_value(self).and_then(|value| value.resolve(schema::schema(version)));
            value.and_then(|value| writer(version).write_value_to_vec(value))
        };
        let content = content.map_err(|error| ManifestError::Datum { version, message: error.to_string() })?;
        // An older schema drops newer fields; what was dropped must have been empty.
        match Manifest::decode(&content, version, self.segment_id) {
            Ok(back) if back == *self => Ok(content),
            Ok(_) => Err(ManifestError::Unrepresentable(version)),
            Err(error) => Err(error),
        }
    }

    /// Every group of binlogs with the kind of file that it lists.
    pub(crate) fn binlogs(&self) -> [(crate::layout::FileKind, &[FieldBinlog]); 4] {
        use crate::layout::FileKind;
        [
            (FileKind::Insert, &self.binlog_files),
            (FileKind::Delta, &self.deltalog_files),
            (FileKind::Stats, &self.statslog_files),
            (FileKind::Bm25, &self.bm25_statslog_files),
        ]
    }
}

/// Reads exactly one datum.
fn whole_datum<T: DeserializeOwned>(
    content: &[u8],
    reader: &GenericDatumReader<'_>,
    version: u8,
) -> Result<T, ManifestError> {
    let mut rest = content;
    let datum = reader.read_deser(&mut rest);
    let datum = datum.map_err(|error| ManifestError::Datum { version, message: error.to_string() })?;
    match rest.len() {
        0 => Ok(datum),
        count => Err(ManifestError::TrailingBytes { version, count }),
    }
}

#[cfg(test)]
mod tests;
