//! Manifests of every version: what is written is read back, and anything else is refused.

use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::schema::schema;
use super::*;

fn binlog(field_id: i64, path: &str) -> FieldBinlog {
    let log = Binlog {
        entries_num: 1_100,
        timestamp_from: 1,
        timestamp_to: 2,
        log_path: path.into(),
        log_size: 3_131,
        log_id: 4,
        memory_size: 5,
    };
    FieldBinlog { field_id, binlogs: vec![log], ..FieldBinlog::default() }
}

/// A manifest with something in every field that `version` has.
fn full(version: u8) -> Manifest {
    let since = |first: u8, value: i64| if version >= first { value } else { 0 };
    let position = Position { channel_name: "ch".into(), msg_id: vec![8, 1, 0], msg_group: "g".into(), timestamp: -1 };
    let mut insert = binlog(100, "insert_log/1/2/3/100/4");
    if version >= 4 {
        insert.child_fields = vec![100, 101];
        insert.format = "parquet".into();
    }
    let text = TextIndexStats {
        field_id: 102,
        version: 1,
        files: vec!["text_log/7/1/1/2/3/102/f".into()],
        log_size: 9,
        memory_size: 10,
        build_id: 7,
    };
    let json = JsonIndexStats {
        field_id: 103,
        version: 1,
        files: vec!["json_stats/2/8/1/1/2/3/103/f".into()],
        log_size: 11,
        memory_size: 12,
        build_id: 8,
        json_key_stats_data_format: 2,
    };
    let index = IndexFiles {
        segment_id: 3,
        field_id: 101,
        index_id: 5,
        build_id: 6,
        index_name: "idx".into(),
        index_params: vec![KeyValue { key: "index_type".into(), value: "HNSW".into() }],
        index_file_paths: vec!["index_files/6/1/2/3/HNSW".into()],
        serialized_size: 13,
        index_version: 1,
        num_rows: 1_100,
        current_index_version: 6,
        mem_size: 14,
        current_scalar_index_version: -2,
        index_store_path_version: i32::try_from(since(2, 1)).unwrap(),
    };
    Manifest {
        segment_id: 3,
        partition_id: 2,
        segment_level: 2,
        channel_name: "ch".into(),
        num_of_rows: 1_100,
        start_position: position.clone(),
        dml_position: position,
        storage_version: 1,
        is_sorted: true,
        commit_timestamp: since(3, 15),
        delete_apply_start_after_timetick: since(5, 16),
        binlog_files: vec![insert],
        deltalog_files: vec![binlog(0, "delta_log/1/2/3/4")],
        statslog_files: vec![binlog(100, "stats_log/1/2/3/100/4")],
        bm25_statslog_files: vec![binlog(104, "bm25_stats/1/2/3/104/4")],
        index_files: vec![index],
        text_index_files: vec![TextIndex { field_id: 102, stats: text }],
        json_key_index_files: vec![JsonIndex { field_id: 103, stats: json }],
    }
}

#[test]
fn every_version_is_read_back_as_it_was_written() {
    for version in 1..=5 {
        for manifest in [full(version), Manifest { segment_id: 3, ..Manifest::default() }] {
            let content = manifest.encode(version).unwrap();
            assert_eq!(Manifest::decode(&content, version, 3).unwrap(), manifest, "version {version}");
        }
    }
}

