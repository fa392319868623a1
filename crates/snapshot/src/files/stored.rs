//! Segments of storage version 3 and later: what lies in the segment's folder is the segment. What its manifest lists of
//! logs, text and JSON indexes are summaries, placeholders or stale names; Milvus copies by none of them either.

use std::collections::BTreeSet;

use ferry_objects::{Object, StoreError, check_key, join, shown};
use futures::TryStreamExt;

use super::FilesError;
use super::gather::Gatherer;
use crate::layout::{FileKind, LOB_PART, LayoutError, LayoutKey};
use crate::storage_entries::EntryError;
use crate::storage_manifest::{self, Contents, STORAGE_MANIFEST_BYTES_MAX};

impl Gatherer<'_> {
    /// Takes the segment's folder, the large values that its storage manifest names, and its vector and scalar indexes.
    pub(super) async fn take_stored(&mut self) -> Result<(), FilesError> {
        let (folder, version) = self.folder()?;
        let objects = self.list(&folder).await?;
        let contents = self.contents(&folder, version).await?;
        self.check_stored(&folder, &objects, &contents)?;
        for object in objects {
            self.take_found(FileKind::Insert, object.key, Some(object.size_bytes));
        }
        self.take_large_values(&folder, &contents)?;
        for index in &self.manifest.index_files {
            for path in index.index_file_paths.iter().filter(|path| !path.is_empty()) {
                self.take_index(path, &folder, index.build_id)?;
            }
        }
        Ok(())
    }

    /// An index lies in the segment's folder, with which it was taken if it is there, or beside it.
    fn take_index(&mut self, path: &str, folder: &str, build_id: i64) -> Result<(), FilesError> {
        match self.key_below(path, folder) {
            None => self.take(FileKind::Index, path, None, build_id),
            Some(key) if self.has_taken(&key) => Ok(()),
            Some(key) => Err(FilesError::NotStored {
                segment_id: self.manifest.segment_id,
                rows: self.manifest.num_of_rows,
                missing: self.snapshot.location().object_uri(&key),
            }),
        }
    }

    /// The segment's folder and the version of its storage manifest.
    fn folder(&self) -> Result<(String, u64), FilesError> {
        let manifest = self.manifest;
        let segment_id = manifest.segment_id;
        let entry = match self.snapshot.storage_manifest(segment_id) {
            Some(Ok(entry)) => entry,
            Some(Err(EntryError::Malformed(text))) => {
                return Err(FilesError::StorageManifestEntry { segment_id, manifest: shown(&text) });
            }
            Some(Err(EntryError::Layout(source))) => return Err(FilesError::Layout { segment_id, source }),
            None => {
                let (storage_version, rows) = (manifest.storage_version, manifest.num_of_rows);
                return Err(FilesError::NoStorageManifest { segment_id, storage_version, rows });
            }
        };
        if entry.version == 0 {
            return Err(FilesError::Growing(segment_id));
        }
        let folder = entry.base_path;
        let malformed = || FilesError::StorageManifestEntry { segment_id, manifest: shown(&folder) };
        // Taken apart as a file of the folder, since a key that ends with an id names none.
        let file = join(&folder, "_metadata");
        let parsed = LayoutKey::parse(&file, FileKind::Insert).map_err(|_| malformed())?;
        if parsed.tail() != ["_metadata"] || !self.is_own(&parsed) {
            return Err(malformed());
        }
        Ok((folder, entry.version))
    }

    async fn list(&self, folder: &str) -> Result<Vec<Object>, FilesError> {
        let mut objects: Vec<Object> = match self.snapshot.location().list(folder)?.try_collect().await {
            Ok(objects) => objects,
            Err(StoreError::Missing { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        objects.sort();
        Ok(objects)
    }

    async fn contents(&self, folder: &str, version: u64) -> Result<Contents, FilesError> {
        let (segment_id, location) = (self.manifest.segment_id, self.snapshot.location());
        let key = join(folder, &storage_manifest::key_of(version));
        let content = location.read(&key, STORAGE_MANIFEST_BYTES_MAX).await.map_err(|error| match error {
            StoreError::Missing { uri } => {
                FilesError::NotStored { segment_id, rows: self.manifest.num_of_rows, missing: uri }
            }
            error => error.into(),
        })?;
        Contents::read(&content).map_err(|source| FilesError::StorageManifest {
            segment_id,
            uri: location.object_uri(&key),
            source,
        })
    }

    /// Rows must be where the storage manifest says; those of an external table lie elsewhere.
    fn check_stored(&self, folder: &str, objects: &[Object], contents: &Contents) -> Result<(), FilesError> {
        if self.snapshot.schema().is_external() {
            return Ok(());
        }
        let (segment_id, rows) = (self.manifest.segment_id, self.manifest.num_of_rows);
        let missing = |missing: String| Err(FilesError::NotStored { segment_id, rows, missing });
        if rows > 0 && !contents.has_rows() {
            return missing("any file with rows in its storage manifest".to_owned());
        }
        let there: BTreeSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        let named = contents.rows_and_deletions().map(|key| join(folder, &key));
        match named.into_iter().find(|key| !there.contains(key.as_str())) {
            Some(key) => missing(self.snapshot.location().object_uri(&key)),
            None => Ok(()),
        }
    }

    /// Large values lie beside the segments of a partition; those that this segment does not name may vanish at any time.
    /// The storage manifest is copied as it is, so that a whole key in it would name the source's value in the copy, too.
    fn take_large_values(&mut self, folder: &str, contents: &Contents) -> Result<(), FilesError> {
        let segment_id = self.manifest.segment_id;
        let partition = folder.rsplit_once('/').map_or("", |(partition, _)| partition);
        for path in contents.large_values() {
            if path.contains("://") || path.starts_with('/') || path.split('/').any(|part| part == "insert_log") {
                return Err(FilesError::LargeValue { segment_id, path: shown(path) });
            }
            let key = join(partition, &join(LOB_PART, path));
            check_key(&key).map_err(|error| FilesError::Layout { segment_id, source: LayoutError::Key(error) })?;
            self.take_found(FileKind::Lob, key, None);
        }
        Ok(())
    }

    /// The key of a path in the folder; none of any other path.
    fn key_below(&self, path: &str, folder: &str) -> Option<String> {
        let key = self.snapshot.roots().key_of(path).ok()?;
        let is_below = key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        is_below.then_some(key)
    }
}
