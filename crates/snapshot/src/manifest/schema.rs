//! The Avro schemas of a manifest, versions 1 to 5, all from one description that says since when each field exists.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value, json};

/// The newest version.
pub(super) const VERSION_MAX: u8 = 5;

enum Type {
    Long,
    Int,
    Boolean,
    Text,
    Bytes,
    Longs,
    Texts,
    One(&'static Record),
    Many(&'static Record),
}

struct Field {
    since: u8,
    name: &'static str,
    kind: Type,
}

struct Record {
    name: &'static str,
    fields: &'static [Field],
}

const fn field(name: &'static str, kind: Type) -> Field {
    Field { since: 1, name, kind }
}

const fn field_since(since: u8, name: &'static str, kind: Type) -> Field {
    Field { since, name, kind }
}

static POSITION: Record = Record {
    name: "AvroMsgPosition",
    fields: &[
        field("channel_name", Type::Text),
        field("msg_id", Type::Bytes),
        field("msg_group", Type::Text),
        field("timestamp", Type::Long),
    ],
};

static BINLOG: Record = Record {
    name: "AvroBinlog",
    fields: &[
        field("entries_num", Type::Long),
        field("timestamp_from", Type::Long),
        field("timestamp_to", Type::Long),
        field("log_path", Type::Text),
        field("log_size", Type::Long),
        field("log_id", Type::Long),
        field("memory_size", Type::Long),
    ],
};

static FIELD_BINLOG: Record = Record {
    name: "AvroFieldBinlog",
    fields: &[
        field("field_id", Type::Long),
        field_since(4, "child_fields", Type::Longs),
        field_since(4, "format", Type::Text),
        field("binlogs", Type::Many(&BINLOG)),
    ],
};

static KEY_VALUE: Record =
    Record { name: "AvroKeyValuePair", fields: &[field("key", Type::Text), field("value", Type::Text)] };

static INDEX_FILES: Record = Record {
    name: "AvroIndexFilePathInfo",
    fields: &[
        field("segment_id", Type::Long),
        field("field_id", Type::Long),
        field("index_id", Type::Long),
        field("build_id", Type::Long),
        field("index_name", Type::Text),
        field("index_params", Type::Many(&KEY_VALUE)),
        field("index_file_paths", Type::Texts),
        field("serialized_size", Type::Long),
        field("index_version", Type::Long),
        field("num_rows", Type::Long),
        field("current_index_version", Type::Int),
        field("mem_size", Type::Long),
        field("current_scalar_index_version", Type::Int),
        field_since(2, "index_store_path_version", Type::Int),
    ],
};

static TEXT_INDEX_STATS: Record = Record {
    name: "AvroTextIndexStats",
    fields: &[
        field("field_id", Type::Long),
        field("version", Type::Long),
        field("files", Type::Texts),
        field("log_size", Type::Long),
        field("memory_size", Type::Long),
        field("build_id", Type::Long),
    ],
};

static TEXT_INDEX: Record = Record {
    name: "AvroTextIndexEntry",
    fields: &[field("field_id", Type::Long), field("stats", Type::One(&TEXT_INDEX_STATS))],
};

static JSON_INDEX_STATS: Record = Record {
    name: "AvroJSONKeyStats",
    fields: &[
        field("field_id", Type::Long),
        field("version", Type::Long),
        field("files", Type::Texts),
        field("log_size", Type::Long),
        field("memory_size", Type::Long),
        field("build_id", Type::Long),
        field("json_key_stats_data_format", Type::Long),
    ],
};

static JSON_INDEX: Record = Record {
    name: "AvroJSONKeyIndexEntry",
    fields: &[field("field_id", Type::Long), field("stats", Type::One(&JSON_INDEX_STATS))],
};

static MANIFEST: Record = Record {
    name: "ManifestEntry",
    fields: &[
        field("segment_id", Type::Long),
        field("partition_id", Type::Long),
        field("segment_level", Type::Long),
        field("channel_name", Type::Text),
        field("num_of_rows", Type::Long),
        field("start_position", Type::One(&POSITION)),
        field("dml_position", Type::One(&POSITION)),
        field("storage_version", Type::Long),
        field("is_sorted", Type::Boolean),
        field_since(3, "commit_timestamp", Type::Long),
        field_since(5, "delete_apply_start_after_timetick", Type::Long),
        field("binlog_files", Type::Many(&FIELD_BINLOG)),
        field("deltalog_files", Type::Many(&FIELD_BINLOG)),
        field("statslog_files", Type::Many(&FIELD_BINLOG)),
        field("bm25_statslog_files", Type::Many(&FIELD_BINLOG)),
        field("index_files", Type::Many(&INDEX_FILES)),
        field("text_index_files", Type::Many(&TEXT_INDEX)),
        field("json_key_index_files", Type::Many(&JSON_INDEX)),
    ],
};

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    (1..=VERSION_MAX)
        .map(|version| {
            let rendered = MANIFEST.render(version, &mut BTreeSet::new());
            Schema::parse(&rendered).expect("the description above is a valid schema in every version")
        })
        .collect()
});

