//! Every spelling of a place, and what is refused.

use super::*;
use crate::routes::Endpoints;

fn routes() -> Routes {
    only(Endpoints {
        s3: Some("127.0.0.1:9000".to_owned()),
        gcs: None,
        azure: Some("account.blob.core.windows.net".to_owned()),
    })
}

fn only(environment: Endpoints) -> Routes {
    Routes { environment, ..Routes::default() }
}

#[test]
fn one_place_has_one_name_whatever_its_spelling() {
    for (uri, identity, path) in [
        ("s3://bucket/some/prefix", "s3://bucket", "some/prefix"),
        ("s3://bucket", "s3://bucket", ""),
        ("s3://127.0.0.1:9000/bucket/a", "s3://bucket", "a"),
        ("minio://127.0.0.1:9000/bucket/a/b", "s3://bucket", "a/b"),
        ("http://127.0.0.1:9000/bucket/a", "s3://bucket", "a"),
        ("gs://bucket/a/", "gs://bucket", "a"),
        ("gcs://bucket/a", "gs://bucket", "a"),
        ("https://storage.googleapis.com/bucket/a", "gs://bucket", "a"),
        ("az://container/a", "az://container", "a"),
        ("azure://account.blob.core.windows.net/container/a", "az://container", "a"),
        ("https://account.blob.core.windows.net:443/container/a", "az://container", "a"),
        ("memory:///", "memory://", ""),
        ("FILE:///a", "file://", "a"),
    ] {
        let place = ParsedUri::parse(uri, &routes()).expect(uri);
        assert_eq!((place.base.as_str(), place.path.as_str()), (identity, path), "{uri}");
    }
}

#[test]
fn the_endpoint_of_another_store_is_refused_and_named() {
    let (own, none) = (routes(), Routes::default());
    for (uri, routes, parts) in [
        ("minio://10.0.0.9:9000/bkt/a", &own, ["10.0.0.9:9000", "is at 127.0.0.1:9000"]),
        ("s3://minio:9000/bkt/a", &own, ["minio:9000", "write s3://bkt/..."]),
        ("https://minio.example/bkt/a", &own, ["minio.example", "set AWS_ENDPOINT"]),
        ("minio://127.0.0.1:9000/bkt/a", &none, ["127.0.0.1:9000", "has no endpoint set"]),
        ("azure://other.blob.core.windows.net/c/a", &own, ["other.blob", "AZURE_STORAGE_ACCOUNT_NAME"]),
    ] {
        let message = ParsedUri::parse(uri, routes).expect_err(uri).to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{uri}: {message}");
    }
}

#[test]
fn an_authority_that_is_our_endpoint_is_no_bucket() {
    let routes = only(Endpoints { s3: Some("minio.example".to_owned()), ..Endpoints::default() });
    let place = ParsedUri::parse("s3://minio.example/bkt/a", &routes).unwrap();
    assert_eq!((place.bucket.as_str(), place.path.as_str()), ("bkt", "a"));
    let public = ParsedUri::parse("https://s3.eu-west-1.amazonaws.com/bkt/a", &Routes::default()).unwrap();
    assert_eq!((public.bucket.as_str(), public.path.as_str()), ("bkt", "a"));
}

#[test]
fn a_path_in_a_snapshot_gives_bucket_and_key_in_every_dialect() {
    for (path, expected) in [
        ("s3://b/files/x", Some(("b", "files/x"))),
        ("minio://h:9/b/files/x", Some(("b", "files/x"))),
        ("s3://h:9/b/files/x", Some(("b", "files/x"))),
        ("https://h/b/files/x", Some(("b", "files/x"))),
        ("azure://a.blob.host/c/x", Some(("c", "x"))),
        ("gcs://b/x", Some(("b", "x"))),
        ("files/x", None),
    ] {
        assert_eq!(bucket_and_key(path), expected, "{path}");
    }
}
