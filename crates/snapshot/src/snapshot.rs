//! An opened snapshot: its checked metadata, pinned by length and CRC, and its manifests, each read when asked for.

mod open;

use bytes::Bytes;
use ferry_objects::{Checksum, Class, Location, StoreError, Stores};
use thiserror::Error;

use crate::checksums::{Checksums, ChecksumsError};
use crate::manifest::{Manifest, ManifestError};
use crate::metadata::{Metadata, MetadataError};
use crate::paths::{self, ManifestIds};
use crate::roots::Roots;
use crate::schema::Schema;
use crate::storage_entries::{EntryError, StorageEntries};
use crate::storage_manifest::Entry;
pub use open::OpenError;
pub(crate) use open::Unparsed;

/// The largest manifest or checksum file that is read.
const SEGMENT_FILE_BYTES_MAX: u64 = 256 << 20;

/// Why a part of an opened snapshot cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The snapshot has no such segment.
    #[error("the snapshot {uri} has no segment {segment_id}; see `ferry snapshot inspect` for those it has")]
    NoSegment {
        /// The snapshot.
        uri: String,
        /// The segment.
        segment_id: i64,
    },
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manifest has changed since it was pinned.
    #[error(
        "the manifest {uri} has changed since the task's targets were claimed: it has {found}, where it had {pinned}; \
         restore it, or take the snapshot again"
    )]
    Altered {
        /// The manifest.
        uri: String,
        /// What it was.
        pinned: Checksum,
        /// What it is.
        found: Checksum,
    },
    /// The manifest is not good.
    #[error("the manifest {uri} is bad: {source}; take the snapshot again")]
    Manifest {
        /// The manifest.
        uri: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The checksum file is not good.
    #[error("the checksum file {uri} is bad: {source}")]
    Checksums {
        /// The file.
        uri: String,
        /// What is wrong with it.
        source: ChecksumsError,
    },
}

impl ReadError {
    /// What a caller should do about it.
    pub fn class(&self) -> Class {
        match self {
            ReadError::Store(error) => error.class(),
            ReadError::NoSegment { .. }
            | ReadError::Altered { .. }
            | ReadError::Manifest { .. }
            | ReadError::Checksums { .. } => Class::Permanent,
        }
    }
}

/// A segment's files of the snapshot as their store gave them.
pub(crate) struct Unread {
    pub(crate) manifest: Result<Bytes, StoreError>,
    pub(crate) checksums: Result<Bytes, StoreError>,
}

/// A snapshot whose metadata has been read and checked.
#[derive(Debug)]
pub struct Snapshot {
    location: Location,
    metadata_key: String,
    pin: Checksum,
    metadata: Metadata,
    /// The metadata's size as JSON, without its lists.
    schema_bytes: u64,
    schema: Schema,
    segment_ids: Vec<i64>,
    storage_entries: StorageEntries,
    build_ids: Vec<i64>,
    roots: Roots,
}

impl Snapshot {
    /// Opens the snapshot at `uri`: a metadata file, or a place with exactly one below it.
    pub async fn open(stores: &Stores, uri: &str) -> Result<Snapshot, OpenError> {
        Snapshot::open_if(stores, uri, None).await
    }

    /// Opens the snapshot at `uri` if its metadata is still what it was when `pin` was taken.
    pub async fn open_pinned(stores: &Stores, uri: &str, pin: Checksum) -> Result<Snapshot, OpenError> {
        Snapshot::open_if(stores, uri, Some(pin)).await
    }

    async fn open_if(stores: &Stores, uri: &str, wanted: Option<Checksum>) -> Result<Snapshot, OpenError> {
        let unparsed = Unparsed::read(stores, uri).await?;
        // The pin decides before the content does: an altered file need not be well formed.
        if wanted.is_some_and(|wanted| wanted != unparsed.pin()) {
            return Err(OpenError::Altered(unparsed.uri()));
        }
        unparsed.parse().await
    }

