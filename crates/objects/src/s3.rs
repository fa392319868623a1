//! Requests to S3 that the client of stores lacks: made here, signed by its public authorizer with its credentials, sent
//! over its connections.

mod answer;
mod copy_parts;
mod listing;
mod uploads;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::path::Path;

use crate::classed::Classed;
use crate::connect::Client;
use crate::connection::Connector;

pub use copy_parts::{CopiedPart, CopyInParts};
pub use uploads::UnfinishedUpload;

/// What the client takes where no region is set.
const REGION_DEFAULT: &str = "us-east-1";
/// The setting of a key with which the store encrypts, and which it does not keep.
const CUSTOMER_KEY: &str = "aws_sse_customer_key_base64";
/// The setting of how the store encrypts.
const ENCRYPTION: &str = "aws_server_side_encryption";
/// The header that names the source of a copy.
const COPY_SOURCE: &str = "x-amz-copy-source";
/// The store's name in errors, as the client has it.
const STORE: &str = "S3";

/// What these requests need of a store that is open.
#[derive(Debug)]
pub(crate) struct S3 {
    store: AmazonS3,
    client: HttpClient,
    bucket: String,
    /// Where the bucket's keys begin, without a slash at the end.
    bucket_url: String,
    region: String,
    is_signed: bool,
    requester_pays: bool,
    /// Each part of an encrypted copy would need the customer's keys.
    has_customer_key: bool,
    /// So would every copy made here need the words that the client has for it.
    is_encrypted: bool,
    storage_class: Option<String>,
    refuses_copies_in_parts: AtomicBool,
}

/// One answer, read as a whole.
struct Answer {
    status: StatusCode,
    body: String,
}

/// Opens the store that the builder describes, and keeps what the requests here need of it.
pub(crate) fn open(
    builder: AmazonS3Builder,
    connector: &Connector,
    storage_class: Option<String>,
) -> object_store::Result<Client> {
    let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
    let is_set = |key| value(key).is_some_and(|value| is_yes(&value));
    let bucket = value(AmazonS3ConfigKey::Bucket).unwrap_or_default();
    let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| REGION_DEFAULT.to_owned());
    let endpoint = value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
    let bucket_url = bucket_url(endpoint, &bucket, &region, is_set(AmazonS3ConfigKey::VirtualHostedStyleRequest));
    // Its requests are signed with the token of a session, which the client keeps to itself.
    let is_express = is_set(AmazonS3ConfigKey::S3Express);
    let is_signed = !is_set(AmazonS3ConfigKey::SkipSignature);
    let requester_pays = is_set(AmazonS3ConfigKey::RequestPayer);
    let is_encrypted = ENCRYPTION.parse().ok().and_then(value).is_some();
    let has_customer_key = CUSTOMER_KEY.parse().ok().and_then(value).is_some();
    let store = builder.with_http_connector(connector.clone()).build()?;
    let mut shared: Arc<dyn ObjectStore> = Arc::new(store.clone());
    if let Some(class) = &storage_class {
        shared = Arc::new(Classed::new(shared, class));
    }
    let s3 = connector.client().filter(|_| !is_express).map(|client| S3 {
        store,
        client,
        bucket,
        bucket_url,
        region,
        is_signed,
        requester_pays,
        has_customer_key,
        is_encrypted,
        storage_class: storage_class.clone(),
        refuses_copies_in_parts: AtomicBool::new(false),
    });
    Ok(Client { store: shared, s3, storage_class })
}

/// As the client makes it of the same settings.
fn bucket_url(endpoint: Option<String>, bucket: &str, region: &str, is_virtual_hosted: bool) -> String {
    match (endpoint, is_virtual_hosted) {
        (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    }
}

/// As the client reads a flag.
pub(crate) fn is_yes(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

impl S3 {
    /// Whether objects of other buckets can be copied by a request made here.
    pub(crate) fn copies_from_other_buckets(&self) -> bool {
        !self.has_customer_key && !self.is_encrypted
    }

    /// Has the store copy an object of a bucket, of at most 5 GiB.
    pub(crate) async fn copy(&self, bucket: &str, from: &Path, to: &Path) -> object_store::Result<()> {
        let source = copy_source(bucket, from);
        let mut headers = vec![(COPY_SOURCE, source.as_str())];
        headers.extend(self.storage_class.as_deref().map(|class| ("x-amz-storage-class", class)));
        self.send(Method::PUT, Some(to), &[], &headers).await.map(drop)
    }

    /// Sends one request without a body, about a key or about the bucket.
    async fn send(
        &self,
        method: Method,
        path: Option<&Path>,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> object_store::Result<Answer> {
        let mut url = format!("{}/{}", self.bucket_url, path.map(|path| encoded(path.as_ref())).unwrap_or_default());
        for (at, (name, value)) in query.iter().enumerate() {
            let _ = write!(url, "{}{name}={}", if at == 0 { '?' } else { '&' }, encoded_value(value));
        }
        let mut request = Request::builder().method(method).uri(url).header(http::header::CONTENT_LENGTH, 0);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(HttpRequestBody::empty()).map_err(generic)?;
        if self.is_signed {
            let credential = self.store.credentials().get_credential().await?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region);
            authorizer.with_request_payer(self.requester_pays).try_authorize(&mut request, None)?;
        }
        let response = self.client.execute(request).await.map_err(generic)?;
        let status = response.status();
        let body: Bytes = response.into_body().bytes().await.map_err(generic)?;
        answer::checked(path, Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: source.into() }
}

/// An object as the header of a copy names it.
fn copy_source(bucket: &str, path: &Path) -> String {
    format!("/{bucket}/{}", encoded(path.as_ref()))
}

/// A key as a part of a URL, byte for byte.
fn encoded(key: &str) -> String {
    key.split('/').map(encoded_value).collect::<Vec<_>>().join("/")
}

/// The same, where a slash is no separator.
fn encoded_value(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
