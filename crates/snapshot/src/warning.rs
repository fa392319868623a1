//! What copying files cannot put right, as typed warnings: told from the metadata, and from each manifest that is read.

use std::fmt;
use std::str::FromStr;

use futures::{StreamExt, stream};
use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use crate::manifest::{FieldBinlog, Manifest};
use crate::metadata::Property;
use crate::snapshot::{ReadError, Snapshot};

/// How many manifests are read at a time.
const CONCURRENCY: usize = 16;
/// Milvus' hybrid timestamps have their milliseconds above these bits.
const LOGICAL_BITS: u32 = 18;
/// Properties that tell of encryption begin with this.
const CIPHER_PREFIX: &str = "cipher.";
/// Tells whether a database encrypts; its value may be `false`.
const CIPHER_ENABLED: &str = "cipher.enabled";
/// The id of the encryption zone, which Milvus copies onto the schema of each collection of an encrypted database.
const CIPHER_ZONE: &str = "cipher.ezID";

/// Something that a copy of the files alone does not carry, or that its user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// The segment that it concerns; absent: the whole snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_id: Option<i64>,
    /// The same in a sentence, with what the user can do.
    pub text: String,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningKind {
    /// Logs hold rows or deletions later than the snapshot itself.
    RowsBeyondSnapshot,
    /// The files are encrypted with the key of a zone.
    EncryptionZone,
    /// The rows lie outside, where the collection only refers to them.
    ExternalTable,
    /// The placeholder of a segment that nothing was written to yet.
    EmptyGrowingSegment,
    /// A segment with neither rows nor deletions.
    NoRows,
}

/// A name that no kind of warning has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no warning {name:?}; there are {}", names())]
pub struct UnknownWarning {
    /// The name.
    pub name: String,
}

impl WarningKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::RowsBeyondSnapshot, Self::EncryptionZone, Self::ExternalTable, Self::EmptyGrowingSegment, Self::NoRows];

    /// The name by which people and programs know it; it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::RowsBeyondSnapshot => "rows-beyond-snapshot",
            Self::EncryptionZone => "encryption-zone",
            Self::ExternalTable => "external-table",
            Self::EmptyGrowingSegment => "empty-growing-segment",
            Self::NoRows => "no-rows",
        }
    }

    /// Whether the copy cannot work in its target unless the user knows better, and so has to be accepted.
    pub fn needs_accept(self) -> bool {
        match self {
            Self::EncryptionZone | Self::ExternalTable => true,
            Self::RowsBeyondSnapshot | Self::EmptyGrowingSegment | Self::NoRows => false,
        }
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for WarningKind {
    type Err = UnknownWarning;

    fn from_str(name: &str) -> Result<Self, UnknownWarning> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownWarning { name: name.to_owned() })
    }
}

impl Serialize for WarningKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn names() -> String {
    WarningKind::ALL.map(WarningKind::name).join(", ")
}

impl Snapshot {
    /// What the metadata alone tells.
    pub fn warnings(&self) -> Vec<Warning> {
        let collection = &self.metadata().collection;
        let of_snapshot = |kind: WarningKind, text| {
            let next = if kind.needs_accept() {
                format!("; a job has to accept it: `--accept {kind}`")
            } else {
                String::new()
            };
            Warning { kind, segment_id: None, text: format!("{text}{next}") }
        };
        let encrypted = encryption(&collection.schema, &collection.properties)
            .map(|text| of_snapshot(WarningKind::EncryptionZone, text));
        let external = external(&collection.schema).map(|text| of_snapshot(WarningKind::ExternalTable, text));
        let growing = self.growing_segment_ids().map(|segment_id| Warning {
            kind: WarningKind::EmptyGrowingSegment,
            segment_id: Some(segment_id),
            text: format!(
                "segment {segment_id} is the placeholder of a growing segment, whose storage manifest has version 0: it \
                 is left out; flush the collection and take the snapshot again if rows are missing"
            ),
        });
        encrypted.into_iter().chain(external).chain(growing).collect()
    }

    /// What the manifest of a segment tells.
    pub fn segment_warnings(&self, manifest: &Manifest) -> Vec<Warning> {
        let of_segment = |(kind, text)| Warning { kind, segment_id: Some(manifest.segment_id), text };
        let late = beyond(manifest, self.metadata().snapshot_info.create_ts)
            .map(|text| (WarningKind::RowsBeyondSnapshot, text));
        late.into_iter().chain(self.emptiness(manifest)).map(of_segment).collect()
    }

