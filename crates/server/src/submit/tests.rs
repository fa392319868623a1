//! What can be told from a request alone: each bad input as a row of a table, with its field and its words.

use super::*;
use crate::config::{JobOptions as Defaults, Timeout};
use ferry_machine::limits;
use ferry_machine::row::{FailurePolicy, Indexes, VerifyMode};
use ferry_objects::Stores;
use ferry_proto::v1;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn good() -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        source: Some(v1::SnapshotRef { uri: "file:///source".into() }),
        target: Some(v1::TargetRef { uri: "file:///target".into(), collection_id: 200, ..v1::TargetRef::default() }),
        options: Some(v1::JobOptions::default()),
        ..v1::SubmitJobRequest::default()
    }
}

fn checked(request: v1::SubmitJobRequest) -> Result<CheckedSubmit, Status> {
    check(request, &Defaults::default(), &Stores::new())
}

fn mapping(source: i64, target: i64, partition: i64) -> v1::IdMapping {
    v1::IdMapping { source_segment_id: source, target_segment_id: target, partition_id: partition }
}

/// One bad input: what is changed in a good request, the field that is named, and words of the message.
struct Bad(fn(&mut v1::SubmitJobRequest), &'static str, &'static str);

fn options(request: &mut v1::SubmitJobRequest) -> &mut v1::JobOptions {
    request.options.as_mut().unwrap()
}

fn target(request: &mut v1::SubmitJobRequest) -> &mut v1::TargetRef {
    request.target.as_mut().unwrap()
}

