//! Object stores by URI: one URI opens one `Location`, with credentials from the environment only.
//! A URI that carries credentials is refused and never repeated in a message.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, RetryConfig};
use thiserror::Error;

use crate::key::{KeyError, check_key, shown};
use crate::location::Location;

/// How often one request is repeated inside the client before its caller hears of the failure.
const REQUEST_RETRIES_MAX: usize = 3;
/// How long one request is repeated at most.
const REQUEST_RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a URI does not name a place in a store.
#[derive(Debug, Error)]
pub enum UriError {
    /// Not of the form `scheme://...`.
    #[error(
        "{0} is not a URI; write file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
    )]
    NotUri(String),
    /// A scheme that we do not know.
    #[error("the scheme '{0}' is not known; use file, s3, gs, az or memory")]
    UnknownScheme(String),
    /// `file://relative` or `memory://host`.
    #[error("{uri} is not absolute; write {scheme}:/// and the absolute path")]
    Relative {
        /// The URI.
        uri: String,
        /// Its scheme.
        scheme: &'static str,
    },
    /// User information before the host. The URI is not repeated here, as it holds a secret.
    #[error("a URI of scheme '{0}' contains credentials; remove them and set them in the environment of the process")]
    Credentials(&'static str),
    /// A query or a fragment. The URI is not repeated here, as a query may hold a signature.
    #[error("a URI of scheme '{0}' contains '?' or '#'; give the plain path, and settings by the environment")]
    Query(&'static str),
    /// No bucket or container.
    #[error("{0} names no bucket; write it after the two slashes, as in s3://bucket/prefix")]
    NoBucket(String),
    /// A path that is not a plain one.
    #[error("the path of {uri} is refused: {fault}; write the plain, absolute path")]
    Path {
        /// The URI, escaped.
        uri: String,
        /// What is wrong.
        fault: String,
    },
    /// The store's client could not be set up.
    #[error(
        "the store of {uri} cannot be opened: {}; check its settings in the environment, and that the system has CA \
         certificates",
        root_cause(source)
    )]
    Store {
        /// The URI.
        uri: String,
        /// What the client says.
        source: object_store::Error,
    },
}

/// What lies at the bottom: the client's own message stops above it.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Every store that this process has opened, each once: clients, and what `memory:///` holds, are shared.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    opened: Arc<Mutex<HashMap<String, Arc<dyn ObjectStore>>>>,
}

impl Stores {
    /// No store is opened yet; `memory:///` is empty.
    pub fn new() -> Stores {
        Stores::default()
    }

    /// The same, with a store of the caller's own in the place of the one that `uri` would open: a test sees what becomes
    /// of one that misbehaves.
    pub fn with(self, uri: &str, store: Arc<dyn ObjectStore>) -> Result<Stores, UriError> {
        let identity = ParsedUri::parse(uri)?.identity();
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, store);
        Ok(self)
    }

    /// The place that `uri` names. Nothing is read: a place that does not exist is found out by its first use.
    pub fn open(&self, uri: &str) -> Result<Location, UriError> {
        let parsed = ParsedUri::parse(uri)?;
        let store = self.store(&parsed, uri)?;
        let local_root = (parsed.scheme == Scheme::File).then(|| PathBuf::from(format!("/{}", parsed.path)));
        Ok(Location::new(store, parsed.identity(), parsed.path, local_root))
    }

    fn store(&self, parsed: &ParsedUri, uri: &str) -> Result<Arc<dyn ObjectStore>, UriError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&parsed.identity()) {
            return Ok(Arc::clone(store));
        }
        let store = parsed.connect().map_err(|source| UriError::Store { uri: uri.to_owned(), source })?;
        opened.insert(parsed.identity(), Arc::clone(&store));
        Ok(store)
    }
}

/// The URI of an absolute path on this machine.
pub fn file_uri(path: &FilePath) -> String {
    let mut uri = String::from("file://");
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3F"),
            '#' => uri.push_str("%23"),
            _ => uri.push(character),
        }
    }
    uri
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    File,
    Memory,
    S3,
    Gcs,
    Azure,
}

impl Scheme {
    const ALL: [Scheme; 5] = [Scheme::File, Scheme::Memory, Scheme::S3, Scheme::Gcs, Scheme::Azure];

    fn name(self) -> &'static str {
        match self {
            Scheme::File => "file",
            Scheme::Memory => "memory",
            Scheme::S3 => "s3",
            Scheme::Gcs => "gs",
            Scheme::Azure => "az",
        }
    }

    fn has_bucket(self) -> bool {
        match self {
            Scheme::File | Scheme::Memory => false,
            Scheme::S3 | Scheme::Gcs | Scheme::Azure => true,
        }
    }
}

struct ParsedUri {
    scheme: Scheme,
    bucket: String,
    path: String,
}

