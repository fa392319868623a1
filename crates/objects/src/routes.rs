//! Which store serves a URI: one that the settings name, or the one of the process' environment, of which there is one for
//! each kind.

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use crate::key::shown;
use crate::settings::{NamedStores, StoreSettings};
use crate::uri::{Scheme, check_bucket, plain_path};

/// The stores that a URI may mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// Those that the settings name, in order of their names.
    pub(crate) named: Vec<Route>,
    /// Those of the environment.
    pub(crate) environment: Endpoints,
}

/// The way to one named store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) name: String,
    scheme: Scheme,
    /// Host and port of its endpoint; none: the cloud's own.
    endpoint: Option<String>,
    serves: Vec<Served>,
}

/// A bucket, or a part of one, that a store serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    bucket: String,
    /// Without slashes around it; empty: all of the bucket.
    prefix: String,
}

impl Served {
    /// What `uri` in its short form names.
    pub(crate) fn parse(uri: &str, scheme: Scheme) -> Result<Self, String> {
        let form = format!("write it as in \"{0}://bucket\" or \"{0}://bucket/prefix\"", scheme.name());
        let Some((name, rest)) = uri.split_once("://") else {
            return Err(format!("has {}, which is no URI: {form}", shown(uri)));
        };
        if name != scheme.name() {
            return Err(format!("has a URI of scheme {}: {form}", shown(name)));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if check_bucket(uri, bucket).is_err() {
            return Err(format!("has {}, which names no bucket: {form}", shown(uri)));
        }
        // As the paths of places are read, or the same place would not be found in it.
        match plain_path(prefix) {
            Ok(prefix) if !rest.contains(['?', '#']) => Ok(Self { bucket: bucket.to_owned(), prefix }),
            Ok(_) | Err(_) => Err(format!("has {}, whose prefix is no plain path: {form}", shown(uri))),
        }
    }

    /// The length of the prefix, where the place lies in it.
    fn fits(&self, bucket: &str, path: &str) -> Option<usize> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        let is_below = self.prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
        (self.bucket == bucket && is_below).then_some(self.prefix.len())
    }
}

impl Route {
    fn new(name: &str, settings: &StoreSettings) -> Self {
        let scheme = settings.kind.scheme();
        // Settings were checked before: none of their URIs is refused here.
        let serves = settings.serves.iter().filter_map(|uri| Served::parse(uri, scheme).ok()).collect();
        let account = || (!settings.account.is_empty()).then(|| format!("{}.blob.core.windows.net", settings.account));
        let endpoint = (!settings.endpoint.is_empty()).then(|| host_of(&settings.endpoint));
        Self { name: name.to_owned(), scheme, endpoint: endpoint.or_else(account), serves }
    }

    fn is_at(&self, scheme: Scheme, authority: &str) -> bool {
        self.scheme == scheme
            && match &self.endpoint {
                Some(endpoint) => endpoint == authority,
                None => is_public(scheme, authority),
            }
    }

    fn fits(&self, bucket: &str, path: &str) -> Option<usize> {
        self.serves.iter().filter_map(|served| served.fits(bucket, path)).max()
    }
}

impl Routes {
    pub(crate) fn new(stores: &NamedStores) -> Self {
        let named = stores.iter().map(|(name, settings)| Route::new(name, settings)).collect();
        Self { named, environment: Endpoints::from_environment() }
    }

    /// Whether `authority` in a short form is an endpoint: not where some store serves a bucket of that name.
    pub(crate) fn is_endpoint(&self, scheme: Scheme, authority: &str) -> bool {
        let serves = |route: &Route| route.scheme == scheme && route.serves.iter().any(|it| it.bucket == authority);
        self.knows(scheme, authority) && !self.named.iter().any(serves)
    }

    /// Whether some store of this kind is reached at `authority`.
    pub(crate) fn knows(&self, scheme: Scheme, authority: &str) -> bool {
        let host = host_of(authority);
        self.named.iter().any(|route| route.is_at(scheme, &host)) || self.environment.is_own(scheme, authority)
    }

    /// The named store whose URIs the place lies in most closely; none: the environment's.
    pub(crate) fn by_place(&self, scheme: Scheme, bucket: &str, path: &str) -> Option<&Route> {
        let fitting = self.named.iter().filter(|route| route.scheme == scheme);
        let fitting = fitting.filter_map(|route| Some((route.fits(bucket, path)?, route)));
        fitting.max_by_key(|(length, _)| *length).map(|(_, route)| route)
    }

