//! The checksum of an object's whole content.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The size and CRC32C of an object's whole content; also the running value while it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// The number of bytes.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// CRC32C (Castagnoli) of the bytes.
    #[serde(with = "hexadecimal")]
    pub crc32c: u32,
}

impl Checksum {
    /// The checksum of `content`.
    pub fn of(content: &[u8]) -> Checksum {
        let mut checksum = Checksum::default();
        checksum.update(content);
        checksum
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, content: &[u8]) {
        self.crc32c = crc32c::crc32c_append(self.crc32c, content);
        self.size_bytes += content.len() as u64;
    }

    /// Takes in the checksum of the bytes that follow, which were read apart.
    pub fn append(&mut self, next: Checksum) {
        // A content that does not fit into an address space of this machine was never held by it.
        let length = usize::try_from(next.size_bytes).unwrap_or(usize::MAX);
        self.crc32c = crc32c::crc32c_combine(self.crc32c, next.crc32c, length);
        self.size_bytes += next.size_bytes;
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes with CRC32C {:08x}", self.size_bytes, self.crc32c)
    }
}

mod hexadecimal {
    //! CRCs as the eight digits that other tools print.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:08x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        u32::from_str_radix(&text, 16).map_err(|_| D::Error::custom("expected eight hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_how_the_bytes_arrive() {
        let mut checksum = Checksum::default();
        for piece in b"123456789".chunks(2) {
            checksum.update(piece);
        }
        assert_eq!(checksum, Checksum::of(b"123456789"));
    }

    #[test]
    fn parts_that_are_read_apart_make_the_checksum_of_the_whole() {
        let content: Vec<u8> = (0..100_000_u32).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
        for part_bytes in [1, 7, 4_096, 99_999, 100_000, 200_000] {
            let mut whole = Checksum::default();
            content.chunks(part_bytes).for_each(|part| whole.append(Checksum::of(part)));
            assert_eq!(whole, Checksum::of(&content), "parts of {part_bytes} bytes");
        }
        let mut nothing = Checksum::default();
        nothing.append(Checksum::default());
        assert_eq!(nothing, Checksum::of(b""));
    }
}
