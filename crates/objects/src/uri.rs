//! URIs of places in stores, in every spelling that Milvus and its tools print. One place has one `ParsedUri` whatever the
//! spelling, and a URI that carries credentials is refused and never repeated in a message.
//!
//! Two forms exist. In `s3://bucket/key` the authority is the bucket; in `minio://host:port/bucket/key` it is the
//! endpoint, and the bucket is the first part of the path. A port in the authority, or an authority that is the
//! endpoint of a store that this process knows, tells the second form in every scheme.

use thiserror::Error;

use crate::key::{KeyError, check_key, shown};
use crate::routes::{Astray, Routes};

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
    /// An endpoint that this process does not use.
    #[error("{uri} names the endpoint {endpoint}, but {own}; {next_step}")]
    Endpoint {
        /// The URI, escaped.
        uri: String,
        /// The endpoint in it.
        endpoint: String,
        /// What this process has.
        own: String,
        /// The short form, or what sets the endpoint.
        next_step: String,
    },
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
        "the store of {uri} cannot be opened: {}; check its settings {settings}, and that the system has CA \
         certificates",
        root_cause(cause)
    )]
    Store {
        /// The URI.
        uri: String,
        /// Where they stand.
        settings: String,
        /// What the client says.
        cause: object_store::Error,
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

/// A kind of store, by the scheme of its short form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    File,
    Memory,
    S3,
    Gcs,
    Azure,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::File => "file",
            Scheme::Memory => "memory",
            Scheme::S3 => "s3",
            Scheme::Gcs => "gs",
            Scheme::Azure => "az",
        }
    }

    pub(crate) fn has_bucket(self) -> bool {
        match self {
            Scheme::File | Scheme::Memory => false,
            Scheme::S3 | Scheme::Gcs | Scheme::Azure => true,
        }
    }

    /// The variable that names the endpoint.
    fn setting(self) -> &'static str {
        match self {
            Scheme::File | Scheme::Memory => "nothing",
            Scheme::S3 => "AWS_ENDPOINT",
            Scheme::Gcs => "GOOGLE_BASE_URL",
            Scheme::Azure => "AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_ENDPOINT",
        }
    }
}

/// What the scheme of a URI says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// The authority is the bucket unless it can only be an endpoint.
    Short(Scheme),
    /// The authority is the endpoint of such a store.
    Endpoint(Scheme),
    /// The authority is the endpoint, which tells the kind of store.
    Http,
}

fn spelling(scheme: &str) -> Option<Spelling> {
    Some(match scheme.to_ascii_lowercase().as_str() {
        "file" => Spelling::Short(Scheme::File),
        "memory" => Spelling::Short(Scheme::Memory),
        "s3" => Spelling::Short(Scheme::S3),
        "gs" | "gcs" => Spelling::Short(Scheme::Gcs),
        "az" => Spelling::Short(Scheme::Azure),
        "minio" => Spelling::Endpoint(Scheme::S3),
        "azure" => Spelling::Endpoint(Scheme::Azure),
        "http" | "https" => Spelling::Http,
        _ => return None,
    })
}

/// A place in a store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParsedUri {
    pub(crate) scheme: Scheme,
    /// The name of the store that serves it; none: the environment's.
    pub(crate) store: Option<String>,
    pub(crate) bucket: String,
    /// Plain, decoded, without slashes around it.
    pub(crate) path: String,
    /// What stands before the path in the one spelling that the place has.
    pub(crate) base: String,
}

