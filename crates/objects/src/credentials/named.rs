//! The credentials of a named store, from where its settings say. No message repeats any part of them.

use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::StaticCredentialProvider;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;

use super::Watched;
use crate::connect::failed;
use crate::plain;
use crate::settings::StoreSettings;

/// The section of a shared credentials file that is taken where no other is named.
const PROFILE_DEFAULT: &str = "default";

/// The value of a variable that begins with the store's prefix; an empty one counts as none.
fn variable(prefix: &str, name: &str) -> Option<String> {
    std::env::var(format!("{prefix}_{name}")).ok().filter(|value| !value.is_empty())
}

/// S3: gives the builder the credentials that the settings name.
pub(crate) fn s3(builder: AmazonS3Builder, settings: &StoreSettings) -> object_store::Result<AmazonS3Builder> {
    if settings.anonymous {
        return Ok(builder.with_skip_signature(true));
    }
    if let Some(path) = &settings.credentials_file {
        let profile = settings.credentials_profile.clone().unwrap_or_else(|| PROFILE_DEFAULT.to_owned());
        let watched = Watched::new(path, "S3", move |content| Ok(fixed(in_profile(content, &profile)?)))?;
        return Ok(builder.with_credentials(Arc::new(watched)));
    }
    if let Some(prefix) = &settings.credentials_environment {
        let needed = |name: &str| {
            variable(prefix, name).ok_or_else(|| failed("S3", format!("the variable {prefix}_{name} is not set")))
        };
        let credential =
            aws_credential(needed("ACCESS_KEY_ID")?, needed("SECRET_ACCESS_KEY")?, variable(prefix, "SESSION_TOKEN"))
                .map_err(|fault| failed("S3", format!("the variables {prefix}_*: {fault}")))?;
        return Ok(builder.with_credentials(fixed(credential)));
    }
    if let (Some(role), Some(token)) = (&settings.role_arn, &settings.web_identity_token_file) {
        let builder = builder.with_config(AmazonS3ConfigKey::RoleArn, role);
        return Ok(builder.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token.display().to_string()));
    }
    // Those of the machine: the client asks for them where it is given none. Containers are told by variables where.
    let machine = [
        AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
        AmazonS3ConfigKey::ContainerCredentialsFullUri,
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
        AmazonS3ConfigKey::WebIdentityTokenFile,
        AmazonS3ConfigKey::RoleArn,
        AmazonS3ConfigKey::RoleSessionName,
        AmazonS3ConfigKey::StsEndpoint,
    ];
    let environment = AmazonS3Builder::from_env();
    Ok(machine.into_iter().fold(builder, |builder, key| match environment.get_config_value(&key) {
        Some(value) => builder.with_config(key, value),
        None => builder,
    }))
}

fn fixed<C: std::fmt::Debug + Send + Sync + 'static>(credential: C) -> Arc<dyn CredentialProvider<Credential = C>> {
    Arc::new(StaticCredentialProvider::new(credential))
}

fn aws_credential(key_id: String, secret_key: String, token: Option<String>) -> Result<AwsCredential, String> {
    plain::word(&key_id).map_err(|fault| format!("the key id {fault}"))?;
    if let Some(token) = &token {
        plain::word(token).map_err(|fault| format!("the session token {fault}"))?;
    }
    Ok(AwsCredential { key_id, secret_key, token })
}

/// One section of a shared credentials file, as the cloud's own tools write it.
fn in_profile(content: &str, profile: &str) -> Result<AwsCredential, String> {
    let mut is_there = false;
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut here = false;
    for line in content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = name.trim() == profile;
            is_there |= here;
            continue;
        }
        let (true, Some((name, value))) = (here, line.split_once('=')) else { continue };
        let value = Some(value.trim().to_owned());
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    if !is_there {
        return Err(format!("it has no section [{profile}]: name one by credentials-profile"));
    }
    let (Some(key_id), Some(secret_key)) = (key_id, secret_key) else {
        return Err(format!("[{profile}] needs aws_access_key_id and aws_secret_access_key"));
    };
    aws_credential(key_id, secret_key, token)
}

/// GCS: gives the builder the credentials that the settings name.
pub(crate) fn gcs(
    builder: GoogleCloudStorageBuilder,
    settings: &StoreSettings,
) -> object_store::Result<GoogleCloudStorageBuilder> {
    if settings.anonymous {
        return Ok(builder.with_skip_signature(true));
    }
    if let Some(path) = &settings.credentials_file {
        let (file, settings) = (path.clone(), settings.clone());
        let watched = Watched::new(path, "GCS", move |content| {
            let is_user = content.contains("authorized_user");
            let builder = GoogleCloudStorageBuilder::new().with_bucket_name("any");
            let builder = match is_user {
                true => builder.with_application_credentials(file.display().to_string()),
                false => builder.with_service_account_key(content),
            };
            let builder = match crate::connect::client_options(&settings) {
                Ok(options) => builder.with_client_options(options),
                Err(error) => return Err(error.to_string()),
            };
            // Its keys are not repeated by the client, which says only which field is wrong.
            let store = builder.build().map_err(|error| error.to_string())?;
            Ok(Arc::clone(store.credentials()))
        })?;
        return Ok(builder.with_credentials(Arc::new(watched)));
    }
    if let Some(prefix) = &settings.credentials_environment {
        let name = "SERVICE_ACCOUNT_KEY";
        let key =
            variable(prefix, name).ok_or_else(|| failed("GCS", format!("the variable {prefix}_{name} is not set")))?;
        return Ok(builder.with_service_account_key(key));
    }
    Ok(builder)
}