const TABLE: [Bad; 44] = [
    Bad(
        |request| {
            options(request).verify_only = true;
            target(request).uri = String::new();
        },
        "target.uri",
        "is empty: name the copy's own snapshot",
    ),
    Bad(
        |request| {
            options(request).verify_only = true;
            target(request).collection_id = -1;
        },
        "target.collection_id",
        "is -1: leave it out",
    ),
    Bad(
        |request| {
            options(request).verify_only = true;
            options(request).on_failure = v1::FailurePolicy::Keep.into();
        },
        "options.on_failure",
        "copies nothing to keep",
    ),
    Bad(|request| request.request_id = "r".repeat(257), "request_id", "has 257 bytes: use at most 256"),
    Bad(|request| request.request_id = "a\u{1b}[2J".into(), "request_id", "control character"),
    Bad(|request| request.name = "n".repeat(257), "name", "has 257 bytes: use at most 256"),
    Bad(|request| request.name = "two\nlines".into(), "name", "\"two\\nlines\" contains a control character"),
    Bad(|request| request.source = None, "source.uri", "is empty: name the snapshot's metadata file or prefix"),
    Bad(|request| request.source.as_mut().unwrap().uri = "/data".into(), "source.uri", "write file:///absolute/path"),
    Bad(|request| request.source.as_mut().unwrap().uri = "file:///a/../b".into(), "source.uri", "'..'"),
    Bad(
        |request| request.source.as_mut().unwrap().uri = "s3://key:secret@bucket/a".into(),
        "source.uri",
        "credentials",
    ),
    Bad(
        |request| request.source.as_mut().unwrap().uri = format!("file:///{}", "a".repeat(4_096)),
        "source.uri",
        "at most 4096",
    ),
    Bad(|request| target(request).uri = String::new(), "target.uri", "is empty: name the root the copies go to"),
    Bad(|request| target(request).uri = "ftp://host/a".into(), "target.uri", "'ftp' is not known; use file, s3"),
    Bad(|request| target(request).uri = "file:///a%00b".into(), "target.uri", "refused"),
    Bad(|request| target(request).uri = "file:///a%5cb".into(), "target.uri", "backslash"),
    Bad(|request| target(request).uri = "file://relative/a".into(), "target.uri", "not absolute"),
    Bad(|request| target(request).collection_id = 0, "target.collection_id", "is 0: name the collection"),
    Bad(|request| target(request).collection_id = -5, "target.collection_id", "is -5"),
    Bad(|request| _ = target(request).partition_ids.insert(1, 0), "target.partition_ids", "maps 1 to 0"),
    Bad(|request| _ = target(request).partition_ids.insert(-2, 7), "target.partition_ids", "maps -2 to 7"),
    Bad(
        |request| request.id_mappings = vec![mapping(0, 5, 0)],
        "id_mappings[0].source_segment_id",
        "is 0: name a segment",
    ),
    Bad(|request| request.id_mappings = vec![mapping(-1, 5, 0)], "id_mappings[0].source_segment_id", "is -1"),
    Bad(
        |request| request.id_mappings = vec![mapping(1, -5, 0)],
        "id_mappings[0].target_segment_id",
        "or 0 to have one chosen",
    ),
    Bad(|request| request.id_mappings = vec![mapping(1, 5, -1)], "id_mappings[0].partition_id", "is -1"),
    Bad(
        |request| request.id_mappings = vec![mapping(1, 5, 0), mapping(1, 6, 0)],
        "id_mappings[1].source_segment_id",
        "is 1, as in id_mappings[0]: name each source segment once",
    ),
    Bad(
        |request| request.id_mappings = vec![mapping(1, 5, 0), mapping(2, 5, 0)],
        "id_mappings[1].target_segment_id",
        "is 5, as in id_mappings[0]: name each target segment once",
    ),
    Bad(|request| options(request).priority = Some(101), "options.priority", "is 101: use 0 to 100"),
    Bad(|request| options(request).priority = Some(-1), "options.priority", "is -1: use 0 to 100"),
    Bad(|request| options(request).segments_per_task_max = 101, "options.segments_per_task_max", "use 1 to 100"),
    Bad(|request| options(request).attempts_max = 1_001, "options.attempts_max", "use 1 to 1000"),
    Bad(|request| options(request).verify = 99, "options.verify", "is 99, which is no value of its enum"),
    Bad(|request| options(request).on_exhausted = -1, "options.on_exhausted", "is -1"),
    Bad(|request| options(request).on_failure = 9, "options.on_failure", "is 9, which is no value of its enum"),
    Bad(
        |request| {
            options(request).set_on_failure(v1::FailurePolicy::Pause);
            options(request).set_on_exhausted(v1::ExhaustedPolicy::Fail);
        },
        "options.on_failure",
        "differs from options.on_exhausted, which means the same: set one of the two",
    ),
    Bad(
        |request| {
            options(request).set_on_failure(v1::FailurePolicy::Fail);
            options(request).set_on_exhausted(v1::ExhaustedPolicy::Pause);
        },
        "options.on_failure",
        "differs from options.on_exhausted",
    ),
    Bad(|request| options(request).indexes = vec![9], "options.indexes", "is 9"),
    Bad(|request| options(request).indexes = vec![1, 3], "options.indexes", "stands alone"),
    Bad(|request| request.accept = vec!["all".into()], "accept[0]", "there are rows-beyond-snapshot, encryption-zone"),
    Bad(
        |request| {
            request.select = Some(v1::Selection { partitions: vec!["a".into()], segment_ids: vec![1] });
        },
        "select.segment_ids",
        "choose by one of the two",
    ),
    Bad(
        |request| {
            request.id_mappings = vec![mapping(1, 5, 0)];
            request.select = Some(v1::Selection { segment_ids: vec![1], ..v1::Selection::default() });
        },
        "select",
        "leave out one of the two",
    ),
    Bad(
        |request| {
            options(request).no_timeout = true;
            options(request).timeout_ms = 5;
        },
        "options.no_timeout",
        "set one of the two",
    ),
    Bad(|request| _ = options(request).labels.insert(String::new(), "v".into()), "options.labels", "an empty key"),
    Bad(
        |request| options(request).labels = (0..65).map(|key| (key.to_string(), String::new())).collect(),
        "options.labels",
        "has 65 entries: use at most 64",
    ),
];

