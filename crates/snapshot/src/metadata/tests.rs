//! Metadata files, good and bad.

use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "format_version": 5,
        "snapshot_info": {"name": "s", "id": "7", "collection_id": "1", "state": "SnapshotStateCommitted"},
        "collection": {"schema": {"name": "c"}, "num_partitions": "1"},
        "manifest_list": ["snapshots/1/manifests/7/10.avro", "snapshots/1/manifests/7/11.avro"],
        "segment_ids": ["10", "11"],
        "build_ids": ["21", "20"],
    })
}

fn parse(value: &Value) -> Result<Metadata, MetadataError> {
    Metadata::parse(value.to_string().as_bytes())
}

#[test]
fn numbers_names_nulls_and_unknown_fields_are_read_as_proto_json_has_them() {
    let strings = parse(&good()).unwrap();
    let mut other = good();
    other["snapshot_info"]["id"] = json!(7);
    other["snapshot_info"]["state"] = json!(2);
    other["segment_ids"] = json!([10, "11"]);
    other["format_version"] = json!("5");
    other["indexes"] = Value::Null;
    other["layout"] = Value::Null;
    other["collection"]["properties"] = Value::Null;
    other["something_new"] = json!({"deep": [1, 2]});
    assert_eq!(parse(&other).unwrap(), strings);
    assert_eq!(strings.segment_ids, [10, 11]);
    assert_eq!(strings.snapshot_info.state, State::Committed);
}

#[test]
fn the_largest_ids_keep_every_digit() {
    let mut value = good();
    value["build_ids"] = json!([i64::MAX.to_string(), 9_007_199_254_740_993_i64]);
    value["snapshot_info"]["create_ts"] = json!(u64::MAX.to_string());
    let metadata = parse(&value).unwrap();
    assert_eq!(metadata.build_ids, [i64::MAX, 9_007_199_254_740_993]);
    assert_eq!(metadata.snapshot_info.create_ts, u64::MAX);
    assert_eq!(Metadata::parse(&metadata.to_json()).unwrap(), metadata);
}

#[test]
fn what_is_written_is_read_back_and_leaves_out_what_is_not_set() {
    let metadata = parse(&good()).unwrap();
    let written: Value = serde_json::from_slice(&metadata.to_json()).unwrap();
    assert_eq!(written, good());
}

#[test]
fn the_state_that_milvus_writes_is_read_and_only_deleting_is_not() {
    for (state, expected) in [
        (json!("SnapshotStatePending"), State::Pending),
        (json!(1), State::Pending),
        (Value::Null, State::Unknown),
        (json!("SnapshotStateOfTomorrow"), State::Unknown),
        (json!(17), State::Unknown),
        (json!("SnapshotStateCommitted"), State::Committed),
    ] {
        let mut value = good();
        value["snapshot_info"]["state"] = state;
        assert_eq!(parse(&value).unwrap().snapshot_info.state, expected);
    }
    let mut value = good();
    value["snapshot_info"].as_object_mut().unwrap().remove("state");
    assert_eq!(parse(&value).unwrap().snapshot_info.state, State::Unknown);
}

#[test]
fn names_in_camel_case_mean_the_same() {
    let camel = json!({
        "formatVersion": 5,
        "snapshotInfo": {
            "name": "s", "id": "7", "collectionId": "1", "partitionIds": ["2"], "createTs": "9", "s3Location": "",
            "state": "SnapshotStateCommitted",
        },
        "collection": {"schema": {"name": "c"}, "numPartitions": "1", "numShards": "2", "virtualChannelNames": ["ch"]},
        "manifestList": ["snapshots/1/manifests/7/10.avro", "snapshots/1/manifests/7/11.avro"],
        "storagev2ManifestList": [{"segmentId": "10", "manifest": "m"}],
        "segmentIds": ["10", "11"],
        "buildIds": ["21", "20"],
    });
    let mut snake = good();
    snake["snapshot_info"]["partition_ids"] = json!(["2"]);
    snake["snapshot_info"]["create_ts"] = json!("9");
    snake["collection"]["num_shards"] = json!("2");
    snake["collection"]["virtual_channel_names"] = json!(["ch"]);
    snake["storagev2_manifest_list"] = json!([{"segmentID": "10", "manifest": "m"}]);
    assert_eq!(parse(&camel).unwrap(), parse(&snake).unwrap());
}

#[test]
fn a_build_stands_once_for_each_of_its_indexes() {
    let mut value = good();
    value["build_ids"] = json!(["20", "20", "21"]);
    assert_eq!(parse(&value).unwrap().build_ids, [20, 20, 21]);
}

#[test]
fn what_a_newer_writer_adds_to_a_snapshot_or_its_collection_is_kept() {
    let mut value = good();
    value["snapshot_info"]["skip_index"] = json!(true);
    value["collection"]["shards_options"] = json!({"deep": ["1"]});
    let written: Value = serde_json::from_slice(&parse(&value).unwrap().to_json()).unwrap();
    assert_eq!(written, value);
}

