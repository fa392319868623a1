//! Storage manifests in both forms, each version, and what is neither.

use apache_avro::Writer;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;

use super::*;

/// The record that milvus-storage puts into a container, but for statistics and indexes, which a copy does not look at.
fn container(lobs: &[&str], data: &[(&str, i64)], deltas: &[&str]) -> Vec<u8> {
    let text = || json!("string");
    let file =
        record("ColumnGroupFile", &[("path", text()), ("start_index", json!("long")), ("end_index", json!("long"))]);
    let group = record("ColumnGroup", &[("columns", array(&text())), ("files", array(&file)), ("format", text())]);
    let delta = record("DeltaLog", &[("path", text()), ("type", json!("int")), ("num_entries", json!("long"))]);
    let lob = record("LobFileInfo", &[("path", text()), ("field_id", json!("long"))]);
    let fields = [("column_groups", array(&group)), ("delta_logs", array(&delta)), ("lob_files", array(&lob))];
    let schema = schema(&record("Manifest", &fields));
    let mut writer = Writer::new(&schema, Vec::new()).unwrap();
    writer.append_value(body(&schema, lobs, data, deltas)).unwrap();
    writer.into_inner().unwrap()
}

fn body(schema: &Schema, lobs: &[&str], data: &[(&str, i64)], deltas: &[&str]) -> Avro {
    let files: Vec<_> = data
        .iter()
        .map(|(path, rows)| json!({"path": path, "start_index": 0, "end_index": rows, "metadata": []}))
        .collect();
    let values: Vec<_> = lobs
        .iter()
        .map(|path| json!({"path": path, "field_id": 102, "total_rows": 1, "valid_rows": 1, "file_size_bytes": 9}))
        .collect();
    let deltas: Vec<_> = deltas.iter().map(|path| json!({"path": path, "type": 0, "num_entries": 1})).collect();
    let body = json!({
        "column_groups": [{"columns": ["100"], "files": files, "format": "parquet"}],
        "delta_logs": deltas,
        "stats": {},
        "indexes": [],
        "lob_files": values,
    });
    avro(&body).resolve(schema).unwrap()
}

/// JSON as Avro has it before a schema says more.
fn avro(json: &Value) -> Avro {
    match json {
        Value::Number(number) => Avro::Long(number.as_i64().unwrap()),
        Value::String(text) => Avro::String(text.clone()),
        Value::Array(items) => Avro::Array(items.iter().map(avro).collect()),
        Value::Object(fields) => Avro::Map(fields.iter().map(|(name, value)| (name.clone(), avro(value))).collect()),
        Value::Null | Value::Bool(_) => unreachable!("the samples have none"),
    }
}

/// The raw form of a version, as milvus-storage wrote it before March 2026.
fn raw(version: i32, lobs: &[&str]) -> Vec<u8> {
    let write = |schema: &Schema, value: Avro| {
        GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
    };
    let head = avro(&json!({"magic": RAW_MAGIC, "version": version})).resolve(&RAW_HEAD).unwrap();
    let schema = &RAW_BODIES[&version.clamp(1, 6)];
    [write(&RAW_HEAD, head), write(schema, body(schema, lobs, &[("0.parquet", 7)], &["77"]))].concat()
}

#[test]
fn a_container_tells_its_large_values_and_where_its_rows_and_deletions_are() {
    let content = container(&["102/_data/a.vx"], &[("0.parquet", 7), ("empty.parquet", 0), ("s3://b/x", 7)], &["77"]);
    let contents = Contents::read(&content).unwrap();
    assert_eq!(contents.large_values().collect::<Vec<_>>(), ["102/_data/a.vx"]);
    assert_eq!(contents.rows_and_deletions().collect::<Vec<_>>(), ["_data/0.parquet", "_data/s3://b/x", "_delta/77"]);
    assert!(contents.has_rows());
    assert!(!Contents::read(&container(&[], &[("0.parquet", 0)], &[])).unwrap().has_rows());
}

#[test]
fn every_version_of_the_raw_form_is_read() {
    for version in RAW_VERSIONS {
        let contents = Contents::read(&raw(version, &["102/_data/a.vx"])).unwrap();
        assert_eq!(contents.rows_and_deletions().collect::<Vec<_>>(), ["_data/0.parquet", "_delta/77"], "{version}");
        let expected = if version >= RAW_LARGE_VALUES { 1 } else { 0 };
        assert_eq!(contents.large_values().count(), expected, "{version}");
    }
}

#[test]
fn the_raw_form_begins_with_the_bytes_that_milvus_storage_wrote() {
    // The number 0x4D494C56 as Avro's variable-length int, then the version 1 as one.
    assert_eq!(raw(1, &[])[..6], [0xac, 0xb1, 0xca, 0xd4, 0x09, 0x02]);
}

#[test]
fn what_is_neither_form_is_refused_by_its_kind() {
    let cut = container(&[], &[("0.parquet", 7)], &[]);
    for (content, part) in [
        (&b""[..], "neither"),
        (b"MILV", "neither"),
        (b"{}", "neither"),
        (&raw(7, &[]), "version 7"),
        (&raw(1, &[])[..12], "cannot be read"),
        (&cut[..cut.len() / 2], "cannot be read"),
    ] {
        let message = Contents::read(content).unwrap_err().to_string();
        assert!(message.contains(part), "{content:?}: {message}");
    }
}

#[test]
fn a_schema_that_refers_to_itself_is_refused_before_anything_is_decoded() {
    let list = json!({"type": "record", "name": "List", "fields": [{"name": "next", "type": ["null", "List"]}]});
    let list = schema(&list);
    let mut writer = Writer::new(&list, Vec::new()).unwrap();
    writer.append_value(Avro::Record(vec![("next".to_owned(), Avro::Union(0, Box::new(Avro::Null)))])).unwrap();
    let message = Contents::read(&writer.into_inner().unwrap()).unwrap_err().to_string();
    assert!(message.contains("refers to itself"), "{message}");
}

#[test]
fn an_entry_names_the_folder_in_json_or_by_the_path_of_the_manifest() {
    let entry = Entry { version: 3, base_path: "files/insert_log/1/2/3".to_owned() };
    assert_eq!(Entry::parse(&entry.text()), Some(entry.clone()));
    assert_eq!(Entry::parse("files/insert_log/1/2/3/_metadata/manifest-3.avro"), Some(entry));
    for text in ["", "files/insert_log/1/2/3", r#"{"ver":1}"#, r#"{"ver":-1,"base_path":"a"}"#] {
        assert_eq!(Entry::parse(text), None, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..400, byte in proptest::prelude::any::<u8>(), is_raw in proptest::prelude::any::<bool>()) {
        let mut content = if is_raw { raw(6, &["a"]) } else { container(&["a"], &[("0.parquet", 7)], &["77"]) };
        let at = at % content.len();
        content[at] = byte;
        let _ = Contents::read(&content);
    }
}
