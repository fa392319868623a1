//! Mappings of segments from a file: CSV or JSON lines; what is wrong is named with its line. A large file is read line
//! by line, once to see that it is good and once to send it, and never held.

use ferry_client::MappingSource;
use ferry_proto::v1::IdMapping;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mappings that go in one message; more of them are streamed.
pub(crate) const MESSAGE_MAPPINGS_MAX: usize = 20_000;
/// Bytes of a line: far more than three ids take.
const LINE_BYTES_MAX: u64 = 4_096;

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
    /// The file cannot be read.
    #[error("mappings: {file} cannot be read: {reason}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
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

/// The mappings of a file that is good to its end.
#[derive(Clone)]
pub(crate) enum Mappings {
    /// All of them.
    Few(Vec<IdMapping>),
    /// So many, to be read again.
    Many(i64, Arc<dyn MappingSource>),
}

/// Reads a file of mappings, or stdin where it is named `-`.
pub(crate) fn load(path: &Path) -> Result<Mappings, MappingsError> {
    let name = path.display().to_string();
    if path == Path::new("-") {
        return load_from(&name, io::stdin().lock(), None, MESSAGE_MAPPINGS_MAX);
    }
    let file = open(path)?;
    // What can be read once only, such as a pipe, is kept.
    let again = file.metadata().is_ok_and(|metadata| metadata.is_file()).then(|| path.to_owned());
    load_from(&name, BufReader::new(file), again, MESSAGE_MAPPINGS_MAX)
}

fn load_from(
    name: &str,
    reader: impl BufRead,
    again: Option<PathBuf>,
    few_max: usize,
) -> Result<Mappings, MappingsError> {
    let (mut kept, mut count) = (Vec::new(), 0);
    for mapping in Lines::new(name, reader) {
        let mapping = mapping?;
        count += 1;
        match &again {
            Some(_) if count > few_max => kept = Vec::new(),
            _ => kept.push(mapping),
        }
    }
    if count == 0 {
        return Err(MappingsError::Empty { file: name.to_owned() });
    }
    if count <= few_max {
        return Ok(Mappings::Few(kept));
    }
    let source: Arc<dyn MappingSource> = match again {
        Some(path) => Arc::new(InFile(path)),
        None => Arc::new(Kept(kept.into())),
    };
    Ok(Mappings::Many(i64::try_from(count).unwrap_or(i64::MAX), source))
}

fn open(path: &Path) -> Result<File, MappingsError> {
    File::open(path)
        .map_err(|error| MappingsError::Read { file: path.display().to_string(), reason: error.to_string() })
}

/// A file that is read anew at each try of a submit.
struct InFile(PathBuf);

impl MappingSource for InFile {
    fn open(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<IdMapping>> + Send>> {
        let file = open(&self.0).map_err(io::Error::other)?;
        let lines = Lines::new(&self.0.display().to_string(), BufReader::new(file));
        Ok(Box::new(lines.map(|mapping| mapping.map_err(io::Error::other))))
    }
}

/// What came over a pipe.
struct Kept(Arc<[IdMapping]>);

impl MappingSource for Kept {
    fn open(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<IdMapping>> + Send>> {
        let kept = Arc::clone(&self.0);
        Ok(Box::new((0..kept.len()).map(move |index| Ok(kept[index]))))
    }
}

/// Mappings from lines, one at a time. The first line may be a header; empty lines and lines that begin with # are
/// passed over.
struct Lines<R> {
    file: String,
    reader: R,
    number: usize,
    /// A mapping was read, so no header can follow.
    begun: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(file: &str, reader: R) -> Self {
        Self { file: file.to_owned(), reader, number: 0, begun: false }
    }

    /// The next line, or none at the end of the file.
    fn line(&mut self) -> Result<Option<String>, MappingsError> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| MappingsError::Read { file: self.file.clone(), reason: error.to_string() })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if read as u64 > LINE_BYTES_MAX {
            return Err(self.wrong(format!("it has more than {LINE_BYTES_MAX} bytes; {FORM}")));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.wrong(format!("it is no text; {FORM}")))
    }

    fn wrong(&self, reason: String) -> MappingsError {
        MappingsError::Line { file: self.file.clone(), line: self.number, reason }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<IdMapping, MappingsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with('#') || (!self.begun && is_header(line)) {
                continue;
            }
            self.begun = true;
            let mapping = if line.starts_with('{') { from_json(line) } else { from_csv(line) };
            return Some(mapping.map_err(|reason| self.wrong(reason)));
        }
    }
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
    use super::{Mappings, MappingsError, load, load_from};
    use ferry_client::MappingSource;
    use ferry_proto::v1::IdMapping;
    use std::io::{self, Write};
    use std::path::Path;

    fn parse(file: &str, text: &str) -> Result<Vec<IdMapping>, MappingsError> {
        match load_from(file, text.as_bytes(), None, usize::MAX)? {
            Mappings::Few(mappings) => Ok(mappings),
            Mappings::Many(..) => panic!("no file has so many"),
        }
    }

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

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/m.csv")).err().expect("no file");
        assert!(error.to_string().starts_with("mappings: /nowhere/m.csv cannot be read: "), "{error}");
    }

    #[test]
    fn a_line_that_never_ends_is_refused_before_it_is_held() {
        let endless = io::BufReader::new(io::Read::chain(&b"1,10\n"[..], io::repeat(b'1')));
        let error = load_from("m.csv", endless, None, 5).err().expect("no mapping has so many digits");
        assert!(error.to_string().starts_with("mappings: m.csv, line 2: it has more than 4096 bytes"), "{error}");
        let error = load_from("m.csv", &b"1,\xff\n"[..], None, 5).err().expect("no text");
        assert!(error.to_string().starts_with("mappings: m.csv, line 1: it is no text"), "{error}");
    }

    fn read(source: &dyn MappingSource) -> Vec<IdMapping> {
        source.open().expect("it is there").collect::<io::Result<_>>().expect("it is good")
    }

    #[test]
    fn many_mappings_are_read_again_as_often_as_they_are_sent_from_a_file_and_from_a_pipe() {
        let text = "source,target\n1,10\n2,20\n3,30\n";
        let expected = [mapping(1, 10, 0), mapping(2, 20, 0), mapping(3, 30, 0)];
        let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
        file.write_all(text.as_bytes()).expect("a file can be written");
        for again in [None, Some(file.path().to_owned())] {
            let loaded = load_from("m.csv", text.as_bytes(), again, 2).expect("good mappings");
            let Mappings::Many(3, source) = loaded else { panic!("three are many here") };
            for _ in 0..2 {
                assert_eq!(read(source.as_ref()), expected);
            }
        }
        let Ok(Mappings::Few(few)) = load_from("m.csv", text.as_bytes(), None, 3) else { panic!("three are few here") };
        assert_eq!(few, expected);
    }
}
