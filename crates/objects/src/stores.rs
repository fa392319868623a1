//! Object stores by URI: one URI opens one `Location`, with credentials from the environment only.
//! A URI that carries credentials is refused and never repeated in a message.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{self, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, RetryConfig};

use crate::connection::Connector;
use crate::credentials;
use crate::location::{Location, Opened};
use crate::s3;
use crate::uri::{Endpoints, ParsedUri, Scheme, UriError};

/// How long a store may be silent where no setting says it: as long as requests may take by the workers' default.
const SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(30);
/// How often one request is repeated inside the client before its caller hears of the failure.
const REQUEST_RETRIES_MAX: usize = 3;
/// How long one request is repeated at most.
const REQUEST_RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Every store that this process has opened, each once: clients, and what `memory:///` holds, are shared.
#[derive(Clone, Debug)]
pub struct Stores {
    opened: Arc<Mutex<HashMap<String, Opened>>>,
    endpoints: Endpoints,
    silence_max: Duration,
}

impl Default for Stores {
    fn default() -> Stores {
        Stores { opened: Arc::default(), endpoints: Endpoints::from_environment(), silence_max: SILENCE_MAX_DEFAULT }
    }
}

impl Stores {
    /// No store is opened yet; `memory:///` is empty.
    pub fn new() -> Stores {
        Stores::default()
    }

    /// The same, where a store may be silent for so long before a request has failed. What a request takes in all is
    /// bounded by nothing: an object is as large as it is.
    pub fn with_silence_max(self, silence_max: Duration) -> Stores {
        Stores { silence_max, ..self }
    }

    /// The same, with a store of the caller's own in the place of the one that `uri` would open: a test sees what becomes
    /// of one that misbehaves.
    pub fn with(self, uri: &str, store: Arc<dyn ObjectStore>) -> Result<Stores, UriError> {
        let identity = ParsedUri::parse(uri, &self.endpoints)?.identity();
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, Opened::new(store));
        Ok(self)
    }

    /// The same, with the S3 that `builder` describes in the place of the one that `uri` would open.
    pub fn with_s3(self, uri: &str, builder: AmazonS3Builder) -> Result<Stores, UriError> {
        let identity = ParsedUri::parse(uri, &self.endpoints)?.identity();
        let opened = s3::open(builder, &Connector::new(self.silence_max));
        let opened = opened.map_err(|source| UriError::Store { uri: uri.to_owned(), source })?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(identity, opened);
        Ok(self)
    }

    /// The same for Azure.
    pub fn with_azure(self, uri: &str, builder: MicrosoftAzureBuilder) -> Result<Stores, UriError> {
        let store = builder.with_http_connector(Connector::new(self.silence_max)).build();
        let store = store.map_err(|source| UriError::Store { uri: uri.to_owned(), source })?;
        self.with(uri, Arc::new(store))
    }

    /// The place that `uri` names. Nothing is read: a place that does not exist is found out by its first use.
    pub fn open(&self, uri: &str) -> Result<Location, UriError> {
        let parsed = ParsedUri::parse(uri, &self.endpoints)?;
        let store = self.store(&parsed, uri)?;
        let local_root = (parsed.scheme == Scheme::File).then(|| PathBuf::from(format!("/{}", parsed.path)));
        Ok(Location::new(store, parsed.identity(), parsed.path, local_root))
    }

    fn store(&self, parsed: &ParsedUri, uri: &str) -> Result<Opened, UriError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&parsed.identity()) {
            return Ok(store.clone());
        }
        let store =
            connect(parsed, self.silence_max).map_err(|source| UriError::Store { uri: uri.to_owned(), source })?;
        opened.insert(parsed.identity(), store.clone());
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

fn connect(parsed: &ParsedUri, silence_max: Duration) -> object_store::Result<Opened> {
    if parsed.scheme.has_bucket() {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let retry = RetryConfig {
        max_retries: REQUEST_RETRIES_MAX,
        retry_timeout: REQUEST_RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    credentials::check(parsed.scheme)?;
    let connector = Connector::new(silence_max);
    let bucket = &parsed.bucket;
    let store: Arc<dyn ObjectStore> = match parsed.scheme {
        Scheme::File => Arc::new(LocalFileSystem::new().with_fsync(true)),
        Scheme::Memory => Arc::new(InMemory::new()),
        Scheme::S3 => {
            let builder = with_checksums(AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry));
            return s3::open(builder, &connector);
        }
        Scheme::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket).with_retry(retry);
            Arc::new(builder.with_http_connector(connector).build()?)
        }
    };
    Ok(Opened::new(store))
}

/// Every upload carries a checksum, which the store compares; a bucket with object lock takes none without.
fn with_checksums(builder: AmazonS3Builder) -> AmazonS3Builder {
    match builder.get_config_value(&AmazonS3ConfigKey::Checksum) {
        Some(_) => builder,
        None => builder.with_checksum_algorithm(aws::Checksum::SHA256),
    }
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
    fn a_cloud_store_opens_where_the_system_has_certificates_and_else_says_what_is_missing() {
        for uri in ["s3://bucket/some/prefix", "gs://bucket/some/prefix"] {
            match Stores::new().open(uri) {
                Ok(location) => assert_eq!((location.uri().as_str(), location.root()), (uri, "some/prefix")),
                Err(error) => {
                    let shown = error.to_string();
                    assert!(shown.contains("No CA certificates") || shown.contains("no credentials"), "{shown}");
                }
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
