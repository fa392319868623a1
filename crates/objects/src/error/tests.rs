//! What stores say, by the words of real ones.

use super::*;

#[test]
fn what_a_store_says_is_classified() {
    let io =
        |kind: std::io::ErrorKind| object_store::Error::Generic { store: "s", source: io::Error::from(kind).into() };
    let source = || "cause".into();
    let path = || "key".to_owned();
    for (error, class) in [
        (object_store::Error::NotFound { path: path(), source: source() }, Class::Permanent),
        (object_store::Error::PermissionDenied { path: path(), source: source() }, Class::Refused),
        (object_store::Error::Unauthenticated { path: path(), source: source() }, Class::Refused),
        (object_store::Error::NotSupported { source: source() }, Class::Permanent),
        (object_store::Error::Generic { store: "s", source: source() }, Class::Transient),
        (io(io::ErrorKind::PermissionDenied), Class::Refused),
        (io(io::ErrorKind::NotFound), Class::Permanent),
        (io(io::ErrorKind::TimedOut), Class::Transient),
        (io(io::ErrorKind::StorageFull), Class::Transient),
    ] {
        let error = StoreError::of("s3://bucket/key".into(), &error);
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains("s3://bucket/key"), "{error}");
    }
}

fn generic(text: &str) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
}

fn answer(status: &str, code: &str, message: &str) -> String {
    format!(
        "Error performing GET http://host/bucket/key in 1ms - Server returned non-2xx status code: {status}: \
         <?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    )
}

#[test]
fn every_code_has_its_reason_whatever_its_status() {
    for reason in Reason::ALL {
        for code in reason.codes() {
            for status in ["400 Bad Request", "403 Forbidden", "404 Not Found", "503 Service Unavailable"] {
                let text = answer(status, code, "in the words of the store");
                let source = || text.clone().into();
                for error in [
                    generic(&text),
                    object_store::Error::NotFound { path: "key".into(), source: source() },
                    object_store::Error::PermissionDenied { path: "key".into(), source: source() },
                ] {
                    let error = StoreError::of("s3://bucket/key".into(), &error);
                    assert_eq!(error.reason(), Some(reason), "{status} {code}");
                    let shown = error.to_string();
                    for part in ["s3://bucket/key", code, "in the words of the store", reason.advice()] {
                        assert!(shown.contains(part), "{shown}");
                    }
                    assert!(!shown.contains('<'), "no XML for people: {shown}");
                }
            }
        }
    }
}

/// An answer in the words of the client.
fn status(status: &str, body: &str) -> String {
    format!(
        "Error performing PUT http://certificate/x-amz-checksum - Server returned non-2xx status code: {status}: {body}"
    )
}

#[test]
fn an_answer_without_a_code_is_told_by_its_status() {
    let demands =
        "<Error><Code>InvalidRequest</Code><Message>Content-MD5 or x-amz-checksum is required</Message></Error>";
    let mismatch =
        "<Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not match</Message></Error>";
    for (text, reason) in [
        (status("400 Bad Request", demands), Reason::ChecksumDemanded),
        (status("400 Bad Request", mismatch), Reason::Failed),
        (status("429 Too Many Requests", ""), Reason::Throttled),
        (status("501 Not Implemented", ""), Reason::Unsupported),
        (status("405 Method Not Allowed", ""), Reason::Unsupported),
        (status("500 Internal Server Error", ""), Reason::Failed),
        (status("503 Service Unavailable", "tcp connect error"), Reason::Failed),
    ] {
        assert_eq!(StoreError::of("s3://bucket/key".into(), &generic(&text)).reason(), Some(reason), "{text}");
    }
}

#[test]
fn without_an_answer_the_words_of_the_client_tell() {
    for (text, reason) in [
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            Reason::Elsewhere,
        ),
        ("HTTP error: error sending request: operation timed out", Reason::Silent),
        ("invalid peer certificate: UnknownIssuer", Reason::Untrusted),
        ("dns error: failed to lookup address information", Reason::Unreachable),
        ("tcp connect error: Connection refused (os error 111)", Reason::Unreachable),
        ("error reading http://certificate/key: connection reset", Reason::Failed),
    ] {
        assert_eq!(StoreError::of("s3://bucket/key".into(), &generic(text)).reason(), Some(reason), "{text}");
    }
}

#[test]
fn only_a_refusal_that_stores_give_for_absent_objects_may_mean_one() {
    let denied =
        |text: &str| object_store::Error::PermissionDenied { path: "key".into(), source: text.to_owned().into() };
    let may = |text: &str| StoreError::of("s3://bucket/key".into(), &denied(text)).may_be_missing();
    assert!(may(&answer("403 Forbidden", "AccessDenied", "no")));
    assert!(may(&status("403 Forbidden", "")));
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"] {
        assert!(!may(&answer("403 Forbidden", code, "no")), "{code}");
    }
}

#[test]
fn the_region_that_a_store_names_is_repeated() {
    let text = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message><Region>eu-west-1</Region></Error>";
    let shown = StoreError::of("s3://bucket/key".into(), &generic(text)).to_string();
    assert!(shown.contains("its region is eu-west-1") && shown.contains("AWS_REGION"), "{shown}");
}

#[test]
fn long_words_are_cut() {
    let shown = StoreError::of("s3://bucket/key".into(), &generic(&"x".repeat(10_000))).to_string();
    assert!(shown.len() < 600, "{}", shown.len());
}

/// The table of docs/stores.md, which is made of the code.
#[test]
fn the_table_of_errors_is_in_the_guide() {
    let mut table = String::from("| what it means | codes | who tries again | what to do |\n|---|---|---|---|\n");
    for reason in Reason::ALL {
        let tried = match reason.class() {
            Class::Permanent => "nobody",
            Class::Refused => "each other worker once",
            Class::Transient => "the worker, then others, with pauses",
            Class::Outage => "the worker, then others, with pauses; for an hour no attempt counts",
        };
        let codes = match reason.codes() {
            [] => "-".to_owned(),
            codes => codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", "),
        };
        table += &format!("| {} | {codes} | {tried} | {} |\n", reason.problem(), reason.advice());
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/stores.md")).unwrap();
    assert!(guide.contains(&table), "docs/stores.md lacks this table; paste it:\n{table}");
}
