//! The roots that the paths inside a snapshot carry, and how such a path becomes a key below the place where the snapshot
//! was found: whatever root or bucket it carries, the key that comes out is plain, relative and inside.

use crate::layout::{KEYWORDS, LayoutError};
use crate::metadata::{Layout, Metadata, MetadataError};
use crate::paths::{self, manifest_ids, manifest_key, plain_key};
use ferry_objects::{Location, bucket_and_key, check_key, join, shown};

/// Below the root of a self-contained bundle: the folder of all data.
pub(crate) const BUNDLE_FOLDER: &str = "files";

/// How the paths that a snapshot's files carry become keys below the place where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    /// Whether all data lies in one folder below the root, and a path outside is an error.
    is_bundle: bool,
    /// The root under which the snapshot was written, as its own paths say; absent when they do not.
    recorded: Option<String>,
    /// The root that the paths of its manifests carry, where they begin with less than what is recorded.
    listed: Option<String>,
    /// The root under which it was found, in its store.
    actual: String,
    /// The bucket in which it was found; none on a local disk.
    bucket: Option<String>,
    /// The bucket that it says it was written to.
    recorded_bucket: Option<String>,
}

impl Roots {
    /// Takes the recorded root from `s3_location`, where the writer put the metadata file, else from the first manifest's
    /// path: Milvus writes the file before it knows the former.
    pub(crate) fn new(metadata: &Metadata, location: &Location) -> Roots {
        let s3_location = metadata.snapshot_info.s3_location.as_str();
        let by_location = plain_key(s3_location).ok().and_then(|key| paths::metadata_ids(&key)).map(|(root, _)| root);
        let first = metadata.manifest_list.first();
        let listed = first.and_then(|path| plain_key(path).ok()).map(|key| root_of_manifest(&key).to_owned());
        let paths = [Some(s3_location), first.map(String::as_str)];
        Roots {
            is_bundle: metadata.layout == Layout::SelfContained,
            recorded: by_location.or_else(|| listed.clone()),
            listed,
            actual: location.root().to_owned(),
            bucket: location.bucket().map(str::to_owned),
            recorded_bucket: paths.into_iter().flatten().find_map(bucket_and_key).map(|(bucket, _)| bucket.to_owned()),
        }
    }

    /// Whether the snapshot is a self-contained bundle.
    pub(crate) fn is_bundle(&self) -> bool {
        self.is_bundle
    }

    /// The key below the actual root of a path that a manifest gives: plain, absolute on a local disk, or a URI.
    pub(crate) fn key_of(&self, path: &str) -> Result<String, LayoutError> {
        let (key, is_absolute) = match (bucket_and_key(path), path.strip_prefix('/')) {
            (Some((bucket, key)), _) if self.has_bucket(bucket) => (key, false),
            (Some(_), _) => return Err(self.outside(&without_secrets(path))),
            (None, Some(rest)) => (rest, true),
            (None, None) => (path, false),
        };
        check_key(key)?;
        let below = self.strip(key).or_else(|| self.unrooted(key, is_absolute)).ok_or_else(|| self.outside(path))?;
        if self.is_bundle && !below.starts_with(&format!("{BUNDLE_FOLDER}/")) {
            return Err(self.outside(path));
        }
        Ok(below.to_owned())
    }

    /// The same of a storage manifest's `base_path`, which some writers begin with the bucket's name.
    pub(crate) fn folder_of(&self, base_path: &str) -> Result<String, LayoutError> {
        let (first, rest) = base_path.split_once('/').unwrap_or((base_path, ""));
        // The bucket that it was written to may have another name than the one it was found in, or is not known at all:
        // then what follows the name tells.
        let names_bucket = self.has_bucket(first) || self.strip(rest).is_some();
        let is_bucket = !first.is_empty() && self.strip(base_path).is_none() && names_bucket;
        self.key_of(if is_bucket { rest } else { base_path })
    }

