//! Mappings of segments from a file: CSV or JSON lines; what is wrong is named with its line.

use ferry_proto::v1::IdMapping;
use serde::Deserialize;

/// Why a file of mappings is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MappingsError {
    /// A line that is no mapping.
    #[error("mappings: {file}, line {line}: {reason}")]
    Line {
        /// Which file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it, and how to write it.
        reason: String,
    },
    /// An empty list would mean every segment, which an empty file can hardly mean.
    #[error("mappings: {file} has no mapping; leave --mappings out to copy every segment of the snapshot")]
    Empty {
        /// Which file.
        file: String,
    },
}

const FORM: &str = "write source,target or source,target,partition";

/// Reads mappings. The first line may be a header; empty lines and lines that begin with # are passed over.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<IdMapping>, MappingsError> {
    let mut mappings = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (mappings.is_empty() && is_header(line)) {
            continue;
        }
        let mapping = if line.starts_with('{') { from_json(line) } else { from_csv(line) };
        mappings.push(mapping.map_err(|reason| MappingsError::Line {
            file: file.to_owned(),
            line: index + 1,
            reason,
        })?);
    }
    if mappings.is_empty() { Err(MappingsError::Empty { file: file.to_owned() }) } else { Ok(mappings) }
}

fn is_header(line: &str) -> bool {
    line.split(',').all(|name| {
        matches!(name.trim().trim_end_matches("_segment_id").trim_end_matches("_id"), "source" | "target" | "partition")
    })
}

fn from_csv(line: &str) -> Result<IdMapping, String> {
    let values: Vec<&str> = line.split(',').map(str::trim).collect();
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no id; {FORM}"));
    let (source, target, partition) = match values.as_slice() {
        [source, target] => (source, target, &"0"),
        [source, target, partition] => (source, target, partition),
        other => return Err(format!("it has {} values; {FORM}", other.len())),
    };
    Ok(IdMapping {
        source_segment_id: number(source)?,
        target_segment_id: number(target)?,
        partition_id: number(partition)?,
    })
}

/// One mapping as JSON, with the names of the API or their short forms; int64 may be a string, as proto-JSON has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonMapping {
    #[serde(alias = "source", alias = "sourceSegmentId")]
    source_segment_id: JsonId,
    #[serde(default, alias = "target", alias = "targetSegmentId")]
    target_segment_id: JsonId,
    #[serde(default, alias = "partition", alias = "partitionId")]
    partition_id: JsonId,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonId {
    Number(i64),
    Text(String),
}

impl Default for JsonId {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl JsonId {
    fn value(&self) -> Result<i64, String> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Text(text) => text.parse().map_err(|_| format!("{text:?} is no id")),
        }
    }
}

fn from_json(line: &str) -> Result<IdMapping, String> {
    let mapping: JsonMapping = serde_json::from_str(line)
        .map_err(|error| format!(r#"{error}; write {{"source": 1, "target": 2, "partition": 3}}"#))?;
    Ok(IdMapping {
        source_segment_id: mapping.source_segment_id.value()?,
        target_segment_id: mapping.target_segment_id.value()?,
        partition_id: mapping.partition_id.value()?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use ferry_proto::v1::IdMapping;

    fn mapping(source_segment_id: i64, target_segment_id: i64, partition_id: i64) -> IdMapping {
        IdMapping { source_segment_id, target_segment_id, partition_id }
    }

    #[test]
    fn csv_is_read_with_and_without_header_and_partition() {
        let expected = Ok(vec![mapping(1, 10, 0), mapping(2, 20, 7), mapping(-3, 0, 0)]);
        assert_eq!(parse("f", "1,10\n 2, 20 ,7\n\n-3,0\n"), expected);
        assert_eq!(parse("f", "\u{feff}source,target,partition\r\n1,10\r\n# two\r\n2,20,7\r\n-3,0\r\n"), expected);
        assert_eq!(parse("f", "source_segment_id,target_segment_id\n1,10\n2,20,7\n-3,0"), expected);
    }

    #[test]
    fn json_lines_are_read_with_long_and_short_names() {
        let text = r#"{"source": 1, "target": 10}
            {"source_segment_id": "470636907273850237", "target_segment_id": "20", "partition_id": 7}
            {"source": 3}"#;
        let expected = vec![mapping(1, 10, 0), mapping(470_636_907_273_850_237, 20, 7), mapping(3, 0, 0)];
        assert_eq!(parse("f", text), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| parse("m.csv", text).expect_err(text).to_string();
        assert_eq!(
            error("source,target\n1,10\n2;20\n"),
            "mappings: m.csv, line 3: it has 1 values; write source,target or source,target,partition"
        );
        assert!(error("1,ten").contains("line 1: \"ten\" is no id"));
        assert!(error("1,2,3,4").contains("it has 4 values"));
        assert!(error("1,10\nsource,target").contains("line 2: \"source\" is no id"), "a header is first or none");
        assert!(error("{\"target\": 3}").contains("source_segment_id"));
        assert!(error("{\"source\": 1, \"goal\": 3}").contains("goal"));
        assert!(error("{\"source\": \"x\"}").contains("\"x\" is no id"));
    }

    #[test]
    fn an_empty_file_does_not_mean_every_segment() {
        for text in ["", "\n\n", "source,target\n"] {
            let error = parse("m.csv", text).expect_err("no mapping");
            assert!(error.to_string().contains("leave --mappings out"), "{error}");
        }
    }
}
