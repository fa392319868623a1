//! Makes the client of one bucket: from the settings of a named store, or from the process' environment.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{self, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::classed::Classed;
use crate::connection::Connector;
use crate::credentials::{self, environment};
use crate::plain;
use crate::s3::{self, S3, is_yes};
use crate::settings::{Encryption, StoreSettings};
use crate::uri::{ParsedUri, Scheme};

/// How often one request is repeated inside the client before its caller hears of the failure.
const REQUEST_RETRIES_MAX: usize = 3;
/// How long one request is repeated at most.
const REQUEST_RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// What reaches one bucket.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For requests that it lacks.
    pub(crate) s3: Option<S3>,
    /// Into which storage class it writes; none: as the bucket says.
    pub(crate) storage_class: Option<String>,
}

impl From<Arc<dyn ObjectStore>> for Client {
    fn from(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, s3: None, storage_class: None }
    }
}

/// The client of the bucket that `parsed` names.
pub(crate) fn connect(
    parsed: &ParsedUri,
    named: Option<&StoreSettings>,
    connector: &Connector,
) -> object_store::Result<Client> {
    if parsed.scheme.has_bucket() {
        // An error only says that the process has chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    if named.is_none() {
        environment::check(parsed.scheme)?;
    }
    let bucket = parsed.bucket.as_str();
    let storage_class = named.and_then(|settings| settings.storage_class.clone());
    let store: Arc<dyn ObjectStore> = match parsed.scheme {
        Scheme::File => Arc::new(LocalFileSystem::new().with_fsync(true)),
        Scheme::Memory => Arc::new(InMemory::new()),
        Scheme::S3 => {
            let builder = match named {
                Some(settings) => named_s3(settings)?,
                None => AmazonS3Builder::from_env(),
            };
            let builder = hosted(builder, bucket, named.is_some())?;
            let builder = with_checksums(builder).with_bucket_name(bucket);
            return s3::open(builder.with_retry(retries()), connector, storage_class);
        }
        Scheme::Gcs => {
            let builder = match named {
                Some(settings) => named_gcs(settings)?,
                None => GoogleCloudStorageBuilder::from_env(),
            };
            plain_option("GCS", "endpoint", builder.get_config_value(&GoogleConfigKey::BaseUrl), plain::endpoint)?;
            let builder = builder.with_bucket_name(bucket).with_retry(retries());
            Arc::new(builder.with_http_connector(connector.clone()).build()?)
        }
        Scheme::Azure => {
            let builder = match named {
                Some(settings) => named_azure(settings)?,
                None => MicrosoftAzureBuilder::from_env(),
            };
            plain_option("Azure", "endpoint", builder.get_config_value(&AzureConfigKey::Endpoint), plain::endpoint)?;
            plain_option("Azure", "account", builder.get_config_value(&AzureConfigKey::AccountName), plain::word)?;
            plain_option("Azure", "token", builder.get_config_value(&AzureConfigKey::Token), plain::word)?;
            let builder = builder.with_container_name(bucket).with_retry(retries());
            Arc::new(builder.with_http_connector(connector.clone()).build()?)
        }
    };
    Ok(match storage_class {
        Some(class) => Client { store: Arc::new(Classed::new(store, &class)), s3: None, storage_class: Some(class) },
        None => Client::from(store),
    })
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: REQUEST_RETRIES_MAX, retry_timeout: REQUEST_RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// A setting that no client can be made of, in the form of the client's own errors.
pub(crate) fn failed(store: &'static str, fault: String) -> object_store::Error {
    object_store::Error::Generic { store, source: fault.into() }
}

/// Some values that are not plain end the process inside the client.
fn plain_option(
    store: &'static str,
    name: &str,
    value: Option<String>,
    check: impl Fn(&str) -> Result<(), String>,
) -> object_store::Result<()> {
    let Some(value) = value else { return Ok(()) };
    check(&value).map_err(|fault| failed(store, format!("its {name} {fault}")))
}

fn named_s3(settings: &StoreSettings) -> object_store::Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::new().with_client_options(client_options(settings)?);
    if !settings.endpoint.is_empty() {
        builder = builder.with_endpoint(&settings.endpoint);
    }
    if !settings.region.is_empty() {
        builder = builder.with_region(&settings.region);
    }
    let path_style = settings.path_style.unwrap_or(!settings.endpoint.is_empty());
    builder = builder.with_virtual_hosted_style_request(!path_style).with_request_payer(settings.requester_pays);
    builder = match settings.encryption {
        None => builder,
        Some(Encryption::Aes256) => builder.with_config("aws_server_side_encryption".parse()?, "AES256"),
        Some(Encryption::Kms) => match &settings.kms_key_id {
            Some(key_id) => builder.with_sse_kms_encryption(key_id),
            None => builder.with_config("aws_server_side_encryption".parse()?, "aws:kms"),
        },
        Some(Encryption::CustomerKey) => {
            let path = settings.customer_key_file.as_deref().unwrap_or(FilePath::new(""));
            let key = std::fs::read_to_string(path)
                .map_err(|error| failed("S3", format!("the key file {} cannot be read: {error}", path.display())))?;
            builder.with_ssec_encryption(key.trim())
        }
    };
    credentials::s3(builder, settings)
}