    /// Checks that a manifest lies under the same root as its metadata, so that its key follows from its ids.
    pub(crate) fn check_manifest_key(&self, key: &str) -> Result<(), MetadataError> {
        let carried = root_of_manifest(key);
        let is_known = |root: &str| root == carried || root.ends_with(&format!("/{carried}"));
        let recorded = self.recorded.as_deref().unwrap_or_default();
        if carried.is_empty() || is_known(recorded) || is_known(&self.actual) {
            return Ok(());
        }
        Err(MetadataError::Path {
            field: "manifest_list",
            path: shown(key),
            expected: "under the root of the metadata file itself".to_owned(),
        })
    }

    /// What stands behind a root that the writer named, or behind the one where the snapshot was found.
    fn strip<'a>(&self, key: &'a str) -> Option<&'a str> {
        let named = [self.recorded.as_deref(), self.listed.as_deref(), Some(self.actual.as_str())];
        named.into_iter().flatten().find_map(|root| below(key, root))
    }

    /// The key of a path that carries none of these roots.
    fn unrooted<'a>(&self, key: &'a str, is_absolute: bool) -> Option<&'a str> {
        let is_at_top = self.recorded.as_deref().is_none_or(str::is_empty);
        if is_absolute || (self.is_bundle && !is_at_top) {
            return None;
        }
        let carried = before_keyword(key);
        if carried.is_empty() || self.is_bundle {
            return Some(key);
        }
        // Milvus' keys start at the bucket; the tree may have been copied, so that only the end of its place agrees.
        if self.actual.ends_with(&format!("/{carried}")) {
            return below(key, carried);
        }
        is_at_top.then_some(key)
    }

    fn has_bucket(&self, bucket: &str) -> bool {
        [&self.recorded_bucket, &self.bucket].into_iter().flatten().any(|known| known == bucket)
    }

    fn outside(&self, path: &str) -> LayoutError {
        let root = self.recorded.as_deref().unwrap_or(&self.actual);
        let root = if self.is_bundle { join(root, BUNDLE_FOLDER) } else { root.to_owned() };
        LayoutError::OutsideRoot {
            key: shown(path),
            root: shown(&root),
            bucket: self.bucket.clone().unwrap_or_default(),
        }
    }
}

/// What a manifest's path carries before `snapshots/`.
fn root_of_manifest(key: &str) -> &str {
    let tail = manifest_ids(key).map(manifest_key).unwrap_or_default();
    key.strip_suffix(tail.as_str()).unwrap_or(key).trim_end_matches('/')
}

