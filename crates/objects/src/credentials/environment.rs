//! Whether this process has credentials for a store. Without any, the clients ask the address of the cloud's metadata
//! service, and wait for an answer that no other machine gives.

use crate::uri::Scheme;

/// Allows the credentials that a cloud gives its own machines.
const AMBIENT: &str = "FERRY_AMBIENT_CREDENTIALS";

/// Azure's emulator has keys that everybody knows.
const EMULATOR: &str = "AZURE_STORAGE_USE_EMULATOR";

/// Variables of which one is enough, for S3.
const S3: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
/// The same for GCS.
const GCS: &[&str] = &[
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SKIP_SIGNATURE",
];
/// The same for Azure.
const AZURE: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_SKIP_SIGNATURE",
    EMULATOR,
];

/// Those of them that are a yes or a no.
const FLAGS: &[&str] =
    &[AMBIENT, "AWS_SKIP_SIGNATURE", "GOOGLE_SKIP_SIGNATURE", "AZURE_SKIP_SIGNATURE", "AZURE_USE_AZURE_CLI", EMULATOR];

/// Says which settings are missing, before anything is asked.
pub(crate) fn check(scheme: Scheme) -> object_store::Result<()> {
    check_with(scheme, |name| std::env::var(name).ok())
}

fn check_with(scheme: Scheme, value: impl Fn(&str) -> Option<String>) -> object_store::Result<()> {
    let (store, place, names) = match scheme {
        Scheme::File | Scheme::Memory => return Ok(()),
        Scheme::S3 => ("S3", "s3://bucket", S3),
        Scheme::Gcs => ("GCS", "gs://bucket", GCS),
        Scheme::Azure => ("Azure", "az://container", AZURE),
    };
    let is_set = |name: &str| {
        value(name).is_some_and(|value| {
            let is_yes = ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str());
            if FLAGS.contains(&name) { is_yes } else { !value.is_empty() }
        })
    };
    if is_set(AMBIENT) || names.iter().any(|name| is_set(name)) {
        return Ok(());
    }
    let message = format!(
        "this process has no credentials for {place}/key: set one of {}, or {AMBIENT}=true to use those that the cloud gives this machine, or name the store in the settings, as [stores.NAME]",
        names.join(", ")
    );
    Err(object_store::Error::Generic { store, source: message.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_credentials_the_settings_are_named() {
        for (scheme, name) in [
            (Scheme::S3, "AWS_ACCESS_KEY_ID"),
            (Scheme::Gcs, "GOOGLE_SERVICE_ACCOUNT"),
            (Scheme::Azure, "AZURE_STORAGE_ACCOUNT_KEY"),
        ] {
            let only = |set: &'static str, to: &'static str| move |name: &str| (name == set).then(|| to.to_owned());
            let shown = check_with(scheme, |_| None).unwrap_err().to_string();
            assert!(shown.contains(name) && shown.contains(AMBIENT), "{shown}");
            assert!(check_with(scheme, only(name, "a value")).is_ok());
            assert!(check_with(scheme, only(name, "")).is_err());
            assert!(check_with(scheme, only(AMBIENT, "true")).is_ok());
            assert!(check_with(scheme, only(AMBIENT, "false")).is_err(), "{AMBIENT} forbids as well");
        }
        assert!(check_with(Scheme::File, |_| None).is_ok());
    }
}