    /// The store at `authority` that serves the place, or else serves all that is there: `None` for the environment's.
    pub(crate) fn by_endpoint(
        &self,
        scheme: Scheme,
        authority: &str,
        bucket: &str,
        path: &str,
    ) -> Result<Option<&Route>, Astray> {
        let host = host_of(authority);
        let there: Vec<&Route> = self.named.iter().filter(|route| route.is_at(scheme, &host)).collect();
        let fitting = there.iter().filter_map(|route| Some((route.fits(bucket, path)?, *route)));
        if let Some((_, route)) = fitting.max_by_key(|(length, _)| *length) {
            return Ok(Some(route));
        }
        let open: Vec<&Route> = there.iter().filter(|route| route.serves.is_empty()).copied().collect();
        match open.as_slice() {
            [route] => Ok(Some(route)),
            [] if self.environment.is_own(scheme, authority) => Ok(None),
            [] => Err(there.first().map_or(Astray::Unknown, |route| Astray::NotServed(route.name.clone()))),
            [one, other, ..] => Err(Astray::Several(one.name.clone(), other.name.clone())),
        }
    }

    /// How a place of the store is written with its endpoint: what stands before the key.
    pub(crate) fn with_endpoint(&self, scheme: Scheme, name: Option<&str>, bucket: &str) -> Option<String> {
        let route = name.and_then(|name| self.named.iter().find(|route| route.name == name));
        let endpoint = match route {
            Some(route) => route.endpoint.as_deref(),
            None => self.environment.of(scheme),
        };
        let spelling = match scheme {
            Scheme::S3 => "minio",
            Scheme::Azure => "azure",
            Scheme::Gcs if endpoint.is_some_and(|endpoint| endpoint.contains(':')) => "gs",
            Scheme::Gcs => "https",
            Scheme::File | Scheme::Memory => return None,
        };
        endpoint.map(|endpoint| format!("{spelling}://{endpoint}/{bucket}"))
    }
}

/// Why no store is meant by a URI with an endpoint in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Astray {
    /// No store is there.
    Unknown,
    /// That store is there, and does not serve the place.
    NotServed(String),
    /// Two stores are there and each would serve the place.
    Several(String, String),
}

/// The endpoints that the stores of the environment have, as host and port; absent: the cloud's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) s3: Option<String>,
    pub(crate) gcs: Option<String>,
    pub(crate) azure: Option<String>,
}

impl Endpoints {
    /// Those that the clients themselves take from the environment.
    fn from_environment() -> Self {
        let s3 = AmazonS3Builder::from_env();
        let s3_endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        let azure = MicrosoftAzureBuilder::from_env();
        let account = azure.get_config_value(&AzureConfigKey::AccountName);
        let gcs = GoogleCloudStorageBuilder::from_env().get_config_value(&GoogleConfigKey::BaseUrl);
        Self {
            s3: s3_endpoint.iter().find_map(|key| s3.get_config_value(key)).map(|url| host_of(&url)),
            gcs: gcs.map(|url| host_of(&url)),
            azure: azure
                .get_config_value(&AzureConfigKey::Endpoint)
                .or_else(|| account.map(|account| format!("{account}.blob.core.windows.net")))
                .map(|url| host_of(&url)),
        }
    }

    pub(crate) fn of(&self, scheme: Scheme) -> Option<&str> {
        match scheme {
            Scheme::File | Scheme::Memory => None,
            Scheme::S3 => self.s3.as_deref(),
            Scheme::Gcs => self.gcs.as_deref(),
            Scheme::Azure => self.azure.as_deref(),
        }
    }

    /// Whether `authority` is where stores of this scheme are reached.
    fn is_own(&self, scheme: Scheme, authority: &str) -> bool {
        let authority = host_of(authority);
        match self.of(scheme) {
            Some(own) => own == authority,
            None => is_public(scheme, &authority),
        }
    }
}

/// Host and port of an endpoint, without a port that a scheme implies: where only the authority is known, so is not which.
pub(crate) fn host_of(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(&host).to_owned()
}

/// The endpoints of the clouds, which need no setting. Azure has one for each account.
fn is_public(scheme: Scheme, host: &str) -> bool {
    match scheme {
        Scheme::File | Scheme::Memory | Scheme::Azure => false,
        Scheme::S3 => host == "s3.amazonaws.com" || (host.starts_with("s3.") && host.ends_with(".amazonaws.com")),
        Scheme::Gcs => host == "storage.googleapis.com",
    }
}

#[cfg(test)]
mod tests;