impl ParsedUri {
    // Not by a general URL parser: it would resolve `..` before we could refuse it.
    fn parse(uri: &str) -> Result<ParsedUri, UriError> {
        let (name, rest) = uri.split_once("://").ok_or_else(|| UriError::NotUri(shown(uri)))?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UriError::UnknownScheme(name.escape_debug().take(40).collect()))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(UriError::Credentials(scheme.name()));
        }
        if rest.contains(['?', '#']) {
            return Err(UriError::Query(scheme.name()));
        }
        if !scheme.has_bucket() && (!bucket.is_empty() || !rest.starts_with('/')) {
            return Err(UriError::Relative { uri: shown(uri), scheme: scheme.name() });
        }
        if scheme.has_bucket() {
            check_bucket(uri, bucket)?;
        }
        let path = plain_path(path).map_err(|fault| UriError::Path { uri: shown(uri), fault })?;
        Ok(ParsedUri { scheme, bucket: bucket.to_owned(), path })
    }

    fn identity(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.bucket)
    }

    fn connect(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        if self.scheme.has_bucket() {
            // An error only says that the process has chosen a provider already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let retry = RetryConfig {
            max_retries: REQUEST_RETRIES_MAX,
            retry_timeout: REQUEST_RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        Ok(match self.scheme {
            Scheme::File => Arc::new(LocalFileSystem::new().with_fsync(true)),
            Scheme::Memory => Arc::new(InMemory::new()),
            Scheme::S3 => {
                Arc::new(AmazonS3Builder::from_env().with_bucket_name(&self.bucket).with_retry(retry).build()?)
            }
            Scheme::Gcs => Arc::new(
                GoogleCloudStorageBuilder::from_env().with_bucket_name(&self.bucket).with_retry(retry).build()?,
            ),
            Scheme::Azure => {
                Arc::new(MicrosoftAzureBuilder::from_env().with_container_name(&self.bucket).with_retry(retry).build()?)
            }
        })
    }
}

fn check_bucket(uri: &str, bucket: &str) -> Result<(), UriError> {
    if bucket.is_empty() {
        return Err(UriError::NoBucket(shown(uri)));
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if bucket.starts_with('.') || !bucket.chars().all(is_plain) {
        return Err(UriError::Path { uri: shown(uri), fault: "the bucket's name has characters no bucket has".into() });
    }
    Ok(())
}

fn plain_path(encoded: &str) -> Result<String, String> {
    let trimmed = encoded.strip_suffix('/').unwrap_or(encoded);
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    let fault = |error: KeyError| error.fault.to_string();
    // Before decoding, as the decoder below forgives a second leading slash, and after, as `%2e%2e` hides dots.
    check_key(trimmed).map_err(fault)?;
    let decoded = object_store::path::Path::from_url_path(trimmed).map_err(|error| error.to_string())?;
    check_key(decoded.as_ref()).map_err(fault)?;
    Ok(decoded.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_uri_names_an_absolute_path() {
        let location = Stores::new().open("file:///data/my%20tree/").unwrap();
        assert_eq!(location.root(), "data/my tree");
        assert_eq!(location.local_root(), Some(FilePath::new("/data/my tree")));
        assert_eq!(location.uri(), "file:///data/my%20tree");
    }

    #[test]
    fn every_known_scheme_is_taken_apart() {
        for (uri, identity, path) in [
            ("s3://bucket/some/prefix", "s3://bucket", "some/prefix"),
            ("s3://bucket", "s3://bucket", ""),
            ("gs://bucket/a/", "gs://bucket", "a"),
            ("az://container/a", "az://container", "a"),
            ("memory:///", "memory://", ""),
            ("FILE:///a", "file://", "a"),
        ] {
            let parsed = ParsedUri::parse(uri).unwrap();
            assert_eq!((parsed.identity().as_str(), parsed.path.as_str()), (identity, path), "{uri}");
        }
    }

    #[test]
    fn a_cloud_store_opens_where_the_system_has_certificates_and_else_says_what_is_missing() {
        for uri in ["s3://bucket/some/prefix", "gs://bucket/some/prefix"] {
            match Stores::new().open(uri) {
                Ok(location) => assert_eq!((location.uri().as_str(), location.root()), (uri, "some/prefix")),
                Err(error) => assert!(error.to_string().contains("No CA certificates"), "{error}"),
            }
        }
    }

    #[test]
    fn a_store_is_opened_once_and_its_prefixes_share_it() {
        let stores = Stores::new();
        let (one, two) = (stores.open("memory:///a").unwrap(), stores.open("memory:///b").unwrap());
        assert!(one.same_store(&two));
        assert!(!one.same_store(&stores.open("file:///a").unwrap()));
        assert!(!one.same_store(&Stores::new().open("memory:///a").unwrap()));
        assert_eq!(one.local_root(), None);
    }

    #[test]
    fn a_bad_uri_is_refused_with_the_next_step() {
        let stores = Stores::new();
        for (uri, part) in [
            ("/data", "write file:///absolute/path"),
            ("", "is not a URI"),
            ("ftp://host/a", "'ftp' is not known; use file, s3, gs, az or memory"),
            ("file://data/a", "not absolute; write file:///"),
            ("file://", "not absolute"),
            ("memory://a", "not absolute; write memory:///"),
            ("s3:///prefix", "names no bucket"),
            ("s3://user:secret@bucket/a", "contains credentials"),
            ("s3://bucket/a?X-Amz-Signature=secret", "contains '?' or '#'"),
            ("s3://buc ket/a", "characters no bucket has"),
            ("file:///a/../b", "'.' or '..'"),
            ("file:///a/%2e%2e/b", "refused"),
            ("file:///a//b", "is empty"),
            ("file:////a", "is absolute"),
            ("file:///a%5cb", "backslash"),
            ("file:///a%00b", "refused"),
        ] {
            let message = stores.open(uri).expect_err(uri).to_string();
            assert!(message.contains(part), "{uri}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn the_uri_of_a_path_opens_that_path() {
        let path = FilePath::new("/data/100%/what?/a b");
        assert_eq!(Stores::new().open(&file_uri(path)).unwrap().local_root(), Some(path));
    }
}
