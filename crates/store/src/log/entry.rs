//! Bytes of the log's keys and values: an entry that was read from the disk is never handed out unless its checksum fits
//! its index and itself.

use bytes::Bytes;

const CHECKSUM_BYTES: usize = 4;

/// Key of an entry; keys order as indexes do.
pub(super) fn key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// Index of an entry.
pub(super) fn index(key: &[u8]) -> u64 {
    key.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// Puts the checksum behind the bytes, in no more room than both take.
pub(super) fn seal(index: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(index, &bytes);
    bytes.reserve_exact(CHECKSUM_BYTES);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The bytes of an entry, if its checksum fits.
pub(super) fn unseal(index: u64, value: &[u8]) -> Option<&[u8]> {
    let (bytes, stored) = value.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(index, bytes) == u32::from_be_bytes(*stored)).then_some(bytes)
}

/// The bytes of a value that `seal` made.
pub(super) fn without_checksum(value: &Bytes) -> Bytes {
    value.slice(..value.len() - CHECKSUM_BYTES)
}

fn checksum(index: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_be_bytes()), bytes)
}

/// A marker: raft's bytes, then the index they stand for.
pub(super) fn seal_marker(index: u64, mut marker: Vec<u8>) -> Vec<u8> {
    marker.extend_from_slice(&index.to_be_bytes());
    marker
}

/// The index and raft's bytes.
pub(super) fn unseal_marker(mut value: Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let index = u64::from_be_bytes(*value.last_chunk()?);
    value.truncate(value.len() - size_of::<u64>());
    Some((index, value))
}
