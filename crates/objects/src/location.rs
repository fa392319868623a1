//! A place in an object store: the store and a root below which every key is resolved.
//! Nothing here reads or writes a key that `check_key` refuses.

mod copies;
mod many;

use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::checksum::Checksum;
use crate::connect::Client;
use crate::error::{Reason, StoreError};
use crate::key::{KeyError, check_key, join};
use crate::pace::Pace;
use crate::s3::S3;
use crate::uri::{ParsedUri, Scheme};
use copies::Refusals;

/// How much of a local file is read at a time.
const READ_BYTES: usize = 1 << 20;

/// One object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key below the location's root.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
}

/// One level of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys of the folders directly below, in order.
    pub folders: Vec<String>,
    /// The objects directly below, in order of their keys.
    pub objects: Vec<Object>,
}

/// A store that this process has opened, with what it has learned about it.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    store: Arc<dyn ObjectStore>,
    /// What it said to copies inside itself.
    refusals: Arc<Refusals>,
    /// For requests that the client lacks.
    s3: Option<Arc<S3>>,
    /// Whether it writes into a storage class that its settings name.
    has_storage_class: bool,
    /// Shared by the buckets of one store.
    pace: Arc<Pace>,
}

impl Opened {
    pub(crate) fn new(client: Client, pace: Arc<Pace>) -> Self {
        let Client { store, s3, storage_class } = client;
        Self { store, refusals: Arc::default(), s3: s3.map(Arc::new), has_storage_class: storage_class.is_some(), pace }
    }
}

/// A store and a root in it; keys are relative to the root.
#[derive(Clone, Debug)]
pub struct Location {
    opened: Opened,
    scheme: Scheme,
    bucket: String,
    /// What stands before the root in a URI.
    base: String,
    root: String,
    local_root: Option<PathBuf>,
}

impl Location {
    pub(crate) fn new(opened: Opened, parsed: ParsedUri) -> Location {
        let local_root = (parsed.scheme == Scheme::File).then(|| PathBuf::from(format!("/{}", parsed.path)));
        Location {
            opened,
            scheme: parsed.scheme,
            bucket: parsed.bucket,
            base: parsed.base,
            root: parsed.path,
            local_root,
        }
    }