    fn parse(
        location: Location,
        metadata_key: String,
        pin: Checksum,
        content: &[u8],
    ) -> Result<Snapshot, MetadataError> {
        let (mut metadata, manifests) = Metadata::parse_with_manifests(content)?;
        if let Some((_, ids)) = paths::metadata_ids(&metadata_key) {
            let info = &metadata.snapshot_info;
            same("snapshot_info.collection_id", info.collection_id, ids.collection_id)?;
            same("snapshot_info.id", info.id, ids.snapshot_id)?;
        }
        let roots = Roots::new(&metadata, &location);
        manifests.values().try_for_each(|key| roots.check_manifest_key(key))?;
        let collection_id = metadata.snapshot_info.collection_id;
        let storage_entries = StorageEntries::new(collection_id, &metadata.storagev2_manifest_list, &roots);
        let mut build_ids = std::mem::take(&mut metadata.build_ids);
        build_ids.sort_unstable();
        build_ids.dedup();
        // What a large snapshot lists for each segment is kept in a small form, or follows from the segment's id.
        metadata.manifest_list = Vec::new();
        metadata.storagev2_manifest_list = Vec::new();
        metadata.segment_ids = Vec::new();
        Ok(Snapshot {
            location,
            metadata_key,
            pin,
            schema: Schema::of(&metadata.collection.schema),
            schema_bytes: metadata.to_json().len() as u64,
            segment_ids: manifests.into_keys().collect(),
            storage_entries,
            metadata,
            build_ids,
            roots,
        })
    }

    /// The root of the tree that the snapshot's keys are relative to.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The key of the metadata file below the root.
    pub fn metadata_key(&self) -> &str {
        &self.metadata_key
    }

    /// The URI of the metadata file; it opens this very snapshot.
    pub fn uri(&self) -> String {
        self.location.object_uri(&self.metadata_key)
    }

    /// The metadata, without its lists of segments, manifests and builds.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Length and CRC32C of the metadata file as it was read.
    pub fn pin(&self) -> Checksum {
        self.pin
    }

    /// How much memory it takes, roughly.
    pub fn memory_bytes(&self) -> u64 {
        let lists = (self.segment_ids.len() + self.build_ids.len()) * size_of::<i64>();
        lists as u64 + self.storage_entries.memory_bytes() + self.schema_bytes
    }

    /// The snapshot's id.
    pub fn snapshot_id(&self) -> i64 {
        self.metadata.snapshot_info.id
    }

    /// The collection that the snapshot was taken of.
    pub fn collection_id(&self) -> i64 {
        self.metadata.snapshot_info.collection_id
    }

    /// The ids of its segments, ascending.
    pub fn segment_ids(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        self.segment_ids.iter().copied()
    }

    /// Whether it has the segment.
    pub fn has_segment(&self, segment_id: i64) -> bool {
        self.segment_place(segment_id).is_some()
    }

    /// The segment's place in the order of the ids.
    pub fn segment_place(&self, segment_id: i64) -> Option<usize> {
        self.segment_ids.binary_search(&segment_id).ok()
    }

