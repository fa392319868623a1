//! Where the files of a snapshot itself lie, and the ids in their keys.

use crate::metadata::MetadataError;
use ferry_objects::{KeyError, bucket_and_key, check_key};

/// The folder of all snapshots of a tree.
pub(crate) const FOLDER: &str = "snapshots";

/// The ids in the key of a metadata file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataIds {
    pub(crate) collection_id: i64,
    pub(crate) snapshot_id: i64,
}

/// The ids in the key of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestIds {
    pub(crate) collection_id: i64,
    pub(crate) snapshot_id: i64,
    pub(crate) segment_id: i64,
}

/// Where below its root a snapshot of a collection has its metadata file: that the file exists makes it a snapshot.
#[must_use]
pub fn snapshot_metadata_key(collection_id: i64, snapshot_id: i64) -> String {
    metadata_key(MetadataIds { collection_id, snapshot_id })
}

/// `snapshots/{collection}/metadata/{snapshot}.json`.
pub(crate) fn metadata_key(ids: MetadataIds) -> String {
    format!("{FOLDER}/{}/metadata/{}.json", ids.collection_id, ids.snapshot_id)
}

/// `snapshots/{collection}/manifests/{snapshot}`.
fn manifest_folder(ids: MetadataIds) -> String {
    format!("{FOLDER}/{}/manifests/{}", ids.collection_id, ids.snapshot_id)
}

/// `snapshots/{collection}/manifests/{snapshot}/{segment}.avro`.
pub(crate) fn manifest_key(ids: ManifestIds) -> String {
    let folder = manifest_folder(MetadataIds { collection_id: ids.collection_id, snapshot_id: ids.snapshot_id });
    format!("{folder}/{}.avro", ids.segment_id)
}

/// `snapshots/{collection}/manifests/{snapshot}/{segment}.checksums.json`.
pub(crate) fn checksums_key(ids: ManifestIds) -> String {
    let folder = manifest_folder(MetadataIds { collection_id: ids.collection_id, snapshot_id: ids.snapshot_id });
    format!("{folder}/{}.checksums.json", ids.segment_id)
}

/// The root before, and the ids in, the key of a metadata file.
pub(crate) fn metadata_ids(key: &str) -> Option<(String, MetadataIds)> {
    let parts: Vec<&str> = key.split('/').collect();
    let (root, tail) = parts.split_at_checked(parts.len().checked_sub(4)?)?;
    let [FOLDER, collection, "metadata", file] = tail else { return None };
    let ids = MetadataIds { collection_id: id(collection)?, snapshot_id: id(file.strip_suffix(".json")?)? };
    Some((root.join("/"), ids))
}

/// The ids in the key of a manifest.
pub(crate) fn manifest_ids(key: &str) -> Option<ManifestIds> {
    let parts: Vec<&str> = key.split('/').collect();
    let [FOLDER, collection, "manifests", snapshot, file] = parts.get(parts.len().checked_sub(5)?..)? else {
        return None;
    };
    let segment_id = id(file.strip_suffix(".avro")?)?;
    Some(ManifestIds { collection_id: id(collection)?, snapshot_id: id(snapshot)?, segment_id })
}

/// An id as Milvus writes it: one text per number, so `007` and `+7` name nothing.
pub(crate) fn id(text: &str) -> Option<i64> {
    let id: i64 = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

/// What is wrong with a path in a metadata file.
pub(crate) enum PathFault {
    Credentials,
    Key(KeyError),
}

impl PathFault {
    pub(crate) fn into_error(self, field: &'static str) -> MetadataError {
        match self {
            PathFault::Credentials => MetadataError::Credentials { field },
            PathFault::Key(source) => MetadataError::Key { field, source },
        }
    }
}

/// The key in a path of a metadata file: of a URI without its scheme and bucket, of a path on a local disk without its
/// first slash. The snapshot's own place counts.
pub(crate) fn plain_key(path: &str) -> Result<String, PathFault> {
    let key = match bucket_and_key(path) {
        None => path.strip_prefix('/').unwrap_or(path),
        Some(_) if has_secrets(path) => return Err(PathFault::Credentials),
        Some((_, key)) => key,
    };
    check_key(key).map_err(PathFault::Key)?;
    Ok(key.to_owned())
}

/// Whether a URI carries user information or a signature.
fn has_secrets(uri: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.contains('@') || rest.contains('?')
}

/// Checks a path that may be absent.
pub(crate) fn check_plain(field: &'static str, path: &str) -> Result<(), MetadataError> {
    if path.is_empty() {
        return Ok(());
    }
    plain_key(path).map(drop).map_err(|fault| fault.into_error(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_snapshot_are_taken_apart_as_they_are_put_together() {
        let ids = MetadataIds { collection_id: 1, snapshot_id: 2 };
        assert_eq!(metadata_ids(&metadata_key(ids)), Some((String::new(), ids)));
        let (root, found) = metadata_ids("a/b/snapshots/1/metadata/2.json").unwrap();
        assert_eq!((root.as_str(), found), ("a/b", ids));
        let ids = ManifestIds { collection_id: 1, snapshot_id: 2, segment_id: 3 };
        assert_eq!(manifest_ids(&format!("files/{}", manifest_key(ids))), Some(ids));
        for key in ["snapshots/1/metadata/2", "snapshots/1/metadata/02.json", "snapshots/x/metadata/2.json", "2.json"] {
            assert_eq!(metadata_ids(key), None, "{key}");
        }
        for key in ["snapshots/1/manifests/2/3.json", "snapshots/1/manifests/2/+3.avro", "manifests/2/3.avro"] {
            assert_eq!(manifest_ids(key), None, "{key}");
        }
    }
}