static READERS: LazyLock<Vec<GenericDatumReader<'static>>> = LazyLock::new(|| {
    let reader =
        |schema| GenericDatumReader::builder(schema).build().expect("every name in the schema is defined in it");
    SCHEMAS.iter().map(reader).collect()
});

static WRITERS: LazyLock<Vec<GenericDatumWriter<'static>>> = LazyLock::new(|| {
    let writer =
        |schema| GenericDatumWriter::builder(schema).build().expect("every name in the schema is defined in it");
    SCHEMAS.iter().map(writer).collect()
});

/// Reads manifests of `version`. Versions are 1 to 5; others get the nearest.
pub(super) fn reader(version: u8) -> &'static GenericDatumReader<'static> {
    &READERS[place(version)]
}

/// Writes manifests of `version`, as [`reader`] reads them.
pub(super) fn writer(version: u8) -> &'static GenericDatumWriter<'static> {
    &WRITERS[place(version)]
}

/// The schema of a manifest of `version`.
pub(super) fn schema(version: u8) -> &'static Schema {
    &SCHEMAS[place(version)]
}

fn place(version: u8) -> usize {
    usize::from(version.clamp(1, VERSION_MAX)) - 1
}

static LIST_SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    (1..=VERSION_MAX)
        .map(|version| {
            let rendered = Type::Many(&MANIFEST).render(version, &mut BTreeSet::new());
            Schema::parse(&rendered).expect("an array of the description above is a valid schema in every version")
        })
        .collect()
});

/// The schema of an array of manifests, as pre-release builds wrote them.
pub(super) fn list_schema(version: u8) -> &'static Schema {
    &LIST_SCHEMAS[place(version)]
}

impl Record {
    /// Avro defines a record where it is first used; afterwards its name stands for it.
    fn render(&self, version: u8, defined: &mut BTreeSet<&'static str>) -> Value {
        if !defined.insert(self.name) {
            return json!(self.name);
        }
        let fields: Vec<Value> = self
            .fields
            .iter()
            .filter(|field| field.since <= version)
            .map(|field| json!({"name": field.name, "type": field.kind.render(version, defined)}))
            .collect();
        json!({"type": "record", "name": self.name, "fields": fields})
    }
}

impl Type {
    fn render(&self, version: u8, defined: &mut BTreeSet<&'static str>) -> Value {
        match self {
            Type::Long => json!("long"),
            Type::Int => json!("int"),
            Type::Boolean => json!("boolean"),
            Type::Text => json!("string"),
            Type::Bytes => json!("bytes"),
            Type::Longs => json!({"type": "array", "items": "long"}),
            Type::Texts => json!({"type": "array", "items": "string"}),
            Type::One(record) => record.render(version, defined),
            Type::Many(record) => json!({"type": "array", "items": record.render(version, defined)}),
        }
    }
}
