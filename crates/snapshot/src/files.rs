//! Which files a segment consists of. Its storage version decides: below 3 the lists of its manifest are the files, from 3
//! on what lies in its folder is. Every key is plain, where Milvus puts such files, and of this very segment.

mod gather;
mod listed;
mod stored;

use ferry_objects::{Checksum, Class, StoreError};
use thiserror::Error;

use crate::checksums::Checksums;
use crate::indexes::IndexChoice;
use crate::layout::{FileKind, LayoutError};
use crate::manifest::Manifest;
use crate::snapshot::{ReadError, Snapshot};
use crate::storage_manifest::{STORAGE_VERSION_MANIFEST, StorageManifestError};
use gather::Gatherer;

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
    /// A log that has rows and lies nowhere.
    #[error(
        "segment {segment_id}: the {kind} log {log_id} of field {field_id} has {rows} rows and no path; take the snapshot \
         again"
    )]
    NoPath {
        /// The segment.
        segment_id: i64,
        /// The kind of log.
        kind: &'static str,
        /// The field, or group of fields.
        field_id: i64,
        /// The log.
        log_id: i64,
        /// Its rows.
        rows: i64,
    },
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
    /// One field lacks rows that others have.
    #[error(
        "segment {segment_id}: the insert logs of field {field_id} hold {in_files} of its {declared} rows, and the schema \
         has no such nullable field that could have been added later; take the snapshot again"
    )]
    RowsOfField {
        /// The segment.
        segment_id: i64,
        /// The field, or group of fields.
        field_id: i64,
        /// The sum over its files.
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
    /// The metadata names no storage manifest for a segment that must have one.
    #[error(
        "segment {segment_id} has storage version {storage_version}, but the snapshot's storagev2_manifest_list names no \
         storage manifest for it, so its {rows} rows cannot be found; take the snapshot again"
    )]
    NoStorageManifest {
        /// The segment.
        segment_id: i64,
        /// Its storage version.
        storage_version: i64,
        /// Its rows.
        rows: i64,
    },
    /// An entry that cannot be understood.
    #[error(
        "segment {segment_id}: the storage manifest {manifest} names no folder of the segment; take the snapshot again"
    )]
    StorageManifestEntry {
        /// The segment.
        segment_id: i64,
        /// What the metadata says.
        manifest: String,
    },
    /// A large value that is not named by its place below the partition.
    #[error(
        "segment {segment_id}: its storage manifest names the large value {path} by a whole key, which its copy would name \
         too; take the snapshot again"
    )]
    LargeValue {
        /// The segment.
        segment_id: i64,
        /// What the storage manifest says.
        path: String,
    },
    /// A storage manifest that cannot be read.
    #[error("segment {segment_id}: the storage manifest {uri} is bad: {source}; take the snapshot again")]
    StorageManifest {
        /// The segment.
        segment_id: i64,
        /// The file.
        uri: String,
        /// What is wrong with it.
        source: StorageManifestError,
    },
    /// A segment that was growing when the snapshot was taken: only a placeholder of it was written.
    #[error(
        "segment {0} was still growing when the snapshot was taken, and has no files yet; leave it out, or flush the \
         collection and take the snapshot again"
    )]
    Growing(i64),
    /// The folder lacks what the storage manifest names, or has nothing where rows are promised.
    #[error("segment {segment_id} has {rows} rows, but {missing} is not there; restore it, or take the snapshot again")]
    NotStored {
        /// The segment.
        segment_id: i64,
        /// Its rows.
        rows: i64,
        /// What is missing.
        missing: String,
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
            | FilesError::NoPath { .. }
            | FilesError::Rows { .. }
            | FilesError::RowsOfField { .. }
            | FilesError::NegativeRows { .. }
            | FilesError::NoStorageManifest { .. }
            | FilesError::StorageManifestEntry { .. }
            | FilesError::LargeValue { .. }
            | FilesError::StorageManifest { .. }
            | FilesError::Growing(_)
            | FilesError::NotStored { .. } => Class::Permanent,
        }
    }
}

impl Snapshot {
    /// The manifest without the indexes that are not chosen. Text and JSON indexes from storage version 3 on are part of the
    /// segment's folder and stay.
    pub fn with_indexes(&self, mut manifest: Manifest, choice: &IndexChoice) -> Manifest {
        let schema = self.schema();
        manifest.index_files.retain(|index| choice.keeps(FileKind::Index, schema.is_over_vectors(index)));
        if manifest.storage_version < STORAGE_VERSION_MANIFEST {
            manifest.text_index_files.retain(|_| choice.keeps(FileKind::TextIndex, false));
            manifest.json_key_index_files.retain(|_| choice.keeps(FileKind::JsonIndex, false));
        }
        manifest
    }

    /// The files of a segment whose manifest has been read.
    pub async fn files(&self, manifest: &Manifest) -> Result<SegmentFiles, FilesError> {
        let checksums = self.checksums(manifest.segment_id).await?;
        self.files_with(manifest, checksums).await
    }

    /// The same, where its checksums have been read too.
    pub(crate) async fn files_with(
        &self,
        manifest: &Manifest,
        checksums: Option<Checksums>,
    ) -> Result<SegmentFiles, FilesError> {
        let (segment_id, declared) = (manifest.segment_id, manifest.num_of_rows);
        if declared < 0 {
            return Err(FilesError::NegativeRows { segment_id, declared });
        }
        let mut files = Gatherer::new(self, manifest, checksums.as_ref());
        let rows = if manifest.storage_version >= STORAGE_VERSION_MANIFEST {
            files.take_stored().await?;
            declared
        } else {
            files.take_listed()?;
            listed::rows(manifest, self.schema())?
        };
        let has_rows = files.found.iter().any(|file| matches!(file.kind, FileKind::Insert | FileKind::Delta));
        if !has_rows {
            return Err(FilesError::NoFiles(segment_id));
        }
        let bytes = bytes(manifest, &files.found);
        Ok(SegmentFiles { files: files.found, rows, bytes })
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
