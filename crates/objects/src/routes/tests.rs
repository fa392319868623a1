//! Named stores: which of them a URI means, and the one spelling that a place has.

use super::*;
use crate::settings::StoreKind;
use crate::uri::ParsedUri;

fn store(kind: StoreKind, endpoint: &str, serves: &[&str]) -> StoreSettings {
    let serves = serves.iter().map(|uri| (*uri).to_owned()).collect();
    StoreSettings { endpoint: endpoint.to_owned(), serves, ..StoreSettings::new(kind) }
}

fn routes() -> Routes {
    let azure = StoreSettings { account: "acc".to_owned(), ..store(StoreKind::Azure, "", &["az://wide"]) };
    let named = NamedStores::from([
        (
            "archive".to_owned(),
            store(
                StoreKind::S3,
                "https://archive:9000",
                &["s3://old", "s3://shared/a/b", "s3://red", "s3://odd/a%20b/"],
            ),
        ),
        ("blue".to_owned(), store(StoreKind::S3, "http://blue:9000", &[])),
        ("red".to_owned(), store(StoreKind::S3, "http://red", &["s3://shared", "s3://shared/a/x"])),
        ("sky".to_owned(), azure),
        ("plain".to_owned(), store(StoreKind::Gcs, "http://gcs:4443", &[])),
    ]);
    let environment = Endpoints { s3: Some("own:9000".to_owned()), ..Endpoints::default() };
    Routes { environment, ..Routes::new(&named) }
}

fn parsed(uri: &str) -> (Option<String>, String, String) {
    let parsed = ParsedUri::parse(uri, &routes()).expect(uri);
    (parsed.store, parsed.base, parsed.path)
}

#[test]
fn the_longest_prefix_that_fits_decides_and_else_the_environment() {
    for (uri, store, base) in [
        ("s3://old/x", Some("archive"), "s3://old"),
        ("s3://older/x", None, "s3://older"),
        ("s3://shared/a/b", Some("archive"), "s3://shared"),
        ("s3://shared/a/b/c", Some("archive"), "s3://shared"),
        ("s3://shared/a/bc", Some("red"), "s3://shared"),
        ("s3://shared", Some("red"), "s3://shared"),
        ("az://wide/x", Some("sky"), "az://wide"),
        ("az://other/x", None, "az://other"),
        ("gs://old/x", None, "gs://old"),
        ("s3://odd/a%20b/c", Some("archive"), "s3://odd"),
        ("s3://odd/a%2520b/c", None, "s3://odd"),
        // A bucket that is served is no endpoint, though one is named like it.
        ("s3://red/x", Some("archive"), "s3://red"),
    ] {
        let found = parsed(uri);
        assert_eq!((found.0.as_deref(), found.1.as_str()), (store, base), "{uri}");
    }
}

#[test]
fn a_uri_with_an_endpoint_means_the_store_that_is_there() {
    for (uri, store, base, path) in [
        ("minio://blue:9000/any/x", Some("blue"), "minio://blue:9000/any", "x"),
        ("http://blue:9000/any/x", Some("blue"), "minio://blue:9000/any", "x"),
        ("minio://archive:9000/old/x", Some("archive"), "s3://old", "x"),
        ("minio://red:80/shared/x", Some("red"), "s3://shared", "x"),
        ("minio://own:9000/free/x", None, "s3://free", "x"),
        // The short form would mean another store.
        ("minio://own:9000/old/x", None, "minio://own:9000/old", "x"),
        ("https://acc.blob.core.windows.net/wide/x", Some("sky"), "az://wide", "x"),
        ("gs://gcs:4443/any/x", Some("plain"), "gs://gcs:4443/any", "x"),
    ] {
        let found = parsed(uri);
        assert_eq!((found.0.as_deref(), found.1.as_str(), found.2.as_str()), (store, base, path), "{uri}");
        assert_eq!(parsed(&format!("{base}/{path}")).0.as_deref(), store, "the spelling of {uri} means the same store");
    }
}

#[test]
fn a_place_that_no_store_at_an_endpoint_serves_is_refused_with_the_setting() {
    for (uri, parts) in [
        ("minio://archive:9000/new/x", ["stores.archive", "add \"s3://new\" to stores.archive.serves"]),
        ("minio://nobody:9000/new/x", ["nobody:9000", "[stores.NAME]"]),
    ] {
        let message = ParsedUri::parse(uri, &routes()).expect_err(uri).to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let twins = ["one", "two"].map(|name| (name.to_owned(), store(StoreKind::S3, "http://same:1", &[])));
    let message = ParsedUri::parse("minio://same:1/b/x", &Routes::new(&twins.into())).unwrap_err().to_string();
    assert!(message.contains("stores.one and stores.two"), "{message}");
}

#[test]
fn endpoints_are_compared_by_host_and_port() {
    for (endpoint, host) in [
        ("http://Minio:9000/", "minio:9000"),
        ("https://minio:443", "minio"),
        ("http://minio:80", "minio"),
        ("minio:80", "minio"),
        ("minio:9000", "minio:9000"),
    ] {
        assert_eq!(host_of(endpoint), host, "{endpoint}");
    }
}
