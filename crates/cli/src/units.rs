//! Values with units, read as people write them and written as people read them.

use bytesize::ByteSize;
use std::time::{Duration, SystemTime};

/// A duration like `90s` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("0 is no time at all; write like 10s or 1h30m".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write like 10s or 1h30m")),
    }
}

/// A number of bytes like `100MiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|error| format!("{error}; write like 500KiB or 100MiB"))
}

/// Whole milliseconds, as requests say it.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes for people.
pub(crate) fn show_bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A duration for people: milliseconds below ten seconds, then seconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{} ms", duration.as_millis());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Milliseconds since the Unix epoch as a time in UTC; 0 is no time.
pub(crate) fn show_time(since_epoch_ms: u64) -> String {
    if since_epoch_ms == 0 {
        return "-".to_owned();
    }
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since_epoch_ms));
    time.map_or_else(|| since_epoch_ms.to_string(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, show_bytes, show_duration, show_time};
    use std::time::Duration;

    #[test]
    fn durations_are_read_with_units_and_never_zero() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("0s").is_err());
        assert!(duration("10").expect_err("no unit").contains("10s"));
    }

    #[test]
    fn sizes_are_read_with_units() {
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert!(bytes("much").is_err());
    }

    #[test]
    fn values_are_shown_for_people() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(3 << 19), "1.5 MiB");
        assert_eq!(show_duration(Duration::from_millis(1234)), "1234 ms");
        assert_eq!(show_duration(Duration::from_millis(61_234)), "1m 1s");
        assert_eq!(show_time(0), "-");
        assert_eq!(show_time(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }
}