fn named_gcs(settings: &StoreSettings) -> object_store::Result<GoogleCloudStorageBuilder> {
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client_options(settings)?);
    if !settings.endpoint.is_empty() {
        builder = builder.with_base_url(&settings.endpoint);
    }
    credentials::gcs(builder, settings)
}

fn named_azure(settings: &StoreSettings) -> object_store::Result<MicrosoftAzureBuilder> {
    let options = client_options(settings)?;
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(options).with_account(&settings.account);
    if !settings.endpoint.is_empty() {
        builder = builder.with_endpoint(settings.endpoint.clone());
    }
    credentials::azure(builder, settings)
}

/// The connection that the settings ask for.
pub(crate) fn client_options(settings: &StoreSettings) -> object_store::Result<ClientOptions> {
    let mut options = ClientOptions::new().with_allow_http(settings.endpoint.starts_with("http://"));
    if !settings.proxy.is_empty() {
        options = options.with_proxy_url(&settings.proxy);
    }
    if let Some(path) = &settings.ca_file {
        let said = |fault: String| failed("HTTP", format!("the ca-file {} {fault}", path.display()));
        let content = std::fs::read(path).map_err(|error| said(format!("cannot be read: {error}")))?;
        let bundle = Certificate::from_pem_bundle(&content).map_err(|error| said(format!("is no PEM: {error}")))?;
        if bundle.is_empty() {
            return Err(said("has no certificate in it".to_owned()));
        }
        options = bundle.into_iter().fold(options, ClientOptions::with_root_certificate);
    }
    Ok(options)
}

/// With the bucket in the host's name the client takes an endpoint as that of the bucket already: without the bucket in it,
/// the first folder of each key would become one.
fn hosted(builder: AmazonS3Builder, bucket: &str, is_named: bool) -> object_store::Result<AmazonS3Builder> {
    for (name, key) in [
        ("key id", AmazonS3ConfigKey::AccessKeyId),
        ("session token", AmazonS3ConfigKey::Token),
        ("region", AmazonS3ConfigKey::Region),
    ] {
        plain_option("S3", name, builder.get_config_value(&key), plain::word)?;
    }
    let hosted = builder.get_config_value(&AmazonS3ConfigKey::VirtualHostedStyleRequest);
    let is_hosted = hosted.is_some_and(|value| is_yes(&value));
    let mut builder = builder;
    for key in [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint] {
        let Some(endpoint) = builder.get_config_value(&key) else { continue };
        plain_option("S3", "endpoint", Some(endpoint.clone()), plain::endpoint)?;
        if is_hosted {
            builder = builder.with_config(key, with_bucket(&endpoint, bucket, is_named));
        }
    }
    Ok(builder)
}

/// The endpoint of one bucket below that of the store. In the environment it may be that of the bucket already.
fn with_bucket(endpoint: &str, bucket: &str, is_named: bool) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let rest = rest.trim_end_matches('/');
    match !is_named && rest.starts_with(&format!("{bucket}.")) {
        true => format!("{scheme}://{rest}"),
        false => format!("{scheme}://{bucket}.{rest}"),
    }
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
    fn the_bucket_stands_in_the_host_once() {
        for (endpoint, expected) in [
            ("http://minio:9000", "http://bkt.minio:9000"),
            ("http://minio:9000/", "http://bkt.minio:9000"),
            ("https://bkt.minio", "https://bkt.minio"),
        ] {
            assert_eq!(with_bucket(endpoint, "bkt", false), expected);
        }
        assert_eq!(with_bucket("https://minio.example", "minio", true), "https://minio.minio.example");
    }

    #[test]
    fn every_yes_of_the_client_puts_the_bucket_into_the_host() {
        for (yes, expected) in
            [("1", "http://bkt.minio:9"), ("TRUE", "http://bkt.minio:9"), ("false", "http://minio:9")]
        {
            let builder = AmazonS3Builder::new().with_endpoint("http://minio:9");
            let builder = builder.with_config(AmazonS3ConfigKey::VirtualHostedStyleRequest, yes);
            let builder = hosted(builder, "bkt", false).unwrap();
            assert_eq!(builder.get_config_value(&AmazonS3ConfigKey::Endpoint).as_deref(), Some(expected), "{yes}");
        }
    }

    #[test]
    fn values_that_would_end_the_process_are_refused() {
        let plain = AmazonS3Builder::new().with_access_key_id("AKIA").with_endpoint("http://127.0.0.1:1");
        assert!(hosted(plain.clone(), "bkt", false).is_ok());
        assert!(hosted(plain.clone().with_access_key_id("a\nb"), "bkt", false).is_err());
        assert!(hosted(plain.clone().with_endpoint("127.0.0.1"), "bkt", false).is_err());
        assert!(hosted(plain.with_region("eu west"), "bkt", false).is_err());
    }
}
