//! Where the files of a snapshot itself lie, and how the paths inside one become keys below its root: whatever root
//! or bucket a path carries, the key that comes out is plain, relative and inside.

use crate::key::{KeyError, check_key, shown};
use crate::layout::LayoutError;
use crate::metadata::MetadataError;

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

/// The key in a path, which may be a URI: its scheme and bucket are left out, as the snapshot's own place counts.
pub(crate) fn plain_key(path: &str) -> Result<String, PathFault> {
    let key = match path.split_once("://") {
        None => path,
        Some((_, rest)) => {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.contains('@') || rest.contains('?') {
                return Err(PathFault::Credentials);
            }
            key
        }
    };
    check_key(key).map_err(PathFault::Key)?;
    Ok(key.to_owned())
}

/// Checks a path that may be absent.
pub(crate) fn check_plain(field: &'static str, path: &str) -> Result<(), MetadataError> {
    if path.is_empty() {
        return Ok(());
    }
    plain_key(path).map(drop).map_err(|fault| fault.into_error(field))
}

/// How the keys that a snapshot's files carry become keys below the place where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    /// The root under which the snapshot was written, as it says itself; empty when it does not say.
    recorded: String,
    /// The scheme and bucket that it says it was written to, if it says so.
    bucket: Option<String>,
    /// The root under which it was found, in its store.
    actual: String,
}

impl Roots {
    /// Takes the recorded root from `s3_location`, the path under which the writer put the metadata file.
    pub(crate) fn new(s3_location: &str, actual: &str) -> Roots {
        let recorded = plain_key(s3_location).ok().and_then(|key| metadata_ids(&key)).map(|(root, _)| root);
        let bucket = bucket_of(s3_location).map(str::to_owned);
        Roots { recorded: recorded.unwrap_or_default(), bucket, actual: actual.to_owned() }
    }

    /// The key in a path that a manifest gives: plain, or a URI into the bucket that the snapshot was written to.
    pub(crate) fn key_of<'a>(&self, path: &'a str) -> Result<&'a str, LayoutError> {
        let Some(bucket) = bucket_of(path) else { return Ok(path) };
        if self.bucket.as_deref() != Some(bucket) {
            let root = self.bucket.as_deref().unwrap_or(&self.actual);
            return Err(LayoutError::OutsideRoot { key: shown(&without_secrets(path)), root: shown(root) });
        }
        Ok(path[bucket.len()..].trim_start_matches('/'))
    }

    /// The key below the actual root of `key`, whose own keyword stands after `carried`.
    pub(crate) fn resolve<'a>(&self, key: &'a str, carried: &str) -> Result<&'a str, LayoutError> {
        if carried.is_empty() {
            return Ok(key);
        }
        if let Some(rest) = below(key, &self.recorded).or_else(|| self.below_actual(key, carried)) {
            return Ok(rest);
        }
        if self.recorded.is_empty() {
            return Ok(key);
        }
        Err(LayoutError::OutsideRoot { key: shown(key), root: shown(&self.recorded) })
    }

    /// Checks that a manifest, whose path is known to end as a manifest's does, lies under the same root as its
    /// metadata, so that its key follows from its ids.
    pub(crate) fn check_manifest_key(&self, key: &str) -> Result<(), MetadataError> {
        let tail = manifest_ids(key).map(manifest_key).unwrap_or_default();
        let carried = key.strip_suffix(tail.as_str()).unwrap_or(key).trim_end_matches('/');
        match self.resolve(key, carried) {
            Ok(below) if below == tail => Ok(()),
            Ok(_) | Err(_) => Err(MetadataError::Path {
                field: "manifest_list",
                path: shown(key),
                expected: "under the root of the metadata file itself".to_owned(),
            }),
        }
    }

    /// Milvus' keys start at the bucket; the tree may have been copied, so that only the end of its place agrees.
    fn below_actual<'a>(&self, key: &'a str, carried: &str) -> Option<&'a str> {
        let ends_alike = self.actual == carried || self.actual.ends_with(&format!("/{carried}"));
        if ends_alike { below(key, carried) } else { None }
    }
}

/// The scheme and bucket of a path that is a URI.
fn bucket_of(path: &str) -> Option<&str> {
    let start = path.find("://")? + 3;
    let end = path[start..].find('/').map_or(path.len(), |at| start + at);
    Some(&path[..end])
}

fn without_secrets(uri: &str) -> String {
    let plain = uri.split(['?', '#']).next().unwrap_or(uri);
    match (plain.split_once("://"), plain.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => plain.to_owned(),
    }
}

fn below<'a>(key: &'a str, root: &str) -> Option<&'a str> {
    if root.is_empty() {
        return None;
    }
    key.strip_prefix(root)?.strip_prefix('/')
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

    #[test]
    fn a_key_finds_its_place_whatever_root_it_carries() {
        let own = Roots::new("files/snapshots/1/metadata/2.json", "files");
        assert_eq!(own.resolve("files/insert_log/1", "files"), Ok("insert_log/1"));
        assert_eq!(own.resolve("insert_log/1", ""), Ok("insert_log/1"));
        assert!(own.resolve("other/insert_log/1", "other").is_err());
        let moved = Roots::new("s3://bucket/files/snapshots/1/metadata/2.json", "data/copy");
        assert_eq!(moved.resolve("files/insert_log/1", "files"), Ok("insert_log/1"));
        let silent = Roots::new("", "data/files");
        assert_eq!(silent.resolve("files/insert_log/1", "files"), Ok("insert_log/1"));
        assert_eq!(silent.resolve("data/files/insert_log/1", "data/files"), Ok("insert_log/1"));
        assert_eq!(silent.resolve("sub/insert_log/1", "sub"), Ok("sub/insert_log/1"));
    }
}
