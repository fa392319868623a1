//! Every spelling of a place, and what is refused.

use super::*;

fn endpoints() -> Endpoints {
    Endpoints {
        s3: Some("127.0.0.1:9000".to_owned()),
        gcs: None,
        azure: Some("account.blob.core.windows.net".to_owned()),
    }
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
        let place = ParsedUri::parse(uri, &endpoints()).expect(uri);
        assert_eq!((place.identity().as_str(), place.path.as_str()), (identity, path), "{uri}");
    }
}

#[test]
fn the_endpoint_of_another_store_is_refused_and_named() {
    let own = endpoints();
    for (uri, endpoints, parts) in [
        ("minio://10.0.0.9:9000/bkt/a", &own, ["10.0.0.9:9000", "is at 127.0.0.1:9000"]),
        ("s3://minio:9000/bkt/a", &own, ["minio:9000", "write s3://bkt/..."]),
        ("https://minio.example/bkt/a", &own, ["minio.example", "set AWS_ENDPOINT"]),
        ("minio://127.0.0.1:9000/bkt/a", &Endpoints::default(), ["127.0.0.1:9000", "has no endpoint set"]),
        ("azure://other.blob.core.windows.net/c/a", &own, ["other.blob", "AZURE_STORAGE_ACCOUNT_NAME"]),
    ] {
        let message = ParsedUri::parse(uri, endpoints).expect_err(uri).to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{uri}: {message}");
    }
}

#[test]
fn an_authority_that_is_our_endpoint_is_no_bucket() {
    let endpoints = Endpoints { s3: Some("minio.example".to_owned()), ..Endpoints::default() };
    let place = ParsedUri::parse("s3://minio.example/bkt/a", &endpoints).unwrap();
    assert_eq!((place.bucket.as_str(), place.path.as_str()), ("bkt", "a"));
    let public = ParsedUri::parse("https://s3.eu-west-1.amazonaws.com/bkt/a", &Endpoints::default()).unwrap();
    assert_eq!((public.bucket.as_str(), public.path.as_str()), ("bkt", "a"));
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