#[test]
fn the_bytes_of_every_version_are_frozen() {
    let lines: Vec<String> = (1..=5)
        .map(|version| {
            let content = full(version).encode(version).unwrap();
            format!("{version}: {} bytes, CRC32C {:08x}", content.len(), crc32c::crc32c(&content))
        })
        .collect();
    expect_test::expect![[r#"
        1: 313 bytes, CRC32C a21235a0
        2: 314 bytes, CRC32C b4898ad2
        3: 315 bytes, CRC32C 2b91f662
        4: 335 bytes, CRC32C a67d6bc8
        5: 336 bytes, CRC32C a5738c9d"#]]
    .assert_eq(&lines.join("\n"));
    let empty = Manifest { segment_id: 3, partition_id: -1, ..Manifest::default() }.encode(5).unwrap();
    let hex: String = empty.iter().map(|byte| format!("{byte:02x}")).collect();
    expect_test::expect!["060100000000000000000000000000000000000000000000"].assert_eq(&hex);
}

#[test]
fn a_manifest_of_an_independent_writer_is_read_and_written_alike() {
    let folder =
        format!("{}/testdata/milvus-sample/snapshots/470636907273650226/manifests/9001", env!("CARGO_MANIFEST_DIR"));
    for segment_id in [470_636_907_273_850_237, 470_636_907_274_050_255, 470_636_907_274_050_273] {
        let content = std::fs::read(format!("{folder}/{segment_id}.avro")).unwrap();
        let manifest = Manifest::decode(&content, 5, segment_id).unwrap();
        assert_eq!(manifest.num_of_rows, 1_100);
        assert_eq!(manifest.encode(5).unwrap(), content);
    }
}

#[test]
fn blocks_with_a_negative_count_and_their_size_are_read() {
    let manifest = full(5);
    let plain = manifest.encode(5).unwrap();
    let writer = GenericDatumWriter::builder(schema(5)).target_block_size(1).build().unwrap();
    let blocked = writer.write_ser_to_vec(&manifest).unwrap();
    assert_ne!(plain, blocked);
    assert_eq!(Manifest::decode(&blocked, 5, 3).unwrap(), manifest);
}

#[test]
fn the_version_is_mandatory() {
    for written in 1..=5_u8 {
        let content = full(written).encode(written).unwrap();
        for read in (1..=5).filter(|read| *read != written) {
            let other = Manifest::decode(&content, read, 3);
            assert!(other.is_err(), "written as {written}, read as {read}");
        }
    }
}

#[test]
fn a_datum_that_is_cut_off_or_followed_by_more_is_refused() {
    let content = full(5).encode(5).unwrap();
    for length in 0..content.len() {
        let error = Manifest::decode(&content[..length], 5, 3).expect_err("a part is no manifest");
        assert!(matches!(error, ManifestError::Datum { version: 5, .. }), "{length}: {error}");
    }
    let longer = [content.as_slice(), &[0]].concat();
    let error = Manifest::decode(&longer, 5, 3).unwrap_err();
    assert!(matches!(error, ManifestError::TrailingBytes { version: 5, count: 1 }), "{error}");
}

#[test]
fn the_manifest_of_another_segment_is_foreign() {
    let content = full(5).encode(5).unwrap();
    let error = Manifest::decode(&content, 5, 4).unwrap_err();
    assert!(matches!(error, ManifestError::Foreign { expected: 4, found: 3 }), "{error}");
}

#[test]
fn a_version_that_would_lose_a_field_is_not_written() {
    for version in 1..=4 {
        let error = full(5).encode(version).unwrap_err();
        assert!(matches!(error, ManifestError::Unrepresentable(found) if found == version), "{error}");
    }
}

proptest! {
    #[test]
    fn any_numbers_and_texts_survive(version in 1_u8..=5, number in any::<i64>(), text in "\\PC{0,20}", size in any::<i32>()) {
        let mut manifest = full(version);
        manifest.num_of_rows = number;
        manifest.start_position.timestamp = number;
        manifest.binlog_files[0].binlogs[0].log_path.clone_from(&text);
        manifest.index_files[0].current_index_version = size;
        let content = manifest.encode(version).unwrap();
        prop_assert_eq!(Manifest::decode(&content, version, 3).unwrap(), manifest);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(content in proptest::collection::vec(any::<u8>(), 0..200), version in 1_u8..=5) {
        if let Ok(manifest) = Manifest::decode(&content, version, 3) {
            prop_assert!(manifest.segment_id == 3);
        }
    }
}

#[test]
fn an_array_of_entries_is_refused_by_its_writer() {
    let list = GenericDatumWriter::builder(list_schema(5)).build().unwrap().write_ser_to_vec(&vec![full(5)]).unwrap();
    let message = Manifest::decode(&list, 5, 3).unwrap_err().to_string();
    assert!(message.contains("Avro array of 1 entries") && message.contains("Milvus 2.6"), "{message}");
}
