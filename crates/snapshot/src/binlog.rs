//! What the head and tail of a Milvus log file tell: the ids it was written for, the time it covers and its rows.
//! Only that is read; the rows themselves stay opaque here.
//!
//! A log is a magic number and events. Each event has a header (timestamp, type, length, position of the next); the
//! first describes the file, each further one carries a Parquet file whose footer counts its rows. Newer storage
//! formats drop the events and leave the bare Parquet file.

use std::ops::Range;

use serde::Deserialize;
use thiserror::Error;

use crate::footer::rows_of_parquet;

const MAGIC: [u8; 4] = 0x00ff_fabc_u32.to_le_bytes();
const EVENT_HEADER_BYTES: usize = 17;
const EVENT_TIMES_BYTES: usize = 16;
const DESCRIPTOR_FIXED_BYTES: usize = 52;
const EVENT_TYPES_MAX: usize = 64;
/// As much of a file as its description can take.
pub(crate) const HEAD_BYTES: u64 = 4_096;

/// What a log says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFacts {
    pub(crate) rows: i64,
    pub(crate) timestamp_from: i64,
    pub(crate) timestamp_to: i64,
    pub(crate) memory_bytes: i64,
    /// Whether it is a bare Parquet file.
    pub(crate) is_packed: bool,
}

/// What the description at the head of a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) field_id: i64,
    pub(crate) timestamp_from: i64,
    pub(crate) timestamp_to: i64,
    pub(crate) memory_bytes: i64,
    next: usize,
}

/// Why a file is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// Something else altogether.
    #[error("it is neither a Milvus log nor a Parquet file")]
    NotALog,
    /// Cut off or damaged.
    #[error("it ends or jumps in the middle of an event, at byte {0}")]
    Damaged(usize),
    /// No row count.
    #[error("its Parquet footer cannot be read")]
    Footer,
}

/// Reads a whole log.
pub(crate) fn read_log(content: &[u8]) -> Result<LogFacts, LogError> {
    if content.starts_with(b"PAR1") {
        let rows = rows_of_parquet(content).ok_or(LogError::Footer)?;
        return Ok(LogFacts { rows, is_packed: true, ..LogFacts::default() });
    }
    let description = read_description(content)?;
    let mut facts = LogFacts {
        timestamp_from: description.timestamp_from,
        timestamp_to: description.timestamp_to,
        memory_bytes: description.memory_bytes,
        ..LogFacts::default()
    };
    for payload in event_payloads(content, description.next)? {
        facts.rows = facts.rows.saturating_add(rows_of_parquet(&content[payload]).ok_or(LogError::Footer)?);
    }
    Ok(facts)
}

/// Where the Parquet files lie in a log: in each of its events, or the log is one itself.
pub(crate) fn payloads(content: &[u8]) -> Result<Vec<Range<usize>>, LogError> {
    if content.starts_with(b"PAR1") {
        return Ok(std::iter::once(0..content.len()).collect());
    }
    event_payloads(content, read_description(content)?.next)
}

/// The payloads of the events from byte `at` on.
fn event_payloads(content: &[u8], mut at: usize) -> Result<Vec<Range<usize>>, LogError> {
    let mut payloads = Vec::new();
    while at < content.len() {
        let next = next_event(content, at)?;
        let payload = at + EVENT_HEADER_BYTES + EVENT_TIMES_BYTES..next;
        if content.get(payload.clone()).is_none() {
            return Err(LogError::Damaged(at));
        }
        payloads.push(payload);
        at = next;
    }
    Ok(payloads)
}

