//! Which files a segment consists of, by its manifest: every key is plain, where Milvus puts such files, and of this
//! very segment.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde::Deserialize;
use thiserror::Error;

use crate::checksums::{Checksum, Checksums};
use crate::failure::Class;
use crate::key::{join, shown};
use crate::layout::{FileKind, LayoutError, LayoutKey};
use crate::location::StoreError;
use crate::manifest::{LEVEL_ZERO, Manifest};
use crate::snapshot::{ReadError, Snapshot};

/// One file of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// What it holds.
    pub kind: FileKind,
    /// Its key below the snapshot's root.
    pub key: String,
    /// The size that the manifest gives: the object may be larger, never shorter. Absent: unknown.
    pub declared_size_bytes: Option<u64>,
    /// Its exact size and CRC, when the snapshot has checksums.
    pub checksum: Option<Checksum>,
}

impl SourceFile {
    /// Whether an object of `size_bytes` can be this file; the message says what is wrong with it.
    pub fn check_size(&self, size_bytes: u64) -> Result<(), String> {
        check_size(self.checksum, self.declared_size_bytes, size_bytes)
    }
}

/// The checksum's size is exact; the manifest's is a lower bound, as old writers rounded it or left it out.
pub(crate) fn check_size(checksum: Option<Checksum>, declared: Option<u64>, size_bytes: u64) -> Result<(), String> {
    match (checksum.map(|checksum| checksum.size_bytes), declared) {
        (Some(exact), _) if exact != size_bytes => {
            Err(format!("it has {size_bytes} bytes, not the {exact} of its checksum; it was altered"))
        }
        (None, Some(declared)) if size_bytes < declared => {
            Err(format!("it has {size_bytes} bytes, fewer than the {declared} of its manifest; it was cut off"))
        }
        _ => Ok(()),
    }
}

/// All files of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFiles {
    /// The files, in the order of the manifest.
    pub files: Vec<SourceFile>,
    /// Rows of the segment.
    pub rows: i64,
    /// Bytes of all files as far as the snapshot tells; the objects' own sizes are the truth.
    pub bytes: u64,
}

/// Why a segment's files cannot be told.
#[derive(Debug, Error)]
pub enum FilesError {
    /// Its manifest or the checksums cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not list them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key is not where such a file belongs.
    #[error("segment {segment_id}: {source}")]
    Layout {
        /// The segment.
        segment_id: i64,
        /// What is wrong.
        source: LayoutError,
    },
    /// A key names other ids than the manifest.
    #[error("segment {segment_id}: the key {key} belongs to {what} {found}, not {expected}; take the snapshot again")]
    ForeignFile {
        /// The segment.
        segment_id: i64,
        /// The key.
        key: String,
        /// Which id differs.
        what: &'static str,
        /// What the key says.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// A key is listed twice.
    #[error("segment {segment_id}: the key {key} is listed twice; take the snapshot again")]
    Duplicate {
        /// The segment.
        segment_id: i64,
        /// The key.
        key: String,
    },
    /// Nothing to copy.
    #[error("segment {0} has no insert logs, no delta logs and no storage manifest; take the snapshot again")]
    NoFiles(i64),
    /// The files do not hold the rows that the manifest promises.
    #[error(
        "segment {segment_id}: its insert logs hold {in_files} rows, but num_of_rows is {declared}; take the snapshot again"
    )]
    Rows {
        /// The segment.
        segment_id: i64,
        /// The sum over one field's files.
        in_files: i64,
        /// The manifest's number.
        declared: i64,
    },
    /// No number of rows.
    #[error("segment {segment_id}: num_of_rows is {declared}; take the snapshot again")]
    NegativeRows {
        /// The segment.
        segment_id: i64,
        /// The manifest's number.
        declared: i64,
    },
    /// A storage manifest that cannot be understood.
    #[error(
        "segment {segment_id}: the storage manifest {manifest} names no folder of the segment; take the snapshot again"
    )]
    StorageManifest {
        /// The segment.
        segment_id: i64,
        /// What the metadata says.
        manifest: String,
    },
}

impl FilesError {
    /// What a caller should do about it.
    pub fn class(&self) -> Class {
        match self {
            FilesError::Read(error) => error.class(),
            FilesError::Store(error) => error.class(),
            FilesError::Layout { .. }
            | FilesError::ForeignFile { .. }
            | FilesError::Duplicate { .. }
            | FilesError::NoFiles(_)
            | FilesError::Rows { .. }
            | FilesError::NegativeRows { .. }
            | FilesError::StorageManifest { .. } => Class::Permanent,
        }
    }
}