impl ParsedUri {
    // Not by a general URL parser: it would resolve `..` before we could refuse it.
    pub(crate) fn parse(uri: &str, routes: &Routes) -> Result<ParsedUri, UriError> {
        let (name, rest) = uri.split_once("://").ok_or_else(|| UriError::NotUri(shown(uri)))?;
        let spelling = spelling(name).ok_or_else(|| UriError::UnknownScheme(name.escape_debug().take(40).collect()))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (scheme, is_endpoint) = kind_of(spelling, authority, routes);
        if authority.contains('@') {
            return Err(UriError::Credentials(scheme.name()));
        }
        if rest.contains(['?', '#']) {
            return Err(UriError::Query(scheme.name()));
        }
        if !scheme.has_bucket() && (!authority.is_empty() || !rest.starts_with('/')) {
            return Err(UriError::Relative { uri: shown(uri), scheme: scheme.name() });
        }
        let (bucket, path) = if is_endpoint { path.split_once('/').unwrap_or((path, "")) } else { (authority, path) };
        if scheme.has_bucket() {
            check_bucket(uri, bucket)?;
        }
        let path = plain_path(path).map_err(|fault| UriError::Path { uri: shown(uri), fault })?;
        let by_place = routes.by_place(scheme, bucket, &path);
        let route = if is_endpoint {
            let found = routes.by_endpoint(scheme, authority, bucket, &path);
            found.map_err(|why| astray(uri, authority, bucket, scheme, routes, &why))?
        } else {
            by_place
        };
        let store = route.map(|route| route.name.clone());
        // The short form where it means the same store: one place has one spelling.
        let short = format!("{}://{bucket}", scheme.name());
        let base = match route == by_place {
            true => short,
            false => routes.with_endpoint(scheme, store.as_deref(), bucket).unwrap_or(short),
        };
        Ok(ParsedUri { scheme, store, bucket: bucket.to_owned(), path, base })
    }

    /// What two places in one bucket of one store have in common.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}://{}", self.store.as_deref().unwrap_or_default(), self.scheme.name(), self.bucket)
    }
}

/// The kind of store, and whether the authority is its endpoint rather than the bucket.
fn kind_of(spelling: Spelling, authority: &str, routes: &Routes) -> (Scheme, bool) {
    match spelling {
        Spelling::Short(scheme) => {
            let is_endpoint = authority.contains(':') || routes.is_endpoint(scheme, authority);
            (scheme, scheme.has_bucket() && is_endpoint)
        }
        Spelling::Endpoint(scheme) => (scheme, true),
        Spelling::Http => {
            let is_azure = authority.contains(".blob.") || routes.knows(Scheme::Azure, authority);
            let scheme = match is_azure {
                true => Scheme::Azure,
                false if routes.knows(Scheme::Gcs, authority) => Scheme::Gcs,
                false => Scheme::S3,
            };
            (scheme, true)
        }
    }
}

fn astray(uri: &str, authority: &str, bucket: &str, scheme: Scheme, routes: &Routes, why: &Astray) -> UriError {
    let short = format!("{}://{bucket}/...", scheme.name());
    let (own, next_step) = match why {
        Astray::Unknown => (
            match routes.environment.of(scheme) {
                Some(own) => format!("the store of this process is at {own}"),
                None => "this process has no endpoint set".to_owned(),
            },
            format!("write {short}, set {}, or name the store in the settings, as [stores.NAME]", scheme.setting()),
        ),
        Astray::NotServed(name) => (
            format!("stores.{name} there does not serve this place"),
            format!("add \"{}://{bucket}\" to stores.{name}.serves", scheme.name()),
        ),
        Astray::Several(one, other) => (
            format!("stores.{one} and stores.{other} are both there"),
            format!("say by stores.NAME.serves which serves {}://{bucket}", scheme.name()),
        ),
    };
    UriError::Endpoint { uri: shown(uri), endpoint: shown(authority), own, next_step }
}

pub(crate) fn check_bucket(uri: &str, bucket: &str) -> Result<(), UriError> {
    if bucket.is_empty() {
        return Err(UriError::NoBucket(shown(uri)));
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if bucket.starts_with('.') || !bucket.chars().all(is_plain) {
        return Err(UriError::Path { uri: shown(uri), fault: "the bucket's name has characters no bucket has".into() });
    }
    Ok(())
}

pub(crate) fn plain_path(encoded: &str) -> Result<String, String> {
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

/// Bucket and key of a path inside a snapshot that is a URI; both as written, since Milvus does not encode them.
/// An authority without a port may be an endpoint all the same: then the key begins with the bucket's name.
pub fn bucket_and_key(path: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = path.split_once("://")?;
    let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
    match spelling(scheme) {
        Some(Spelling::Endpoint(_) | Spelling::Http) => Some(key.split_once('/').unwrap_or((key, ""))),
        _ if authority.contains(':') => Some(key.split_once('/').unwrap_or((key, ""))),
        Some(Spelling::Short(_)) | None => Some((authority, key)),
    }
}

#[cfg(test)]
mod tests;
