//! What the head and tail of a Milvus log file tell: the ids it was written for, the time it covers and its rows.
//! Only that is read; the rows themselves stay opaque here.
//!
//! A log is a magic number and events. Each event has a header (timestamp, type, length, position of the next); the
//! first describes the file, each further one carries a Parquet file whose footer counts its rows. Newer storage
//! formats drop the events and leave the bare Parquet file.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use crate::footer::{FOOTER_TAIL_BYTES, footer_bytes, rows_of_parquet};

const MAGIC: [u8; 4] = 0x00ff_fabc_u32.to_le_bytes();
const EVENT_HEADER_BYTES: usize = 17;
const EVENT_TIMES_BYTES: usize = 16;
const DESCRIPTOR_FIXED_BYTES: usize = 52;
const EVENT_TYPES_MAX: usize = 64;
/// The largest footer that is read of a log that is not read as a whole.
const FOOTER_BYTES_MAX: u64 = 64 << 20;
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

/// The same of a log that is too large to be read as a whole, by those ranges of it that tell something. The outer error is
/// that of `read`.
pub(crate) async fn read_large_log<E>(
    size_bytes: u64,
    read: impl AsyncFn(Range<u64>) -> Result<Bytes, E>,
) -> Result<Result<LogFacts, LogError>, E> {
    let head = read(0..HEAD_BYTES.min(size_bytes)).await?;
    if head.starts_with(b"PAR1") {
        let rows = rows_between(0..size_bytes, &read).await?;
        return Ok(rows.map(|rows| LogFacts { rows, is_packed: true, ..LogFacts::default() }));
    }
    let description = match read_description(&head) {
        Ok(description) => description,
        Err(error) => return Ok(Err(error)),
    };
    let mut facts = LogFacts {
        timestamp_from: description.timestamp_from,
        timestamp_to: description.timestamp_to,
        memory_bytes: description.memory_bytes,
        ..LogFacts::default()
    };
    let mut at = description.next as u64;
    while at < size_bytes {
        let damaged = || LogError::Damaged(usize::try_from(at).unwrap_or(usize::MAX));
        let payload = at + (EVENT_HEADER_BYTES + EVENT_TIMES_BYTES) as u64;
        let header = read(at..payload.min(size_bytes)).await?;
        let Ok(length) = next_event(&header, 0) else { return Ok(Err(damaged())) };
        let next = at + length as u64;
        if payload > next || next > size_bytes {
            return Ok(Err(damaged()));
        }
        match rows_between(payload..next, &read).await? {
            Ok(rows) => facts.rows = facts.rows.saturating_add(rows),
            Err(error) => return Ok(Err(error)),
        }
        at = next;
    }
    Ok(Ok(facts))
}

/// The rows of the Parquet file in that range of a log.
async fn rows_between<E>(
    range: Range<u64>,
    read: &impl AsyncFn(Range<u64>) -> Result<Bytes, E>,
) -> Result<Result<i64, LogError>, E> {
    let Some(tail_at) = range.end.checked_sub(FOOTER_TAIL_BYTES as u64).filter(|at| *at >= range.start) else {
        return Ok(Err(LogError::Footer));
    };
    let length = footer_bytes(&read(tail_at..range.end).await?).filter(|length| *length <= FOOTER_BYTES_MAX);
    let footer_at = length.and_then(|length| tail_at.checked_sub(length)).filter(|at| *at >= range.start);
    let Some(footer_at) = footer_at else { return Ok(Err(LogError::Footer)) };
    let footer = read(footer_at..range.end).await?;
    Ok(rows_of_parquet(&footer).ok_or(LogError::Footer))
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
    use futures::FutureExt;

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

    /// The log by its ranges, as one that is too large to be read as a whole.
    fn read_by_ranges(log: &[u8]) -> Result<LogFacts, LogError> {
        let read = async |range: Range<u64>| {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(&log[range]))
        };
        read_large_log(log.len() as u64, read).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn a_large_log_tells_by_a_few_of_its_ranges_what_it_tells_as_a_whole() {
        let footer = [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, b'x', 0x00, 0x16, 0xd8, 0x04, 0x00];
        let packed = [b"PAR1", [0; 100].as_slice(), &footer, &[12, 0, 0, 0], b"PAR1"].concat();
        for log in [
            sample(&format!("insert_log/{SEGMENT}/1/470636907273850245")),
            sample(&format!("delta_log/{SEGMENT}/470636907273850259")),
            packed,
        ] {
            let facts = read_by_ranges(&log).unwrap();
            assert!(facts.rows > 0);
            assert_eq!(facts, read_log(&log).unwrap());
            for length in 0..log.len() {
                assert_eq!(read_by_ranges(&log[..length]).is_ok(), read_log(&log[..length]).is_ok(), "{length}");
            }
        }
        assert!(matches!(read_by_ranges(b"not a log at all"), Err(LogError::NotALog)));
    }

    proptest::proptest! {
        #[test]
        fn damage_is_the_same_by_ranges_as_in_the_whole(at in 0_usize..458, byte in proptest::prelude::any::<u8>()) {
            let mut log = sample(&format!("insert_log/{SEGMENT}/1/470636907273850245"));
            log[at] = byte;
            proptest::prop_assert_eq!(read_by_ranges(&log).ok(), read_log(&log).ok());
        }

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