    /// Segments that were growing when it was taken: their files were not written yet.
    pub fn growing_segment_ids(&self) -> impl Iterator<Item = i64> + '_ {
        self.storage_entries.growing()
    }

    /// The segments that have their files, ascending: all but those that were growing.
    pub fn flushed_segment_ids(&self) -> impl Iterator<Item = i64> + '_ {
        let mut growing = self.growing_segment_ids().peekable();
        self.segment_ids().filter(move |id| growing.next_if_eq(id).is_none())
    }

    /// Whether the segment was growing when the snapshot was taken.
    pub fn is_growing(&self, segment_id: i64) -> bool {
        matches!(self.storage_manifest(segment_id), Some(Ok(Entry { version: 0, .. })))
    }

    /// The key of a segment's manifest below the root.
    pub fn manifest_key(&self, segment_id: i64) -> String {
        paths::manifest_key(self.manifest_ids(segment_id))
    }

    /// The ids of its index builds, ascending, each once: a build's rank here gives its new id.
    pub fn build_ids(&self) -> &[i64] {
        &self.build_ids
    }

    /// Reads and checks the manifest of one segment, and no other.
    pub async fn manifest(&self, segment_id: i64) -> Result<Manifest, ReadError> {
        if !self.has_segment(segment_id) {
            return Err(ReadError::NoSegment { uri: self.uri(), segment_id });
        }
        let content = self.location.read(&self.manifest_key(segment_id), SEGMENT_FILE_BYTES_MAX).await;
        self.decode_manifest(segment_id, content, None).map(|(manifest, _)| manifest)
    }

    /// The manifests and checksums of the first of these segments as their store gives them: of one at least, and of as
    /// many more as fit into some memory.
    pub(crate) async fn read_segments(&self, segment_ids: &[i64]) -> Vec<Unread> {
        let keys = segment_ids.iter().flat_map(|id| [self.manifest_key(*id), self.checksums_key(*id)]).collect();
        let mut read = self.location.read_first(keys, 2, SEGMENT_FILE_BYTES_MAX).await.into_iter();
        let mut segments = Vec::with_capacity(segment_ids.len());
        while let (Some(manifest), Some(checksums)) = (read.next(), read.next()) {
            segments.push(Unread { manifest, checksums });
        }
        debug_assert!(!segments.is_empty() || segment_ids.is_empty(), "the first segment has both its answers");
        segments
    }

    /// The manifest, with what it is pinned by, if it is still what it was when it was pinned before.
    pub(crate) fn decode_manifest(
        &self,
        segment_id: i64,
        content: Result<Bytes, StoreError>,
        pinned: Option<Checksum>,
    ) -> Result<(Manifest, Checksum), ReadError> {
        let key = &self.manifest_key(segment_id);
        let content = content?;
        let found = Checksum::of(&content);
        // The pin decides before the content does: an altered manifest need not be well formed.
        if let Some(pinned) = pinned.filter(|pinned| *pinned != found) {
            return Err(ReadError::Altered { uri: self.location.object_uri(key), pinned, found });
        }
        let manifest = Manifest::decode(&content, self.metadata.manifest_version(), segment_id)
            .map_err(|source| ReadError::Manifest { uri: self.location.object_uri(key), source })?;
        Ok((manifest, found))
    }

    /// The checksums of a segment's objects, when it has the sidecar.
    pub async fn checksums(&self, segment_id: i64) -> Result<Option<Checksums>, ReadError> {
        let content = self.location.read(&self.checksums_key(segment_id), SEGMENT_FILE_BYTES_MAX).await;
        self.parse_checksums(segment_id, content)
    }

    pub(crate) fn parse_checksums(
        &self,
        segment_id: i64,
        content: Result<Bytes, StoreError>,
    ) -> Result<Option<Checksums>, ReadError> {
        match content {
            Ok(content) => {
                let uri = self.location.object_uri(&self.checksums_key(segment_id));
                Checksums::parse(&content).map(Some).map_err(|source| ReadError::Checksums { uri, source })
            }
            Err(StoreError::Missing { .. }) => Ok(None),
            // Where listing is not allowed, stores say so of an object that is not there; the manifest beside it was read.
            Err(error) if self.location.local_root().is_none() && error.may_be_missing() => {
                tracing::warn!(segment_id, %error, "taken for absent: a checksum file that may not be seen");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn checksums_key(&self, segment_id: i64) -> String {
        paths::checksums_key(self.manifest_ids(segment_id))
    }

    fn manifest_ids(&self, segment_id: i64) -> ManifestIds {
        ManifestIds { collection_id: self.collection_id(), snapshot_id: self.snapshot_id(), segment_id }
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where a segment's storage manifest lies, if it has one; its folder is a key below the root.
    pub(crate) fn storage_manifest(&self, segment_id: i64) -> Option<Result<Entry, EntryError>> {
        self.storage_entries.of(segment_id, &self.roots)
    }
}

fn same(field: &'static str, inside: i64, path: i64) -> Result<(), MetadataError> {
    if inside == path { Ok(()) } else { Err(MetadataError::Misplaced { field, inside, path }) }
}