#[test]
fn the_hyphenated_names_of_pre_releases_are_refused_by_their_writer() {
    let old = json!({"snapshot-info": {"id": 7}, "collection": {}, "manifest-list": ["m"]});
    let message = parse(&old).unwrap_err().to_string();
    assert!(message.contains("snapshot-info") && message.contains("Milvus 2.6"), "{message}");
}

#[test]
fn segment_ids_may_be_absent() {
    let mut value = good();
    value.as_object_mut().unwrap().remove("segment_ids");
    let manifests = parse(&value).unwrap().manifests().unwrap();
    assert_eq!(manifests.keys().copied().collect::<Vec<_>>(), [10, 11]);
}

#[test]
fn a_version_below_one_reads_as_one() {
    for (version, expected) in [(json!(0), 1), (Value::Null, 1), (json!(1), 1), (json!(3), 3)] {
        let mut value = good();
        value["format_version"] = version;
        assert_eq!(parse(&value).unwrap().manifest_version(), expected);
    }
}

#[test]
fn a_bad_file_is_refused_with_its_field() {
    let path = |path: &str| json!([path, "snapshots/1/manifests/7/11.avro"]);
    for (pointer, value, message) in [
        ("/format_version", json!(6), "format_version is 6, newer than the 5"),
        ("/format_version", json!(-1), "format_version is -1"),
        ("/format_version", json!("five"), "field format_version: expected a 32-bit integer"),
        ("/snapshot_info/state", json!(3), "snapshot_info.state is Deleting"),
        ("/snapshot_info/id", json!("x7"), "field snapshot_info.id: expected a 64-bit integer, found \"x7\""),
        ("/snapshot_info/id", json!(1.5), "field snapshot_info.id"),
        ("/snapshot_info/id", json!("9223372036854775808"), "field snapshot_info.id"),
        ("/snapshot_info/id", json!(0), "snapshot_info.id is 0"),
        ("/snapshot_info/collection_id", json!(-1), "snapshot_info.collection_id is -1"),
        ("/snapshot_info", Value::Null, "field snapshot_info"),
        ("/collection", json!([]), "field collection"),
        ("/segment_ids", json!([10]), "manifest_list has a manifest of segment 11"),
        ("/segment_ids", json!([10, 11, 12]), "segment_ids names segment 12"),
        ("/segment_ids", json!([10, 11, 11]), "segment_ids names 11 twice"),
        ("/segment_ids", json!([10, 0]), "segment_ids is 0"),
        ("/segment_ids", json!([10, {}]), "field segment_ids"),
        ("/build_ids", json!([20, 0]), "build_ids is 0"),
        ("/manifest_list", json!(["snapshots/1/manifests/7/10.avro"]), "segment_ids names segment 11"),
        ("/manifest_list", path("snapshots/1/manifests/7/11.avro"), "manifest_list names 11 twice"),
        ("/manifest_list", path("snapshots/1/manifests/8/10.avro"), "is not snapshots/1/manifests/7/"),
        ("/manifest_list", path("snapshots/2/manifests/7/10.avro"), "is not snapshots/1/manifests/7/"),
        ("/manifest_list", path("snapshots/1/manifests/7/x.avro"), "is not snapshots/1/manifests/7/"),
        ("/manifest_list", path("../snapshots/1/manifests/7/10.avro"), "manifest_list: the key"),
        ("/manifest_list", path("s3://u:secret@b/snapshots/1/manifests/7/10.avro"), "credentials"),
        ("/storagev2_manifest_list", json!([{"segment_id": 12, "manifest": "m"}]), "names segment 12"),
        ("/snapshot_info/s3_location", json!("s3://b/x?sig=secret"), "snapshot_info.s3_location contains a path with"),
        ("/layout", json!("SnapshotLayoutOther"), "field layout"),
    ] {
        let mut bad = good();
        set(&mut bad, pointer, value.clone());
        let error = parse(&bad).expect_err(pointer).to_string();
        assert!(error.contains(message), "{pointer} = {value}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

fn set(target: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    target.pointer_mut(parent).unwrap()[name] = value;
}

#[test]
fn a_missing_part_is_named() {
    for field in ["snapshot_info", "collection"] {
        let mut value = good();
        value.as_object_mut().unwrap().remove(field);
        let message = parse(&value).unwrap_err().to_string();
        assert!(message.contains(&format!("missing field `{field}`")), "{message}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let cut = good().to_string();
    for content in ["", "no json", "[]", "{", "\u{feff}{}", &cut[..cut.len() - 1], &(cut.clone() + "x")] {
        let message = Metadata::parse(content.as_bytes()).expect_err(content).to_string();
        assert!(message.contains("not the metadata of a snapshot"), "{content}: {message}");
    }
    assert!(Metadata::parse(b"\xff\xfe").is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(at in 0_usize..400, byte in proptest::prelude::any::<u8>()) {
        let mut content = good().to_string().into_bytes();
        let at = at % content.len();
        content[at] = byte;
        if let Ok(metadata) = Metadata::parse(&content) {
            proptest::prop_assert_eq!(metadata.manifests().unwrap().len(), metadata.manifest_list.len());
        }
    }
}
