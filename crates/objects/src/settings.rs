//! Stores that a process is told of by name: what each speaks, where it is, what it serves, whose credentials it is shown.
//! No setting holds a secret: they name the file or the variables that do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key::shown;
use crate::plain;
use crate::routes::Served;
use crate::uri::Scheme;

/// Most named stores of one process.
const STORES_MAX: usize = 100;
/// Classes whose objects cannot be read at once.
const ARCHIVES: [(StoreKind, &str); 3] =
    [(StoreKind::S3, "GLACIER"), (StoreKind::S3, "DEEP_ARCHIVE"), (StoreKind::Azure, "ARCHIVE")];
/// Most URIs that one of them serves.
const SERVES_MAX: usize = 100;

/// The `[stores.NAME]` tables of a process, by name.
pub type NamedStores = BTreeMap<String, StoreSettings>;

/// What a store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// S3 and whatever speaks its protocol: `s3://bucket/key`.
    S3,
    /// Google Cloud Storage: `gs://bucket/key`.
    Gcs,
    /// Azure Blob Storage: `az://container/key`.
    Azure,
}

impl StoreKind {
    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::S3 => Scheme::S3,
            Self::Gcs => Scheme::Gcs,
            Self::Azure => Scheme::Azure,
        }
    }

    /// As settings write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// How objects are encrypted where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// By the store, with keys of its own.
    Aes256,
    /// By the store, with a key of its key management service.
    Kms,
    /// By the store, with a key that every request carries.
    CustomerKey,
}

/// One `[stores.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StoreSettings {
    /// What it speaks.
    pub kind: StoreKind,
    /// The URIs that it serves, as `s3://bucket` or `s3://bucket/prefix`; the longest one that fits decides. A URI with the
    /// store's endpoint in it, as `minio://host:port/bucket/key`, needs none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
    /// Where it is, as `https://host:port`; empty: the cloud's own address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// Its region (S3 only); empty: us-east-1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Whether the bucket stands in the path rather than in the host's name (S3 only); unset: where an endpoint is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// The storage account (Azure only).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// A file with credentials in the form of the cloud's own tools, read again when it changes. S3: a shared credentials
    /// file; GCS: a service account or a user's credentials as JSON; Azure: a connection string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// The section of the credentials file (S3 only); unset: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_profile: Option<String>,
    /// What the variables with its credentials begin with: `A` has the store take `A_ACCESS_KEY_ID` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_environment: Option<String>,
    /// A role to take with the token in `web-identity-token-file` (S3 only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The token that says who takes the role; it is read anew whenever the role's credentials run out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity_token_file: Option<PathBuf>,
    /// Takes the credentials that the cloud gives this machine, and asks its metadata service for them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ambient_credentials: bool,
    /// Shows no credentials: for what everybody may read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anonymous: bool,
    /// Certificates, as PEM, that the store's own may be signed by, beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The proxy to reach it through, as `http://host:port`; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// How what is written is encrypted (S3 only); unset: as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The key of `encryption = "kms"`; unset: the account's default key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    /// A file with the 256-bit key of `encryption = "customer-key"`, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_key_file: Option<PathBuf>,
    /// The storage class of what is written, at Azure the access tier; unset: as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Whoever asks pays for the request (S3 only).
    #[serde(default, skip_serializing_if = "is_false")]
    pub requester_pays: bool,
    /// Requests a second that one process sends at most; unset: as the store allows. What a client repeats by itself, and
    /// what reads a snapshot's own files or a copy back, is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A setting that no store can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{key}` {fault}")]
pub struct SettingsError {
    /// The setting, as `stores.NAME.endpoint`.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub fault: String,
}

impl StoreSettings {
    /// A store of which only the kind is said.
    #[must_use]
    pub fn new(kind: StoreKind) -> Self {
        Self {
            kind,
            serves: Vec::new(),
            endpoint: String::new(),
            region: String::new(),
            path_style: None,
            account: String::new(),
            credentials_file: None,
            credentials_profile: None,
            credentials_environment: None,
            role_arn: None,
            web_identity_token_file: None,
            ambient_credentials: false,
            anonymous: false,
            ca_file: None,
            proxy: String::new(),
            encryption: None,
            kms_key_id: None,
            customer_key_file: None,
            storage_class: None,
            requester_pays: false,
            requests_per_second: None,
        }
    }

    /// Every key of a store's table.
    pub const KEYS: [&'static str; 21] = [
        "kind",
        "serves",
        "endpoint",
        "region",
        "path-style",
        "account",
        "credentials-file",
        "credentials-profile",
        "credentials-environment",
        "role-arn",
        "web-identity-token-file",
        "ambient-credentials",
        "anonymous",
        "ca-file",
        "proxy",
        "encryption",
        "kms-key-id",
        "customer-key-file",
        "storage-class",
        "requester-pays",
        "requests-per-second",
    ];

    /// Where the credentials come from, in words without any of them.
    #[must_use]
    pub fn credentials_source(&self) -> String {
        if let Some(file) = &self.credentials_file {
            return match &self.credentials_profile {
                Some(profile) => format!("file {}, profile {profile}", file.display()),
                None => format!("file {}", file.display()),
            };
        }
        if let Some(prefix) = &self.credentials_environment {
            return format!("variables {prefix}_*");
        }
        match (&self.role_arn, self.ambient_credentials) {
            (Some(role), _) => format!("role {role}"),
            (None, true) => "this machine's own".to_owned(),
            (None, false) => "none".to_owned(),
        }
    }
}