/// Reads the description at the head of a log or index file.
pub(crate) fn read_description(head: &[u8]) -> Result<Description, LogError> {
    if !head.starts_with(&MAGIC) {
        return Err(LogError::NotALog);
    }
    let at = MAGIC.len();
    let next = next_event(head, at)?;
    let body = head.get(at + EVENT_HEADER_BYTES..next).ok_or(LogError::Damaged(at))?;
    let (fixed, rest) = body.split_at_checked(DESCRIPTOR_FIXED_BYTES).ok_or(LogError::Damaged(at))?;
    let number = |index: usize| int64(fixed, index * 8).unwrap_or_default();
    // Collection, partition and segment stand before the field; they are taken from the key.
    Ok(Description {
        field_id: number(3),
        timestamp_from: number(4),
        timestamp_to: number(5),
        memory_bytes: memory_bytes(rest),
        next,
    })
}

#[derive(Deserialize)]
struct Extras {
    original_size: Option<String>,
}

/// The size when loaded, from the JSON that ends the description. The lengths of the event types' own headers stand
/// before it, as many as the writer knew types: the JSON begins where its length fits.
fn memory_bytes(rest: &[u8]) -> i64 {
    let json = (0..EVENT_TYPES_MAX).find_map(|types| {
        let length = usize::try_from(int32(rest, types)?).ok()?;
        rest.get(types + 4..).filter(|json| json.len() == length && json.starts_with(b"{"))
    });
    json.and_then(|json| serde_json::from_slice::<Extras>(json).ok())
        .and_then(|extras| extras.original_size?.parse().ok())
        .unwrap_or_default()
}

/// The position after the event at `at`; always further on, so that a reader comes to an end. It follows from the
/// event's length: the position that the header gives is wrong in files of indexes.
fn next_event(content: &[u8], at: usize) -> Result<usize, LogError> {
    // The length stands behind the timestamp (8 bytes) and the type (1).
    let length = int32(content, at + 9).and_then(|length| usize::try_from(length).ok());
    match length {
        Some(length) if length >= EVENT_HEADER_BYTES => Ok(at + length),
        _ => Err(LogError::Damaged(at)),
    }
}

fn int32(content: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(content.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn int64(content: &[u8], at: usize) -> Option<i64> {
    Some(i64::from_le_bytes(content.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: &str = "470636907273650226/470636907273650227/470636907273850237";

    fn sample(key: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/milvus-sample/{key}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn a_log_that_milvus_wrote_tells_rows_times_and_size() {
        let facts = read_log(&sample(&format!("insert_log/{SEGMENT}/1/470636907273850245"))).unwrap();
        let time = 0x0688_09c6_aaa8_0003;
        let expected =
            LogFacts { rows: 1_100, timestamp_from: time, timestamp_to: time, memory_bytes: 8_800, is_packed: false };
        assert_eq!(facts, expected);
        assert_eq!(read_log(&sample(&format!("delta_log/{SEGMENT}/470636907273850259"))).unwrap().rows, 3);
    }

    #[test]
    fn an_index_file_tells_its_field() {
        let file = sample("index_files/470636907274050296/1/470636907273650227/470636907273850237/HNSW");
        assert_eq!(read_description(&file[..4_096]).unwrap().field_id, 101);
    }

    #[test]
    fn every_cut_of_a_log_is_an_error_and_none_a_panic() {
        let log = sample(&format!("insert_log/{SEGMENT}/1/470636907273850245"));
        // A log that ends right after its description is a log without rows.
        let description_end = read_description(&log).unwrap().next;
        for length in (0..log.len()).filter(|length| *length != description_end) {
            assert!(read_log(&log[..length]).is_err(), "{length}");
        }
        assert!(matches!(read_log(b"not a log at all"), Err(LogError::NotALog)));
    }

    proptest::proptest! {
        #[test]
        fn no_damage_makes_it_panic_or_hang(at in 0_usize..458, byte in proptest::prelude::any::<u8>()) {
            let mut log = sample(&format!("insert_log/{SEGMENT}/1/470636907273850245"));
            log[at] = byte;
            if let Ok(facts) = read_log(&log) {
                proptest::prop_assert!(facts.rows >= 0);
            }
        }
    }
}
