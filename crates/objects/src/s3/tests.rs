//! What the requests are, before a store sees them.

use super::answer::{checked, element, elements};
use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status: StatusCode::from_u16(status).unwrap(), body: body.into() }
}

#[test]
fn the_url_of_a_bucket_is_the_one_that_the_client_uses() {
    let own = || Some("http://127.0.0.1:9000/".to_owned());
    assert_eq!(bucket_url(own(), "b", "r", false), "http://127.0.0.1:9000/b");
    assert_eq!(bucket_url(own(), "b", "r", true), "http://127.0.0.1:9000");
    assert_eq!(bucket_url(None, "b", "r", false), "https://s3.r.amazonaws.com/b");
    assert_eq!(bucket_url(None, "b", "r", true), "https://b.s3.r.amazonaws.com");
}

#[test]
fn keys_are_encoded_byte_for_byte() {
    assert_eq!(encoded("a b/c+d%/e#f~g/\u{e4}&=?"), "a%20b/c%2Bd%25/e%23f~g/%C3%A4%26%3D%3F");
    assert_eq!(encoded_value("a/b"), "a%2Fb");
}

#[test]
fn an_error_under_a_good_status_is_an_error() {
    let path = Path::from("a");
    let error = "<?xml version=\"1.0\"?><Error><Code>InternalError</Code></Error>";
    assert!(checked(Some(&path), answer(200, error)).is_err());
    assert!(checked(Some(&path), answer(200, "<CopyPartResult></CopyPartResult>")).is_ok());
    let of = |status, body: &str| checked(Some(&path), answer(status, body)).err().unwrap();
    use object_store::Error as E;
    assert!(matches!(of(404, "<Error><Code>NoSuchUpload</Code></Error>"), E::NotFound { .. }));
    assert!(matches!(of(404, "<Error><Code>NoSuchBucket</Code></Error>"), E::Generic { .. }));
    assert!(matches!(of(412, ""), E::Precondition { .. }));
    assert!(matches!(of(403, ""), E::PermissionDenied { .. }));
    assert!(matches!(of(501, ""), E::Generic { .. }));
}

#[test]
fn elements_are_read_as_they_were_meant() {
    let document = "<A><Key>a&amp;b&lt;c&#x2F;d&#101;</Key></A><A><Key>&unknown; & 1</Key></A>";
    let keys: Vec<_> = elements(document, "A").into_iter().map(|one| element(one, "Key").unwrap()).collect();
    assert_eq!(keys, ["a&b<c/de", "&unknown; & 1"]);
    assert_eq!(element(document, "Other"), None);
}