/// What stands before the first keyword of the layout.
fn before_keyword(key: &str) -> &str {
    let mut at = 0;
    for part in key.split('/') {
        if KEYWORDS.contains(&part) {
            return key[..at].trim_end_matches('/');
        }
        at += part.len() + 1;
    }
    ""
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
    use ferry_objects::Stores;
    use serde_json::json;

    use super::*;

    fn roots(s3_location: &str, listed: &str, found: &str, layout: &str) -> Roots {
        let metadata = Metadata::parse(
            json!({
                "snapshot_info": {"id": 2, "collection_id": 1, "s3_location": s3_location},
                "collection": {},
                "manifest_list": [format!("{listed}snapshots/1/manifests/2/3.avro")],
                "layout": layout,
            })
            .to_string()
            .as_bytes(),
        );
        Roots::new(&metadata.unwrap(), &Stores::new().open(found).unwrap())
    }

    fn referenced(s3_location: &str, listed: &str, found: &str) -> Roots {
        roots(s3_location, listed, found, "SnapshotLayoutReferenced")
    }

    fn bundle(s3_location: &str, listed: &str, found: &str) -> Roots {
        roots(s3_location, listed, found, "SnapshotLayoutSelfContained")
    }

    const METADATA: &str = "snapshots/1/metadata/2.json";

    #[test]
    fn a_key_finds_its_place_whatever_root_it_carries() {
        let own = referenced(&format!("files/{METADATA}"), "files/", "memory:///files");
        let moved = referenced(&format!("s3://bucket/files/{METADATA}"), "files/", "memory:///data/copy");
        let pending = referenced("", "files/", "memory:///data/copy");
        let silent = referenced("", "", "memory:///data/files");
        for (roots, path, expected) in [
            (&own, "files/insert_log/1", "insert_log/1"),
            (&own, "insert_log/1", "insert_log/1"),
            (&moved, "files/insert_log/1", "insert_log/1"),
            (&moved, "s3://bucket/files/insert_log/1", "insert_log/1"),
            (&pending, "files/insert_log/1", "insert_log/1"),
            (&silent, "files/insert_log/1", "insert_log/1"),
            (&silent, "data/files/insert_log/1", "insert_log/1"),
            (&silent, "sub/insert_log/1", "sub/insert_log/1"),
        ] {
            assert_eq!(roots.key_of(path).expect(path), expected, "{path}");
        }
        for (roots, path) in [
            (&own, "other/insert_log/1"),
            (&moved, "s3://other/files/insert_log/1"),
            (&own, "/etc/insert_log/1"),
            (&pending, "files/../insert_log/1"),
        ] {
            let error = roots.key_of(path).expect_err(path);
            assert!(error.to_string().contains("insert_log/1"), "{error}");
        }
    }

    #[test]
    fn an_absolute_path_of_a_local_disk_is_below_the_root_that_it_was_written_or_found_under() {
        let local = referenced("", "/var/lib/milvus/data/", "file:///mnt/copy");
        for path in ["/var/lib/milvus/data/insert_log/1", "/mnt/copy/insert_log/1", "insert_log/1"] {
            assert_eq!(local.key_of(path).expect(path), "insert_log/1", "{path}");
        }
        assert!(local.key_of("/etc/insert_log/1").is_err());
        let trap = referenced("", "/insert_log/data/", "file:///mnt/copy");
        assert_eq!(trap.key_of("/insert_log/data/insert_log/1").unwrap(), "insert_log/1");
    }

    #[test]
    fn a_bundle_keeps_its_data_in_one_folder_wherever_it_lies() {
        let own = bundle(&format!("minio://127.0.0.1:9000/bkt/b/u1/{METADATA}"), "b/u1/", "memory:///b/u1");
        let moved = bundle(&format!("b/u1/{METADATA}"), "b/u1/", "memory:///restored/x");
        let at_top = bundle(METADATA, "", "memory:///here");
        for (roots, path) in [
            (&own, "b/u1/files/insert_log/1"),
            (&own, "s3://bkt/b/u1/files/insert_log/1"),
            (&moved, "b/u1/files/insert_log/1"),
            (&moved, "restored/x/files/insert_log/1"),
            (&at_top, "files/insert_log/1"),
        ] {
            assert_eq!(roots.key_of(path).expect(path), "files/insert_log/1", "{path}");
        }
        for (roots, path) in [
            (&own, "b/u1/insert_log/1"),
            (&own, "files/insert_log/1"),
            (&moved, "b/u2/files/insert_log/1"),
            (&at_top, "insert_log/1"),
            (&at_top, "b/files/insert_log/1"),
        ] {
            let error = roots.key_of(path).expect_err(path).to_string();
            assert!(error.contains(path) && error.contains("files"), "{error}");
        }
    }

    #[test]
    fn a_base_path_may_begin_with_the_name_of_the_bucket() {
        let local = referenced("", "files/", "file:///mnt/files");
        assert_eq!(local.folder_of("a-bucket/files/insert_log/1").unwrap(), "insert_log/1");
        assert_eq!(local.folder_of("files/insert_log/1").unwrap(), "insert_log/1");
        let moved = Roots { bucket: Some("b2".to_owned()), ..local.clone() };
        assert_eq!(moved.folder_of("a-bucket/files/insert_log/1").unwrap(), "insert_log/1");
        let error = local.folder_of("a-bucket/other/insert_log/1").unwrap_err().to_string();
        assert!(error.contains("a-bucket/other"), "{error}");
    }
}
