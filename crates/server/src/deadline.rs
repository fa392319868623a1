//! Deadlines of calls: the client's `grpc-timeout`, or the node's own where the client gave none.

use std::time::Duration;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

const HEADER: &str = "grpc-timeout";
/// Digits that the gRPC protocol allows in a timeout.
const DIGITS_MAX: usize = 8;
/// Longest time kept for the way of an answer.
const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(200);

/// When a call must be answered at the latest.
pub(crate) fn of(metadata: &MetadataMap, default: Duration) -> Instant {
    Instant::now() + given(metadata).unwrap_or(default)
}

/// What the client said, if it said something that can be read.
pub(crate) fn given(metadata: &MetadataMap) -> Option<Duration> {
    parse(metadata.get(HEADER)?.to_str().ok()?)
}

/// The same from the headers of a request that is not decoded.
pub(crate) fn given_in(headers: &http::HeaderMap) -> Option<Duration> {
    parse(headers.get(HEADER)?.to_str().ok()?)
}

/// When to stop waiting, so that an answer still reaches the client before it gives up itself.
pub(crate) fn for_answer(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - (left / 10).min(ANSWER_MARGIN_MAX)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_every_unit_and_garbage_is_not() {
        let table = [
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("4S", Some(Duration::from_secs(4))),
            ("50m", Some(Duration::from_millis(50))),
            ("60u", Some(Duration::from_micros(60))),
            ("70n", Some(Duration::from_nanos(70))),
            ("", None),
            ("S", None),
            ("5", None),
            ("5x", None),
            ("-5S", None),
            ("123456789S", None),
            ("5€", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