/// Refuses settings that no store could have, before any client is made of them.
///
/// # Errors
/// The first setting that cannot be.
pub fn check_named_stores(stores: &NamedStores) -> Result<(), SettingsError> {
    let fails = |key: String, fault: &str| Err(SettingsError { key, fault: fault.to_owned() });
    if stores.len() > STORES_MAX {
        return fails("stores".to_owned(), &format!("names more than {STORES_MAX} stores: leave some out"));
    }
    let mut served = BTreeMap::new();
    for (name, store) in stores {
        let is_name =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            return fails(format!("stores.{}", shown(name)), "is no name: use at most 64 of a-z, 0-9 and hyphens");
        }
        store.check().map_err(|(key, fault)| SettingsError { key: format!("stores.{name}.{key}"), fault })?;
        for uri in &store.serves {
            let place = Served::parse(uri, store.kind.scheme()).ok();
            if let Some(other) = served.insert((store.kind.name(), place), name) {
                return fails(
                    format!("stores.{name}.serves"),
                    &format!("has {uri}, which stores.{other} serves as well"),
                );
            }
        }
    }
    Ok(())
}

type Check = Result<(), (&'static str, String)>;

fn require(holds: bool, key: &'static str, fault: impl Into<String>) -> Check {
    if holds { Ok(()) } else { Err((key, fault.into())) }
}

impl StoreSettings {
    fn check(&self) -> Check {
        self.check_place()?;
        self.check_credentials()?;
        self.check_encryption()?;
        if !self.proxy.is_empty() {
            plain::endpoint(&self.proxy).map_err(|fault| ("proxy", fault))?;
        }
        let Some(class) = &self.storage_class else { return Ok(()) };
        plain::word(class).map_err(|fault| ("storage-class", fault))?;
        let is_archive = ARCHIVES.contains(&(self.kind, class.to_ascii_uppercase().as_str()));
        require(
            !is_archive,
            "storage-class",
            "is an archive, where no copy can be verified: let a lifecycle rule move copies",
        )
    }

    fn check_place(&self) -> Check {
        let is = |kind| self.kind == kind;
        require(self.serves.len() <= SERVES_MAX, "serves", format!("has more than {SERVES_MAX} URIs: leave some out"))?;
        for uri in &self.serves {
            Served::parse(uri, self.kind.scheme()).map_err(|fault| ("serves", fault))?;
        }
        if !self.endpoint.is_empty() {
            plain::endpoint(&self.endpoint).map_err(|fault| ("endpoint", fault))?;
        }
        if !self.region.is_empty() {
            plain::word(&self.region).map_err(|fault| ("region", fault))?;
        }
        require(self.region.is_empty() || is(StoreKind::S3), "region", "is set, but only stores of kind s3 have one")?;
        require(self.path_style.is_none() || is(StoreKind::S3), "path-style", "is set, but is for kind s3 only")?;
        require(!self.requester_pays || is(StoreKind::S3), "requester-pays", "is set, but is for kind s3 only")?;
        if is(StoreKind::Azure) {
            require(!self.account.is_empty(), "account", "is missing: name the storage account")?;
            plain::word(&self.account).map_err(|fault| ("account", fault))?;
        } else {
            require(self.account.is_empty(), "account", "is set, but only stores of kind azure have one")?;
        }
        require(self.requests_per_second != Some(0), "requests-per-second", "is 0: leave it out for no limit")?;
        let reached = !self.serves.is_empty() || !self.endpoint.is_empty() || is(StoreKind::Azure);
        require(reached, "serves", "is missing: name what the store serves, as in [\"s3://bucket\"]")
    }

    fn check_credentials(&self) -> Check {
        let sources = [
            self.credentials_file.is_some(),
            self.credentials_environment.is_some(),
            self.role_arn.is_some(),
            self.ambient_credentials,
            self.anonymous,
        ];
        let count = sources.iter().filter(|source| **source).count();
        require(
            count == 1,
            "credentials-file",
            format!(
                "and its like are set {count} times: set one of credentials-file, credentials-environment, role-arn, \
                 ambient-credentials, anonymous"
            ),
        )?;
        let is_s3 = self.kind == StoreKind::S3;
        require(
            self.credentials_profile.is_none() || (is_s3 && self.credentials_file.is_some()),
            "credentials-profile",
            "is set, but names a section of a credentials-file of kind s3",
        )?;
        require(self.role_arn.is_none() || is_s3, "role-arn", "is set, but is for kind s3 only")?;
        require(
            self.role_arn.is_none() || self.endpoint.is_empty(),
            "role-arn",
            "is set with an endpoint: the token would be shown to AWS; leave the endpoint out, or take credentials from a file",
        )?;
        require(
            self.role_arn.is_some() == self.web_identity_token_file.is_some(),
            "web-identity-token-file",
            "and role-arn belong together: set both or neither",
        )?;
        let prefix = self.credentials_environment.as_deref().unwrap_or("A");
        let is_variable =
            |character: char| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_';
        require(
            !prefix.is_empty() && prefix.chars().all(is_variable),
            "credentials-environment",
            "is no beginning of a variable's name: write capitals, as in \"ARCHIVE\" for ARCHIVE_ACCESS_KEY_ID",
        )
    }

    fn check_encryption(&self) -> Check {
        let is_s3 = self.kind == StoreKind::S3;
        require(self.encryption.is_none() || is_s3, "encryption", "is set, but is for kind s3 only")?;
        require(
            self.kms_key_id.is_none() || self.encryption == Some(Encryption::Kms),
            "kms-key-id",
            "is set without encryption = \"kms\"",
        )?;
        require(
            self.customer_key_file.is_some() == (self.encryption == Some(Encryption::CustomerKey)),
            "customer-key-file",
            "and encryption = \"customer-key\" belong together: set both or neither",
        )
    }
}

#[cfg(test)]
mod tests;