impl Snapshot {
    /// The files of a segment whose manifest has been read.
    pub async fn files(&self, manifest: &Manifest) -> Result<SegmentFiles, FilesError> {
        let checksums = self.checksums(manifest.segment_id).await?;
        let mut files = Gatherer::new(self, manifest, checksums.as_ref());
        files.take_listed()?;
        if let Some(storage) = self.storage_manifest(manifest.segment_id) {
            files.take_stored(storage).await?;
        }
        let has_rows = files.found.iter().any(|file| matches!(file.kind, FileKind::Insert | FileKind::Delta));
        if !has_rows {
            return Err(FilesError::NoFiles(manifest.segment_id));
        }
        let bytes = bytes(manifest, &files.found);
        Ok(SegmentFiles { files: files.found, rows: rows(manifest)?, bytes })
    }
}

/// The rows of a segment, checked against its files when they are listed.
fn rows(manifest: &Manifest) -> Result<i64, FilesError> {
    let (segment_id, declared) = (manifest.segment_id, manifest.num_of_rows);
    match manifest.rows_in_files() {
        _ if declared < 0 => Err(FilesError::NegativeRows { segment_id, declared }),
        Some(in_files) if in_files != declared => Err(FilesError::Rows { segment_id, in_files, declared }),
        Some(in_files) => Ok(in_files),
        // A segment of deletions has no rows, whatever its manifest counts.
        None if manifest.segment_level == LEVEL_ZERO => Ok(0),
        None => Ok(declared),
    }
}

/// The sum of what is known: exact sizes, else the manifest's per file, else its sums per index.
fn bytes(manifest: &Manifest, files: &[SourceFile]) -> u64 {
    let exact = |file: &SourceFile| file.checksum.map(|checksum| checksum.size_bytes).or(file.declared_size_bytes);
    let known: u64 = files.iter().filter_map(exact).sum();
    if files.iter().all(|file| exact(file).is_some()) {
        return known;
    }
    let indexes = manifest.index_files.iter().map(|index| index.serialized_size);
    let texts = manifest.text_index_files.iter().map(|index| index.stats.log_size);
    let jsons = manifest.json_key_index_files.iter().map(|index| index.stats.log_size);
    let by_sums: u64 = indexes.chain(texts).chain(jsons).filter_map(|size| u64::try_from(size).ok()).sum();
    let known_indexes: u64 = files.iter().filter(|file| is_index(file.kind)).filter_map(exact).sum();
    (known - known_indexes).saturating_add(by_sums.max(known_indexes))
}

fn is_index(kind: FileKind) -> bool {
    match kind {
        FileKind::Index | FileKind::TextIndex | FileKind::JsonIndex => true,
        FileKind::Insert | FileKind::Delta | FileKind::Stats | FileKind::Bm25 | FileKind::Lob => false,
    }
}

struct Gatherer<'a> {
    snapshot: &'a Snapshot,
    manifest: &'a Manifest,
    checksums: Option<&'a Checksums>,
    collection: String,
    partition: String,
    segment: String,
    seen: BTreeSet<String>,
    found: Vec<SourceFile>,
}

