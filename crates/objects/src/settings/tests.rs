//! Settings of stores as their user meets them: what is taken, and the words of what is refused.

use super::*;

fn table(text: &str) -> Result<NamedStores, String> {
    let stores: NamedStores = toml::from_str(text).map_err(|error| error.to_string())?;
    check_named_stores(&stores).map_err(|error| error.to_string())?;
    Ok(stores)
}

#[test]
fn every_kind_of_store_can_be_named() {
    let text = r#"
        [archive]
        kind = "s3"
        serves = ["s3://old", "s3://shared/prefix"]
        endpoint = "https://archive:9000"
        region = "eu-west-1"
        credentials-file = "/etc/ferry/archive"
        credentials-profile = "copies"
        ca-file = "/etc/ferry/archive.pem"
        encryption = "kms"
        kms-key-id = "key"

        [sky]
        kind = "azure"
        account = "acc"
        credentials-environment = "SKY"

        [plain]
        kind = "gcs"
        serves = ["gs://plain"]
        ambient-credentials = true
    "#;
    let stores = table(text).unwrap();
    assert_eq!(stores["archive"].credentials_source(), "file /etc/ferry/archive, profile copies");
    assert_eq!(stores["sky"].credentials_source(), "variables SKY_*");
    assert_eq!(stores["plain"].credentials_source(), "this machine's own");
    assert_eq!(
        toml::from_str::<NamedStores>(&toml::to_string(&stores).unwrap()).unwrap(),
        stores,
        "a dump says the same"
    );
}

#[test]
fn keys_are_those_of_the_table() {
    let path = Some(PathBuf::from("/x"));
    let word = Some("x".to_owned());
    let full = StoreSettings {
        serves: vec!["s3://b".to_owned()],
        endpoint: "x".to_owned(),
        region: "x".to_owned(),
        path_style: Some(true),
        account: "x".to_owned(),
        credentials_file: path.clone(),
        credentials_profile: word.clone(),
        credentials_environment: word.clone(),
        role_arn: word.clone(),
        web_identity_token_file: path.clone(),
        ambient_credentials: true,
        anonymous: true,
        ca_file: path.clone(),
        proxy: "x".to_owned(),
        encryption: Some(Encryption::Aes256),
        kms_key_id: word,
        customer_key_file: path,
        storage_class: Some("x".to_owned()),
        requester_pays: true,
        requests_per_second: Some(1),
        ..StoreSettings::new(StoreKind::S3)
    };
    let table = toml::Table::try_from(&full).unwrap();
    let (mut keys, mut known): (Vec<&str>, _) =
        (table.keys().map(String::as_str).collect(), StoreSettings::KEYS.to_vec());
    keys.sort_unstable();
    known.sort_unstable();
    assert_eq!(keys, known);
}

#[test]
fn what_no_store_can_have_is_named_with_its_key() {
    let s3 = "kind = \"s3\"\nserves = [\"s3://b\"]\n";
    let open = "anonymous = true\n";
    for (body, part) in [
        (format!("{s3}{open}endpoint = \"minio:9000\""), "`stores.a.endpoint` is no URL"),
        (format!("{s3}{open}endpoint = \"http://me:secret@minio\""), "`stores.a.endpoint` has a user or a password"),
        (format!("{s3}{open}proxy = \"proxy\""), "`stores.a.proxy` is no URL"),
        (format!("{s3}{open}region = \"eu west\""), "`stores.a.region` has a space"),
        (s3.to_owned(), "set 0 times: set one of"),
        (format!("{s3}{open}ambient-credentials = true"), "set 2 times"),
        (format!("{s3}credentials-environment = \"my-store\""), "`stores.a.credentials-environment` is no beginning"),
        (format!("{s3}role-arn = \"r\""), "belong together"),
        (format!("{s3}role-arn = \"r\"\nendpoint = \"http://minio\""), "the token would be shown to AWS"),
        (format!("{s3}{open}credentials-profile = \"p\""), "`stores.a.credentials-profile`"),
        (format!("{s3}{open}kms-key-id = \"k\""), "without encryption = \"kms\""),
        (format!("{s3}{open}encryption = \"customer-key\""), "customer-key-file"),
        (format!("{s3}{open}account = \"x\""), "only stores of kind azure"),
        (format!("{s3}{open}storage-class = \"deep_archive\""), "`stores.a.storage-class` is an archive"),
        (format!("{s3}{open}storage-class = \"a b\""), "`stores.a.storage-class` has a space"),
        (format!("kind = \"s3\"\n{open}"), "`stores.a.serves` is missing"),
        (format!("kind = \"s3\"\nserves = [\"gs://b\"]\n{open}"), "scheme \"gs\""),
        (format!("kind = \"s3\"\nserves = [\"s3://\"]\n{open}"), "names no bucket"),
        (format!("kind = \"s3\"\nserves = [\"s3://b/../c\"]\n{open}"), "no plain path"),
        (format!("kind = \"azure\"\n{open}"), "`stores.a.account` is missing"),
        (format!("kind = \"gcs\"\nserves = [\"gs://b\"]\nregion = \"x\"\n{open}"), "only stores of kind s3"),
        ("kind = \"ftp\"".to_owned(), "unknown variant"),
        (format!("{s3}{open}endpiont = \"x\""), "unknown field `endpiont`"),
    ] {
        let message = table(&format!("[a]\n{body}")).unwrap_err();
        assert!(message.contains(part), "{body}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    let twice = format!("[a]\n{s3}{open}[b]\n{s3}{open}");
    assert!(table(&twice).unwrap_err().contains("stores.a serves as well"));
    assert!(table(&format!("[\"A b\"]\n{s3}{open}")).unwrap_err().contains("is no name"));
}
