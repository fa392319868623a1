//! The gathering of one segment's files: each key once, after its ids were compared with the manifest's.

use std::collections::BTreeSet;

use ferry_objects::{Checksum, shown};

use super::{FilesError, SourceFile};
use crate::checksums::Checksums;
use crate::layout::{FileKind, LayoutKey};
use crate::manifest::Manifest;
use crate::snapshot::Snapshot;

/// What has been found of a segment so far.
pub(super) struct Gatherer<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) manifest: &'a Manifest,
    pub(super) found: Vec<SourceFile>,
    checksums: Option<&'a Checksums>,
    collection: String,
    partition: String,
    segment: String,
    seen: BTreeSet<String>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        manifest: &'a Manifest,
        checksums: Option<&'a Checksums>,
    ) -> Gatherer<'a> {
        Gatherer {
            snapshot,
            manifest,
            found: Vec::new(),
            checksums,
            collection: snapshot.collection_id().to_string(),
            partition: manifest.partition_id.to_string(),
            segment: manifest.segment_id.to_string(),
            seen: BTreeSet::new(),
        }
    }

    /// Takes a file that the manifest names.
    pub(super) fn take(
        &mut self,
        kind: FileKind,
        path: &str,
        declared_size_bytes: Option<u64>,
        build_id: i64,
    ) -> Result<(), FilesError> {
        let key = self.own_key(kind, path, build_id)?;
        if !self.seen.insert(key.clone()) {
            return Err(FilesError::Duplicate { segment_id: self.manifest.segment_id, key: shown(&key) });
        }
        self.add(kind, key, declared_size_bytes);
        Ok(())
    }

    /// Takes a file that was found where only the segment's own files lie, unless it has been taken.
    pub(super) fn take_found(&mut self, kind: FileKind, key: String, size_bytes: Option<u64>) {
        if self.seen.insert(key.clone()) {
            self.add(kind, key, size_bytes);
        }
    }

    /// Whether the object has been taken.
    pub(super) fn has_taken(&self, key: &str) -> bool {
        self.seen.contains(key)
    }

    fn add(&mut self, kind: FileKind, key: String, declared_size_bytes: Option<u64>) {
        let checksum: Option<Checksum> = self.checksums.and_then(|checksums| checksums.objects.get(&key).copied());
        self.found.push(SourceFile { kind, key, declared_size_bytes, checksum });
    }

    /// The key of a path below the root, after its ids were compared with the manifest's.
    fn own_key(&self, kind: FileKind, path: &str, build_id: i64) -> Result<String, FilesError> {
        let segment_id = self.manifest.segment_id;
        let layout = |source| FilesError::Layout { segment_id, source };
        let key = self.snapshot.roots().key_of(path).map_err(layout)?;
        let parsed = LayoutKey::parse(&key, kind).map_err(layout)?;
        match self.foreign_id(&parsed, build_id) {
            Some((what, found, expected)) => {
                let found = found.to_owned();
                Err(FilesError::ForeignFile { segment_id, key: shown(&key), what, found, expected })
            }
            None => Ok(key),
        }
    }

    /// Whether a key has the ids of this segment.
    pub(super) fn is_own(&self, key: &LayoutKey<'_>) -> bool {
        self.foreign_id(key, 0).is_none()
    }

    /// The first id in a key that is not the manifest's: what it is of, what it is, what it should be.
    fn foreign_id<'k>(&self, key: &LayoutKey<'k>, build_id: i64) -> Option<(&'static str, &'k str, String)> {
        let ids = key.ids();
        // Deletions of the segments that this one was compacted into are listed with it.
        let segment = (key.kind() != FileKind::Delta).then(|| self.segment.clone());
        let build = (build_id != 0).then(|| build_id.to_string());
        [
            ("collection", ids.collection, Some(self.collection.clone())),
            ("partition", Some(ids.partition), Some(self.partition.clone())),
            ("segment", ids.segment, segment),
            ("index build", ids.build, build),
        ]
        .into_iter()
        .find_map(|(what, found, expected)| {
            let (found, expected) = (found?, expected?);
            (found != expected).then_some((what, found, expected))
        })
    }
}