/// Azure: gives the builder the credentials that the settings name.
pub(crate) fn azure(
    builder: MicrosoftAzureBuilder,
    settings: &StoreSettings,
) -> object_store::Result<MicrosoftAzureBuilder> {
    if settings.anonymous {
        return Ok(builder.with_skip_signature(true));
    }
    if let Some(path) = &settings.credentials_file {
        let account = settings.account.clone();
        let watched = Watched::new(path, "Azure", move |content| Ok(fixed(connection_string(content, &account)?)))?;
        return Ok(builder.with_credentials(Arc::new(watched)));
    }
    let Some(prefix) = &settings.credentials_environment else { return Ok(builder) };
    let said = |fault: String| failed("Azure", format!("the variables {prefix}_*: {fault}"));
    if let Some(key) = variable(prefix, "ACCOUNT_KEY") {
        return Ok(builder.with_credentials(fixed(access_key(&key).map_err(said)?)));
    }
    if let Some(token) = variable(prefix, "SAS_TOKEN") {
        return Ok(builder.with_credentials(fixed(AzureCredential::SASToken(signature(&token)))));
    }
    match (variable(prefix, "CLIENT_ID"), variable(prefix, "CLIENT_SECRET"), variable(prefix, "TENANT_ID")) {
        (Some(id), Some(secret), Some(tenant)) => Ok(builder.with_client_secret_authorization(id, secret, tenant)),
        _ => Err(said("set ACCOUNT_KEY, SAS_TOKEN, or CLIENT_ID, CLIENT_SECRET and TENANT_ID after that".to_owned())),
    }
}

fn access_key(key: &str) -> Result<AzureCredential, String> {
    let key = AzureAccessKey::try_new(key.trim()).map_err(|_| "the account key is no base64".to_owned())?;
    Ok(AzureCredential::AccessKey(key))
}

/// The pairs of a shared access signature. They are decoded here, as the client encodes them again.
fn signature(token: &str) -> Vec<(String, String)> {
    let mut url = reqwest::Url::parse("http://any/").unwrap_or_else(|error| unreachable!("a constant URL: {error}"));
    url.set_query(Some(token.trim().trim_start_matches('?')));
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// What a connection string lets its holder do, as the cloud's own pages write it.
fn connection_string(content: &str, account: &str) -> Result<AzureCredential, String> {
    let parts = || content.trim().split(';').filter_map(|part| part.split_once('='));
    let part =
        |name: &str| parts().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    if let Some(named) = part("AccountName").filter(|named| *named != account) {
        return Err(format!("it is of account {}, the settings are of {account}", crate::key::shown(named)));
    }
    match (part("AccountKey"), part("SharedAccessSignature")) {
        (Some(key), _) => access_key(key),
        (None, Some(token)) => Ok(AzureCredential::SASToken(signature(token))),
        (None, None) => Err("it is no connection string with AccountKey or SharedAccessSignature".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_a_shared_credentials_file_is_found_by_its_name() {
        let file = "# ours\n[default]\naws_access_key_id = ONE\naws_secret_access_key=first\n\n[other]\n\
                    AWS_ACCESS_KEY_ID=TWO\naws_secret_access_key = a=b\naws_session_token = t\nregion = x\n[empty]\n";
        let one = in_profile(file, "default").unwrap();
        assert_eq!((one.key_id.as_str(), one.secret_key.as_str(), one.token.as_deref()), ("ONE", "first", None));
        let two = in_profile(file, "other").unwrap();
        assert_eq!((two.key_id.as_str(), two.secret_key.as_str(), two.token.as_deref()), ("TWO", "a=b", Some("t")));
        assert!(in_profile(file, "empty").unwrap_err().contains("needs aws_access_key_id"));
        assert!(in_profile(file, "third").unwrap_err().contains("no section [third]"));
    }

    #[test]
    fn a_key_id_that_cannot_stand_in_a_header_is_refused_without_being_repeated() {
        let fault =
            in_profile("[default]\naws_access_key_id = se cret\naws_secret_access_key = b", "default").unwrap_err();
        assert!(fault.contains("key id") && !fault.contains("cret"), "{fault}");
    }

    #[test]
    fn a_connection_string_gives_its_key_or_its_signature() {
        let key =
            "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0==;EndpointSuffix=core.windows.net\n";
        assert!(connection_string(key, "other").unwrap_err().contains("of account \"acc\""));
        assert!(matches!(connection_string("AccountKey=c2VjcmV0", "acc"), Ok(AzureCredential::AccessKey(_))));
        let signed = "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=sv=2021&sig=a%2Bb";
        let Ok(AzureCredential::SASToken(pairs)) = connection_string(signed, "acc") else { panic!("no signature") };
        assert_eq!(pairs, [("sv".to_owned(), "2021".to_owned()), ("sig".to_owned(), "a+b".to_owned())]);
        assert!(connection_string("hello", "acc").unwrap_err().contains("no connection string"));
    }
}
