//! How a snapshot is found and opened: by its metadata file, or by a place with exactly one below it.

use bytes::Bytes;
use ferry_objects::{Checksum, Class, Location, StoreError, Stores, UriError, blocking, join};
use thiserror::Error;

use crate::metadata::MetadataError;
use crate::paths;
use crate::snapshot::Snapshot;

/// The largest metadata file that is read: room for ten million segments.
const METADATA_BYTES_MAX: u64 = 2 << 30;
/// How many of several snapshots an error names.
const NAMED_MAX: usize = 5;

/// Why a snapshot cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URI names no place.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A `.json` file elsewhere.
    #[error(
        "{0} is not at snapshots/{{collection}}/metadata/{{snapshot}}.json; name the metadata file where its writer put it"
    )]
    NotAMetadataKey(String),
    /// No snapshot below the prefix.
    #[error(
        "there is no snapshots/*/metadata/*.json below {0}; name the snapshot's metadata file or the root above 'snapshots'"
    )]
    None(String),
    /// More than one snapshot below the prefix.
    #[error("there are {count} snapshots below {uri}; name one of them: {names}")]
    Several {
        /// The prefix.
        uri: String,
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// The file is not good.
    #[error("{uri}: {source}")]
    Metadata {
        /// The file.
        uri: String,
        /// What is wrong with it.
        source: MetadataError,
    },
    /// The file has changed since it was pinned.
    #[error("{0} has changed since the job was submitted; submit a new job")]
    Altered(String),
}

impl OpenError {
    /// What a caller should do about it.
    pub fn class(&self) -> Class {
        match self {
            // Another process may have the settings that this one lacks.
            OpenError::Uri(UriError::Store { .. }) => Class::Refused,
            OpenError::Store(error) => error.class(),
            OpenError::Uri(_)
            | OpenError::NotAMetadataKey(_)
            | OpenError::None(_)
            | OpenError::Several { .. }
            | OpenError::Metadata { .. }
            | OpenError::Altered(_) => Class::Permanent,
        }
    }
}

/// A metadata file that was found and read.
pub(crate) struct Unparsed {
    location: Location,
    metadata_key: String,
    pin: Checksum,
    content: Bytes,
}

impl Unparsed {
    pub(crate) async fn read(stores: &Stores, uri: &str) -> Result<Unparsed, OpenError> {
        let (location, metadata_key) = find(&stores.open(uri)?).await?;
        let content = location.read(&metadata_key, METADATA_BYTES_MAX).await?;
        Ok(Unparsed { location, metadata_key, pin: Checksum::of(&content), content })
    }

    pub(crate) fn uri(&self) -> String {
        self.location.object_uri(&self.metadata_key)
    }

    pub(crate) fn pin(&self) -> Checksum {
        self.pin
    }

    pub(crate) async fn parse(self) -> Result<Snapshot, OpenError> {
        let uri = self.uri();
        // A large file takes long enough to hold up everything else on the thread.
        let parse = move || Snapshot::parse(self.location, self.metadata_key, self.pin, &self.content);
        let parsed = blocking(parse).await;
        parsed.map_err(|source| OpenError::Metadata { uri, source })
    }
}

/// The root of the tree and the key of the one metadata file that `place` names.
async fn find(place: &Location) -> Result<(Location, String), OpenError> {
    if place.root().ends_with(".json") {
        let (root, ids) = paths::metadata_ids(place.root()).ok_or_else(|| OpenError::NotAMetadataKey(place.uri()))?;
        return Ok((place.with_root(&root), paths::metadata_key(ids)));
    }
    let candidates = metadata_keys(place).await?;
    match candidates.as_slice() {
        [] => Err(OpenError::None(place.uri())),
        [key] => {
            let full = join(place.root(), key);
            let (root, ids) = paths::metadata_ids(&full).ok_or_else(|| OpenError::NotAMetadataKey(place.uri()))?;
            Ok((place.with_root(&root), paths::metadata_key(ids)))
        }
        several => {
            let names: Vec<String> = several.iter().take(NAMED_MAX).map(|key| place.object_uri(key)).collect();
            let names = names.join(", ") + if several.len() > NAMED_MAX { ", ..." } else { "" };
            Err(OpenError::Several { uri: place.uri(), count: several.len(), names })
        }
    }
}

/// Keys of the metadata files below `place`, which may be a root or a folder on the way to them.
async fn metadata_keys(place: &Location) -> Result<Vec<String>, StoreError> {
    let parts: Vec<&str> = place.root().split('/').collect();
    let collections = match parts.as_slice() {
        [.., paths::FOLDER, _, "metadata"] => return json_keys(place, "").await,
        [.., paths::FOLDER, _] => vec![String::new()],
        [.., paths::FOLDER] => place.list_folder("").await?.folders,
        _ => place.list_folder(paths::FOLDER).await?.folders,
    };
    let mut keys = Vec::new();
    for collection in collections {
        keys.extend(json_keys(place, &join(&collection, "metadata")).await?);
    }
    Ok(keys)
}

async fn json_keys(place: &Location, folder: &str) -> Result<Vec<String>, StoreError> {
    let folder = place.list_folder(folder).await?;
    let keys = folder.objects.into_iter().map(|object| object.key);
    Ok(keys.filter(|key| paths::metadata_ids(&join(place.root(), key)).is_some()).collect())
}