    /// The store itself. Its paths are those of `path`, not bare keys.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.opened.store
    }

    pub(crate) fn s3(&self) -> Option<&Arc<S3>> {
        self.opened.s3.as_ref()
    }

    /// The key prefix of this place in its store; empty for the whole store.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The bucket or container; none on this machine and in memory.
    pub fn bucket(&self) -> Option<&str> {
        (!self.bucket.is_empty()).then_some(self.bucket.as_str())
    }

    pub(crate) fn is_azure(&self) -> bool {
        self.scheme == Scheme::Azure
    }

    /// The folder on this machine, when the place is one.
    pub fn local_root(&self) -> Option<&FilePath> {
        self.local_root.as_deref()
    }

    /// The URI that opens this place.
    pub fn uri(&self) -> String {
        self.uri_of(&self.root)
    }

    /// The URI of the object `key`, for messages and for opening it.
    pub fn object_uri(&self, key: &str) -> String {
        self.uri_of(&join(&self.root, key))
    }

    fn uri_of(&self, path: &str) -> String {
        let mut uri = format!("{}/", self.base);
        for character in path.chars() {
            match character {
                ' ' => uri.push_str("%20"),
                '%' => uri.push_str("%25"),
                '?' => uri.push_str("%3F"),
                '#' => uri.push_str("%23"),
                _ if character.is_control() => uri.extend(character.escape_default()),
                _ => uri.push(character),
            }
        }
        uri
    }

    /// The path of `key` in the store.
    pub fn path(&self, key: &str) -> Result<Path, StoreError> {
        check_key(key)?;
        let path = join(&self.root, key);
        Path::parse(&path).map_err(|source| StoreError::of(self.object_uri(key), &source.into()))
    }

    /// The file of `key`, when the place is on this machine.
    pub fn local_path(&self, key: &str) -> Result<Option<PathBuf>, KeyError> {
        check_key(key)?;
        Ok(self.local_root.as_ref().map(|root| root.join(key)))
    }

    /// The place `relative` below this one.
    pub fn child(&self, relative: &str) -> Result<Location, KeyError> {
        let local_root = self.local_path(relative)?;
        Ok(Location { root: join(&self.root, relative), local_root, ..self.clone() })
    }

    /// The place with another root in the same store.
    pub fn with_root(&self, root: &str) -> Location {
        let local_root = self.local_root.as_ref().map(|_| PathBuf::from(format!("/{root}")));
        Location { root: root.to_owned(), local_root, ..self.clone() }
    }

    /// Whether both are places of one bucket, or one file system, as this process has opened it.
    pub fn same_store(&self, other: &Location) -> bool {
        Arc::ptr_eq(&self.opened.store, &other.opened.store)
    }

    /// Waits until the store may be asked once more.
    pub async fn turn(&self) {
        let now = Instant::now();
        let at = self.opened.pace.turn(now);
        if at > now {
            tokio::time::sleep_until(at.into()).await;
        }
    }

    /// Keeps the pace by what the store has answered.
    pub fn keep_pace<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Err(StoreError::Answer { reason: Reason::Throttled, .. }) => {
                if let Some(rate) = self.opened.pace.slow_down(Instant::now()) {
                    tracing::info!(store = %self.base, requests_per_second = rate, "the store asks for fewer requests");
                }
            }
            // Whoever did not answer has said nothing about how fast it is asked.
            Err(StoreError::Answer { reason: Reason::Silent | Reason::Unreachable, .. }) => {}
            Ok(_) | Err(_) => self.opened.pace.answered(),
        }
    }

    /// Whether `key` here and `other_key` there are one object.
    pub fn same_object(&self, key: &str, other: &Location, other_key: &str) -> bool {
        self.same_store(other) && join(&self.root, key) == join(&other.root, other_key)
    }

    /// The whole object, if it has at most `bytes_max` bytes.
    pub async fn read(&self, key: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        let result = self.opened.store.get(&self.path(key)?).await.map_err(|source| self.failed(key, &source))?;
        let size_bytes = result.meta.size;
        if size_bytes > bytes_max {
            return Err(StoreError::TooLarge { uri: self.object_uri(key), size_bytes, bytes_max });
        }
        result.bytes().await.map_err(|source| self.failed(key, &source))
    }

    /// A range of the object's bytes, as far as it has them.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let path = self.path(key)?;
        let result = self.opened.store.get_opts(&path, options).await.map_err(|source| self.failed(key, &source))?;
        result.bytes().await.map_err(|source| self.failed(key, &source))
    }

    /// Writes the object as a whole: a reader sees the old content or the new one, never a part.
    pub async fn write(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        self.opened.store.put(&self.path(key)?, content.into()).await.map_err(|source| self.failed(key, &source))?;
        Ok(())
    }

    /// What the store says of the object without giving it. A refusal of such a request has no words; the first byte is
    /// asked for then, whose refusal says why.
    pub async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let path = self.path(key)?;
        let refused = match self.opened.store.head(&path).await {
            Ok(meta) => return Ok(meta),
            Err(source) => self.failed(key, &source),
        };
        let StoreError::Answer { said, .. } = &refused else { return Err(refused) };
        if said.code.is_some() || !matches!(said.status, Some(400 | 403)) {
            return Err(refused);
        }
        match self.opened.store.get_range(&path, 0..1).await.map_err(|source| self.failed(key, &source)) {
            Err(StoreError::Answer { uri, reason, said }) if said.code.is_some() => {
                Err(StoreError::Answer { uri, reason, said })
            }
            Ok(_) | Err(_) => Err(refused),
        }
    }

    /// The object's size, by its metadata alone.
    pub async fn size_bytes(&self, key: &str) -> Result<u64, StoreError> {
        self.head(key).await.map(|meta| meta.size)
    }

    /// The object's size and CRC32C, by reading all of it in bounded memory.
    pub async fn checksum(&self, key: &str) -> Result<Checksum, StoreError> {
        let result = self.opened.store.get(&self.path(key)?).await.map_err(|source| self.failed(key, &source))?;
        let checksum = match result.payload {
            GetResultPayload::File(file, _) => checksum_of_file(file).await,
            GetResultPayload::Stream(stream) => checksum_of_stream(stream).await,
        };
        checksum.map_err(|source| self.failed(key, &source))
    }

    /// Every object below `prefix` (empty: below the root), in no particular order.
    pub fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<Object, StoreError>>, StoreError> {
        let path = self.list_path(prefix)?;
        let location = self.clone();
        let prefix = prefix.to_owned();
        let objects = self.opened.store.list(Some(&path));
        let objects = objects.map_err(move |source| location.failed(&prefix, &source));
        let location = self.clone();
        let objects = objects.try_filter_map(move |meta| {
            let location = location.clone();
            async move { Ok((!location.is_marker(&meta).await?).then(|| location.object(&meta))) }
        });
        Ok(objects.boxed())
    }

    /// Whether a listing describes objects in the same words as the store does when it is asked for each.
    pub fn lists_as_it_gives(&self) -> bool {
        self.scheme == Scheme::S3
    }

    /// Objects below `prefix` by their keys, as the store describes them, the marks of folders among them: `count_max` of
    /// them where there are more.
    pub async fn list_some(&self, prefix: &str, count_max: usize) -> Result<Vec<(String, ObjectMeta)>, StoreError> {
        let listed = self.opened.store.list(Some(&self.list_path(prefix)?)).take(count_max);
        let listed: Vec<ObjectMeta> = listed.try_collect().await.map_err(|source| self.failed(prefix, &source))?;
        Ok(listed.into_iter().map(|meta| (self.relative(meta.location.as_ref()), meta)).collect())
    }

    /// Some tools keep a folder by an empty object whose key ends in a slash. A listing shows it under the key without the
    /// slash, where nothing is.
    async fn is_marker(&self, meta: &ObjectMeta) -> Result<bool, StoreError> {
        if meta.size > 0 || self.local_root.is_some() {
            return Ok(false);
        }
        match self.opened.store.head(&meta.location).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(source) => Err(self.failed(&self.relative(meta.location.as_ref()), &source)),
        }
    }

    /// The folders and objects directly below `prefix` (empty: below the root).
    pub async fn list_folder(&self, prefix: &str) -> Result<Listing, StoreError> {
        let path = self.list_path(prefix)?;
        let listed = match self.opened.store.list_with_delimiter(Some(&path)).await {
            Ok(listed) => listed,
            Err(source) => match self.failed(prefix, &source) {
                StoreError::Missing { .. } => return Ok(Listing::default()),
                error => return self.list_folder_by_key(prefix, &path, error).await,
            },
        };
        let mut folders: Vec<String> = listed.common_prefixes.iter().map(|path| self.relative(path.as_ref())).collect();
        let mut objects = Vec::with_capacity(listed.objects.len());
        for meta in &listed.objects {
            if !self.is_marker(meta).await? {
                objects.push(self.object(meta));
            }
        }
        folders.sort();
        objects.sort();
        Ok(Listing { folders, objects })
    }

    fn list_path(&self, prefix: &str) -> Result<Path, StoreError> {
        if prefix.is_empty() {
            return Path::parse(&self.root).map_err(|source| StoreError::of(self.uri(), &source.into()));
        }
        self.path(prefix)
    }

    fn object(&self, meta: &ObjectMeta) -> Object {
        Object { key: self.relative(meta.location.as_ref()), size_bytes: meta.size }
    }

    pub(crate) fn relative(&self, path: &str) -> String {
        let below = path.strip_prefix(self.root.as_str()).unwrap_or(path);
        below.strip_prefix('/').unwrap_or(below).to_owned()
    }

    pub(crate) fn failed(&self, key: &str, source: &object_store::Error) -> StoreError {
        StoreError::of(self.object_uri(key), source)
    }
}

async fn checksum_of_stream(
    mut stream: BoxStream<'static, object_store::Result<Bytes>>,
) -> object_store::Result<Checksum> {
    let mut checksum = Checksum::default();
    while let Some(chunk) = stream.try_next().await? {
        checksum.update(&chunk);
    }
    Ok(checksum)
}

async fn checksum_of_file(file: std::fs::File) -> object_store::Result<Checksum> {
    let read = tokio::task::spawn_blocking(move || checksum_of_reader(file)).await?;
    read.map_err(|error| object_store::Error::Generic { store: "LocalFileSystem", source: error.into() })
}

fn checksum_of_reader(mut reader: impl Read) -> io::Result<Checksum> {
    let mut checksum = Checksum::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(checksum),
            Ok(count) => checksum.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
