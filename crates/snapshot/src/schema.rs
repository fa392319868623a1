//! What of a collection's schema decides about its files: which fields may lack rows, which have vectors, and whether the
//! rows lie in a table elsewhere. Names and numbers of types are those of Milvus' schema.proto.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::{FieldBinlog, IndexFiles};

/// Types of indexes that are over scalars alone.
const SCALAR_INDEXES: [&str; 8] = ["STL_SORT", "Trie", "INVERTED", "BITMAP", "HYBRID", "NGRAM", "RTREE", "marisa-trie"];
/// The first number of a type of vectors.
const VECTOR_TYPE_MIN: u64 = 100;
/// The number of the type of a struct's vectors, and of the struct itself.
const STRUCT_TYPE: u64 = 201;

/// A collection's schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schema {
    fields: BTreeMap<i64, Field>,
    is_external: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Field {
    is_nullable: bool,
    is_vector: bool,
}

impl Schema {
    /// Reads what it can: a schema that a writer left out says nothing.
    pub(crate) fn of(schema: &Value) -> Schema {
        let structs = list(schema, &["struct_array_fields", "structArrayFields"]);
        let fields = list(schema, &["fields"]).chain(structs.flat_map(|field| list(field, &["fields"])));
        let source = entry(schema, &["external_source", "externalSource"]).and_then(Value::as_str);
        Schema {
            fields: fields.filter_map(|field| Some((id(field)?, Field::of(field)))).collect(),
            is_external: source.is_some_and(|source| !source.is_empty()),
        }
    }

    /// Whether the collection's rows lie in a table elsewhere.
    pub(crate) fn is_external(&self) -> bool {
        self.is_external
    }

    /// Whether segments may have fewer rows of this field, or group of fields, than of others: Milvus adds only nullable
    /// fields to a collection that has rows.
    pub(crate) fn may_be_added_later(&self, logs: &FieldBinlog) -> bool {
        let own = [logs.field_id];
        let fields = if logs.child_fields.is_empty() { &own[..] } else { &logs.child_fields };
        fields.iter().all(|id| self.fields.get(id).is_some_and(|field| field.is_nullable))
    }

    /// Whether an index is over vectors: by its field, or by its own type where the schema does not have the field.
    pub(crate) fn is_over_vectors(&self, index: &IndexFiles) -> bool {
        let kind = index.index_params.iter().find(|pair| pair.key == "index_type").map(|pair| pair.value.as_str());
        let is_scalar = kind.is_some_and(|kind| SCALAR_INDEXES.contains(&kind));
        self.fields.get(&index.field_id).map_or(!is_scalar, |field| field.is_vector)
    }
}

impl Field {
    fn of(field: &Value) -> Field {
        let kind = entry(field, &["data_type", "dataType"]);
        let is_vector = match kind.and_then(Value::as_u64) {
            Some(number) => (VECTOR_TYPE_MIN..STRUCT_TYPE).contains(&number),
            None => kind.and_then(Value::as_str).is_some_and(|name| name.contains("Vector")),
        };
        Field { is_nullable: entry(field, &["nullable"]).and_then(Value::as_bool).unwrap_or(false), is_vector }
    }
}

fn id(field: &Value) -> Option<i64> {
    let id = entry(field, &["fieldID", "field_id", "fieldId"])?;
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

fn entry<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| value.get(name))
}

fn list<'a>(value: &'a Value, names: &[&str]) -> impl Iterator<Item = &'a Value> {
    entry(value, names).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::KeyValue;

    fn logs(field_id: i64, child_fields: &[i64]) -> FieldBinlog {
        FieldBinlog { field_id, child_fields: child_fields.to_vec(), ..FieldBinlog::default() }
    }

    #[test]
    fn only_nullable_fields_may_have_been_added_later() {
        let schema = Schema::of(&json!({
            "fields": [
                {"fieldID": "100", "data_type": "Int64", "is_primary_key": true},
                {"fieldID": 101, "dataType": 101},
                {"fieldID": "102", "data_type": "VarChar", "nullable": true},
            ],
            "struct_array_fields": [{"fieldID": "103", "fields": [{"fieldID": "104", "nullable": true}]}],
        }));
        for (logs, expected) in [
            (logs(102, &[]), true),
            (logs(104, &[]), true),
            (logs(100, &[]), false),
            (logs(0, &[]), false),
            (logs(7, &[102, 104]), true),
            (logs(7, &[102, 100]), false),
        ] {
            assert_eq!(schema.may_be_added_later(&logs), expected, "{logs:?}");
        }
        let index = |field_id, kind: &str| IndexFiles {
            field_id,
            index_params: vec![KeyValue { key: "index_type".into(), value: kind.into() }],
            ..IndexFiles::default()
        };
        for (index, expected) in [
            (index(100, "AUTOINDEX"), false),
            (index(101, "AUTOINDEX"), true),
            (index(999, "HNSW"), true),
            (index(999, "STL_SORT"), false),
        ] {
            assert_eq!(schema.is_over_vectors(&index), expected, "{index:?}");
        }
        assert_eq!(Schema::of(&Value::Null), Schema::default());
    }

    #[test]
    fn an_external_table_is_told_by_its_source() {
        assert!(Schema::of(&json!({"external_source": "s3://other/table"})).is_external());
        assert!(!Schema::of(&json!({"external_source": ""})).is_external());
    }
}