    /// Reads every manifest, and tells what the metadata and all of them have to tell.
    pub async fn read_warnings(&self) -> Result<Vec<Warning>, ReadError> {
        let mut warnings = self.warnings();
        let mut manifests =
            stream::iter(self.segment_ids()).map(|segment_id| self.manifest(segment_id)).buffered(CONCURRENCY);
        while let Some(manifest) = manifests.next().await {
            warnings.extend(self.segment_warnings(&manifest?));
        }
        Ok(warnings)
    }

    fn emptiness(&self, manifest: &Manifest) -> Option<(WarningKind, String)> {
        let segment_id = manifest.segment_id;
        if self.is_growing(segment_id) {
            return None;
        }
        let has_deletions = manifest.deltalog_files.iter().any(|field| !field.binlogs.is_empty());
        (manifest.num_of_rows == 0 && !has_deletions).then(|| {
            let text = format!(
                "segment {segment_id} has no rows, and its manifest lists no deletions: its copy is an empty segment; \
                 leave it out if you did not expect that"
            );
            (WarningKind::NoRows, text)
        })
    }
}

/// Logs that reach beyond the snapshot: a copy of a file takes all of it along.
fn beyond(manifest: &Manifest, create_ts: u64) -> Option<String> {
    let latest = |fields: &[FieldBinlog]| {
        let logs = fields.iter().flat_map(|field| &field.binlogs);
        // Negative ones are not known; placeholders have zero.
        logs.filter_map(|log| u64::try_from(log.timestamp_to).ok()).max().unwrap_or(0)
    };
    let (rows, deletions) = (latest(&manifest.binlog_files), latest(&manifest.deltalog_files));
    let what = match (rows > create_ts, deletions > create_ts) {
        _ if create_ts == 0 => return None,
        (false, false) => return None,
        (true, false) => "rows",
        (false, true) => "deletions",
        (true, true) => "rows and deletions",
    };
    let late_ms = (rows.max(deletions) >> LOGICAL_BITS) - (create_ts >> LOGICAL_BITS);
    Some(format!(
        "segment {}: its logs hold {what} beyond create_ts {create_ts} of the snapshot, up to {late_ms} ms after it, and \
         they are copied with all others; take a newer snapshot if the copy must be of one moment",
        manifest.segment_id
    ))
}

fn encryption(schema: &Value, properties: &[Property]) -> Option<String> {
    let of_schema = schema.get("properties").and_then(Value::as_array).into_iter().flatten();
    let of_schema = of_schema.filter_map(|property| Some((text(property, "key")?, text(property, "value")?)));
    let own = properties.iter().map(|property| (property.key.as_str(), property.value.as_str()));
    let told: Vec<(&str, &str)> = of_schema.chain(own).filter(|(key, value)| is_encrypted(key, value)).collect();
    if told.is_empty() {
        return None;
    }
    // The other properties may hold a key, and are not repeated.
    let zone = told.iter().find(|(key, _)| key.eq_ignore_ascii_case(CIPHER_ZONE));
    let zone = zone.and_then(|(_, id)| id.parse::<i64>().ok()).map(|id| format!(" {id}")).unwrap_or_default();
    Some(format!(
        "the collection is encrypted (property {}): its files can be read only in encryption zone{zone}, by a \
         database of that same zone",
        told[0].0
    ))
}

fn is_encrypted(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.starts_with(CIPHER_PREFIX)
        && !value.is_empty()
        && (key != CIPHER_ENABLED || !value.eq_ignore_ascii_case("false"))
}

fn external(schema: &Value) -> Option<String> {
    let source = text(schema, "external_source").or_else(|| text(schema, "externalSource"));
    let spec = text(schema, "external_spec").or_else(|| text(schema, "externalSpec"));
    source.or(spec)?;
    // A URI with credentials is not repeated.
    let at = source.filter(|source| !source.contains(['@', '?'])).map(|source| format!(" at {source}"));
    Some(format!(
        "the collection is an external table: its rows lie{} outside of Milvus, and no copy of its segments takes them \
         along: define the table again in the target instead",
        at.unwrap_or_default()
    ))
}

/// A text of an object that is not empty.
fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