impl<'a> Gatherer<'a> {
    fn new(snapshot: &'a Snapshot, manifest: &'a Manifest, checksums: Option<&'a Checksums>) -> Gatherer<'a> {
        Gatherer {
            snapshot,
            manifest,
            checksums,
            collection: snapshot.collection_id().to_string(),
            partition: manifest.partition_id.to_string(),
            segment: manifest.segment_id.to_string(),
            seen: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    fn take_listed(&mut self) -> Result<(), FilesError> {
        for (kind, fields) in self.manifest.binlogs() {
            for log in fields.iter().flat_map(|field| &field.binlogs).filter(|log| !log.log_path.is_empty()) {
                let size_bytes = u64::try_from(log.log_size).ok().filter(|size| *size > 0);
                self.take(kind, &log.log_path, size_bytes, 0)?;
            }
        }
        for index in &self.manifest.index_files {
            self.take_all(FileKind::Index, &index.index_file_paths, index.build_id)?;
        }
        for index in &self.manifest.text_index_files {
            self.take_all(FileKind::TextIndex, &index.stats.files, index.stats.build_id)?;
        }
        for index in &self.manifest.json_key_index_files {
            self.take_all(FileKind::JsonIndex, &index.stats.files, index.stats.build_id)?;
        }
        Ok(())
    }

    fn take_all(&mut self, kind: FileKind, paths: &[String], build_id: i64) -> Result<(), FilesError> {
        paths.iter().filter(|path| !path.is_empty()).try_for_each(|path| self.take(kind, path, None, build_id))
    }

    fn take(
        &mut self,
        kind: FileKind,
        path: &str,
        declared_size_bytes: Option<u64>,
        build_id: i64,
    ) -> Result<(), FilesError> {
        let (kind, key) = self.own_key(kind, path, build_id)?;
        if !self.seen.insert(key.clone()) {
            return Err(FilesError::Duplicate { segment_id: self.manifest.segment_id, key: shown(&key) });
        }
        let checksum = self.checksums.and_then(|checksums| checksums.objects.get(&key).copied());
        self.found.push(SourceFile { kind, key, declared_size_bytes, checksum });
        Ok(())
    }

    /// The key below the root, after its ids were compared with the manifest's.
    fn own_key(&self, kind: FileKind, path: &str, build_id: i64) -> Result<(FileKind, String), FilesError> {
        let layout = |source| FilesError::Layout { segment_id: self.manifest.segment_id, source };
        let key = self.snapshot.roots().key_of(path).map_err(layout)?;
        let parsed = LayoutKey::parse(key, kind).map_err(layout)?;
        let ids = parsed.ids();
        let build = (build_id != 0).then(|| build_id.to_string());
        for (what, found, expected) in [
            ("collection", ids.collection, Some(self.collection.as_str())),
            ("partition", Some(ids.partition), Some(self.partition.as_str())),
            ("segment", ids.segment, Some(self.segment.as_str())),
            ("index build", ids.build, build.as_deref()),
        ] {
            if let (Some(found), Some(expected)) = (found, expected)
                && found != expected
            {
                let (found, expected) = (found.to_owned(), expected.to_owned());
                let (segment_id, key) = (self.manifest.segment_id, shown(key));
                return Err(FilesError::ForeignFile { segment_id, key, what, found, expected });
            }
        }
        let below = self.snapshot.roots().resolve(key, &parsed.root()).map_err(layout)?;
        Ok((parsed.kind(), below.to_owned()))
    }

    /// Segments of the newest storage format list no files; what lies in their folder is theirs, and the large
    /// values of their partition belong to them as to their siblings.
    async fn take_stored(&mut self, storage: &str) -> Result<(), FilesError> {
        let malformed =
            || FilesError::StorageManifest { segment_id: self.manifest.segment_id, manifest: shown(storage) };
        let packed: Option<PackedManifest> = serde_json::from_str(storage).ok();
        let path = match &packed {
            Some(packed) => join(&packed.base_path, "_metadata"),
            None => storage.to_owned(),
        };
        let (_, key) = self.own_key(FileKind::Insert, &path, 0)?;
        let lists_rows = self.found.iter().any(|file| file.kind == FileKind::Insert);
        if packed.is_none() && !self.seen.contains(&key) {
            self.take(FileKind::Insert, storage, None, 0)?;
        }
        if packed.is_none() && lists_rows {
            return Ok(());
        }
        let parsed = LayoutKey::parse(&key, FileKind::Insert).map_err(|_| malformed())?;
        let partition = join(&parsed.root(), &format!("insert_log/{}/{}", self.collection, self.partition));
        for folder in [self.segment.clone(), "lobs".to_owned()] {
            self.take_folder(&join(&partition, &folder)).await?;
        }
        Ok(())
    }

    async fn take_folder(&mut self, folder: &str) -> Result<(), FilesError> {
        let mut objects: Vec<_> = match self.snapshot.location().list(folder)?.try_collect().await {
            Ok(objects) => objects,
            Err(StoreError::Missing { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        objects.sort();
        for object in objects.into_iter().filter(|object| !self.seen.contains(&object.key)).collect::<Vec<_>>() {
            self.take_object(object)?;
        }
        Ok(())
    }

    fn take_object(&mut self, object: crate::location::Object) -> Result<(), FilesError> {
        let segment_id = self.manifest.segment_id;
        let kind = LayoutKey::parse(&object.key, FileKind::Insert)
            .map_err(|source| FilesError::Layout { segment_id, source })?
            .kind();
        let checksum = self.checksums.and_then(|checksums| checksums.objects.get(&object.key).copied());
        self.seen.insert(object.key.clone());
        self.found.push(SourceFile { kind, key: object.key, declared_size_bytes: Some(object.size_bytes), checksum });
        Ok(())
    }
}

/// A storage manifest that names the folder of its segment.
#[derive(Deserialize)]
struct PackedManifest {
    base_path: String,
}