#[test]
fn every_bad_input_is_refused_with_its_field_and_the_next_step() {
    for (index, Bad(spoil, field, words)) in TABLE.iter().enumerate() {
        let mut request = good();
        spoil(&mut request);
        let status = checked(request).expect_err(&format!("row {index}: {field} {words}"));
        assert_eq!(status.code(), Code::InvalidArgument, "row {index}");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), 1, "row {index}: {violations:?}");
        assert_eq!(violations[0].field, *field, "row {index}");
        assert!(violations[0].description.contains(words), "row {index}: {}", violations[0].description);
        assert!(status.message().contains(&format!("{field}: ")), "row {index}: {}", status.message());
        assert!(!status.message().contains("secret"), "row {index}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_but_fits_into_headers() {
    let mut request = good();
    request.name = "n".repeat(300);
    options(&mut request).priority = Some(101);
    let status = checked(request.clone()).unwrap_err();
    assert!(status.message().contains("name: ") && status.message().contains("options.priority: "));
    request.id_mappings = (0..10_000).map(|_| mapping(-1, -1, -1)).collect();
    let status = checked(request).unwrap_err();
    assert!(status.message().len() + status.details().len() < 4_096, "{}", status.message().len());
    let told = status.get_details_bad_request().unwrap().field_violations;
    let more = 2 + 30_000 - (told.len() - 1);
    assert_eq!(told.last().unwrap().description, format!("and {more} more"));
}

#[test]
fn options_that_are_left_open_are_taken_from_the_configuration() {
    let defaults = Defaults {
        timeout: Timeout(None),
        retention: Duration::from_secs(7),
        priority: 33,
        segments_per_task: 44,
        attempts: 5,
    };
    let mut request = good();
    request.options = None;
    let options = check(request.clone(), &defaults, &Stores::new()).unwrap().spec.options;
    assert_eq!((options.timeout_ms, options.retention_ms, options.priority), (None, 7_000, 33));
    assert_eq!((options.segments_per_task_max, options.attempts_max), (44, 5));
    assert_eq!((options.verify, options.on_failure), (VerifyMode::Standard, FailurePolicy::Fail));
    assert_eq!(options.indexes, Indexes::All);
    request.options = Some(v1::JobOptions {
        timeout_ms: 1,
        retention_ms: 2,
        priority: Some(0),
        segments_per_task_max: 3,
        attempts_max: 4,
        verify: v1::VerifyMode::Full.into(),
        on_exhausted: v1::ExhaustedPolicy::Pause.into(),
        ..v1::JobOptions::default()
    });
    let options = check(request, &defaults, &Stores::new()).unwrap().spec.options;
    assert_eq!((options.timeout_ms, options.retention_ms, options.priority), (Some(1), 2, 0));
    assert_eq!((options.segments_per_task_max, options.attempts_max), (3, 4));
    assert_eq!((options.verify, options.on_failure), (VerifyMode::Full, FailurePolicy::Pause));
}

#[test]
fn either_name_of_the_policy_for_failures_says_both() {
    use v1::{ExhaustedPolicy, FailurePolicy as Wire};
    for (on_failure, on_exhausted, expected) in [
        (Wire::Unspecified, ExhaustedPolicy::Unspecified, FailurePolicy::Fail),
        (Wire::Unspecified, ExhaustedPolicy::Pause, FailurePolicy::Pause),
        (Wire::Pause, ExhaustedPolicy::Unspecified, FailurePolicy::Pause),
        (Wire::Pause, ExhaustedPolicy::Pause, FailurePolicy::Pause),
        (Wire::Fail, ExhaustedPolicy::Fail, FailurePolicy::Fail),
    ] {
        let mut request = good();
        options(&mut request).set_on_failure(on_failure);
        options(&mut request).set_on_exhausted(on_exhausted);
        assert_eq!(checked(request).unwrap().spec.options.on_failure, expected);
    }
}

#[test]
fn a_missing_request_id_is_made_and_a_given_one_is_kept() {
    let made = checked(good()).unwrap();
    assert!(!made.request_id_given && !made.request_id.is_empty());
    assert_ne!(made.request_id, checked(good()).unwrap().request_id);
    let given = checked(v1::SubmitJobRequest { request_id: "mine".into(), ..good() }).unwrap();
    assert!(given.request_id_given && given.request_id == "mine");
    assert_eq!(given.hash, made.hash);
    assert!(given.hash.bytes().len() <= limits::REQUEST_HASH_BYTES_MAX);
}
