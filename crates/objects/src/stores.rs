//! Object stores by URI: one URI opens one `Location`, with the settings of the store that serves it, or with those of the
//! environment. A URI that carries credentials is refused and never repeated in a message.

use std::collections::HashMap;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;

use crate::connect::{Client, connect};
use crate::connection::Connector;
use crate::credentials::environment;
use crate::location::{Location, Opened};
use crate::pace::Pace;
use crate::routes::Routes;
use crate::s3;
use crate::settings::{NamedStores, SettingsError, StoreKind, check_named_stores};
use crate::uri::{ParsedUri, UriError};

/// How long a store may be silent where no setting says it: as long as requests may take by the workers' default.
const SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(30);

/// The store of one kind that a process has by its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentStore {
    /// What it speaks.
    pub kind: StoreKind,
    /// Its host and port; none: the cloud's own.
    pub endpoint: Option<String>,
    /// Whether the environment has credentials for it.
    pub has_credentials: bool,
}

/// Every store that this process has opened, each once: clients, and what `memory:///` holds, are shared.
#[derive(Clone, Debug)]
pub struct Stores {
    opened: Arc<Mutex<HashMap<String, Opened>>>,
    /// By the store's name, or its scheme where the environment says which it is.
    paces: Arc<Mutex<HashMap<String, Arc<Pace>>>>,
    named: Arc<NamedStores>,
    routes: Arc<Routes>,
    silence_max: Duration,
}

impl Default for Stores {
    fn default() -> Stores {
        Stores::of(NamedStores::new())
    }
}

impl Stores {
    /// The stores of the environment. None is opened yet; `memory:///` is empty.
    pub fn new() -> Stores {
        Stores::default()
    }

    /// The same beside the stores that settings name.
    ///
    /// # Errors
    /// When a setting cannot be; nothing is read or asked yet.
    pub fn with_named(named: &NamedStores) -> Result<Stores, SettingsError> {
        check_named_stores(named)?;
        Ok(Stores::of(named.clone()))
    }

    fn of(named: NamedStores) -> Stores {
        let routes = Arc::new(Routes::new(&named));
        Stores {
            opened: Arc::default(),
            paces: Arc::default(),
            named: Arc::new(named),
            routes,
            silence_max: SILENCE_MAX_DEFAULT,
        }
    }

    /// The same, where a store may be silent for so long before a request has failed. What a request takes in all is
    /// bounded by nothing: an object is as large as it is.
    pub fn with_silence_max(self, silence_max: Duration) -> Stores {
        Stores { silence_max, ..self }
    }

    /// The same, with a store of the caller's own in the place of the one that `uri` would open: a test sees what becomes
    /// of one that misbehaves.
    pub fn with(self, uri: &str, store: Arc<dyn ObjectStore>) -> Result<Stores, UriError> {
        self.with_client(uri, Ok(Client::from(store)))
    }

    /// The same, with the S3 that `builder` describes in the place of the one that `uri` would open.
    pub fn with_s3(self, uri: &str, builder: AmazonS3Builder) -> Result<Stores, UriError> {
        let client = s3::open(builder, &Connector::new(self.silence_max), None);
        self.with_client(uri, client)
    }

    /// The same for Azure.
    pub fn with_azure(self, uri: &str, builder: MicrosoftAzureBuilder) -> Result<Stores, UriError> {
        let store = builder.with_http_connector(Connector::new(self.silence_max)).build();
        self.with_client(uri, store.map(|store| Client::from(Arc::new(store) as Arc<dyn ObjectStore>)))
    }

    fn with_client(self, uri: &str, client: object_store::Result<Client>) -> Result<Stores, UriError> {
        let parsed = ParsedUri::parse(uri, &self.routes)?;
        let client = client.map_err(|cause| not_opened(uri, &parsed, cause))?;
        let opened = Opened::new(client, self.pace(&parsed));
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(parsed.identity(), opened);
        Ok(self)
    }

    /// Whether `uri` names a place in a store that this process knows. It needs no credentials for it.
    pub fn check(&self, uri: &str) -> Result<(), UriError> {
        ParsedUri::parse(uri, &self.routes).map(drop)
    }

    /// The name of the store that serves `uri`; none: that of the environment, or this machine.
    pub fn name_of(&self, uri: &str) -> Result<Option<String>, UriError> {
        ParsedUri::parse(uri, &self.routes).map(|parsed| parsed.store)
    }

    /// What the environment says of the store that no name is given for, kind by kind.
    pub fn environment(&self) -> Vec<EnvironmentStore> {
        let of = |kind: StoreKind| EnvironmentStore {
            kind,
            endpoint: self.routes.environment.of(kind.scheme()).map(str::to_owned),
            has_credentials: environment::check(kind.scheme()).is_ok(),
        };
        [StoreKind::S3, StoreKind::Gcs, StoreKind::Azure].map(of).into()
    }

    /// The place that `uri` names. Nothing is read: a place that does not exist is found out by its first use.
    pub fn open(&self, uri: &str) -> Result<Location, UriError> {
        let parsed = ParsedUri::parse(uri, &self.routes)?;
        let store = self.store(&parsed, uri)?;
        Ok(Location::new(store, parsed))
    }

    fn pace(&self, parsed: &ParsedUri) -> Arc<Pace> {
        let named = parsed.store.as_ref().and_then(|name| self.named.get(name));
        let rate_max = named.and_then(|settings| settings.requests_per_second);
        let key = parsed.store.as_ref().map_or(parsed.scheme.name().to_owned(), |name| format!("stores.{name}"));
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = paces.entry(key).or_insert_with(|| Arc::new(Pace::new(rate_max, Instant::now())));
        Arc::clone(pace)
    }

    fn store(&self, parsed: &ParsedUri, uri: &str) -> Result<Opened, UriError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = opened.get(&parsed.identity()) {
            return Ok(store.clone());
        }
        let named = parsed.store.as_ref().and_then(|name| self.named.get(name));
        let client = connect(parsed, named, &Connector::new(self.silence_max));
        let client = client.map_err(|cause| not_opened(uri, parsed, cause))?;
        let store = Opened::new(client, self.pace(parsed));
        opened.insert(parsed.identity(), store.clone());
        Ok(store)
    }
}

fn not_opened(uri: &str, parsed: &ParsedUri, cause: object_store::Error) -> UriError {
    let settings = match &parsed.store {
        Some(name) => format!("in [stores.{name}]"),
        None => "in the environment".to_owned(),
    };
    UriError::Store { uri: uri.to_owned(), settings, cause }
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
