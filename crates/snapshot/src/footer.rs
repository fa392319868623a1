//! The row count in a Parquet footer. The footer is Thrift in its compact form; everything before the count is
//! skipped, nothing is believed about lengths that the bytes do not bear out.

/// The length of the footer, and a magic number.
pub(crate) const FOOTER_TAIL_BYTES: usize = 8;
const ROWS_FIELD: i16 = 3;
/// Deeper than any footer nests.
const DEPTH_MAX: u32 = 32;

mod kind {
    //! Types of the compact form.
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCT: u8 = 12;
}

/// The rows of the Parquet file `content`, of which the footer and all after it is enough; none if that cannot be read.
pub(crate) fn rows_of_parquet(content: &[u8]) -> Option<i64> {
    let (rest, tail) = content.split_at_checked(content.len().checked_sub(FOOTER_TAIL_BYTES)?)?;
    let length = usize::try_from(footer_bytes(tail)?).ok()?;
    let footer = &rest[rest.len().checked_sub(length)?..];
    rows_of_footer(&mut Thrift { rest: footer })
}

/// The length of the footer before the last bytes of a Parquet file.
pub(crate) fn footer_bytes(tail: &[u8]) -> Option<u64> {
    let (length, magic) = tail.split_first_chunk()?;
    (magic == b"PAR1").then_some(u64::from(u32::from_le_bytes(*length)))
}

fn rows_of_footer(thrift: &mut Thrift<'_>) -> Option<i64> {
    let mut field = 0;
    loop {
        let (next, kind) = thrift.field(field)??;
        field = next;
        if field == ROWS_FIELD && kind == kind::I64 {
            return thrift.zigzag().filter(|rows| *rows >= 0);
        }
        thrift.skip(kind, DEPTH_MAX)?;
    }
}

struct Thrift<'a> {
    rest: &'a [u8],
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn take(&mut self, count: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// The next field's number and type; the inner none is the end of the struct.
    fn field(&mut self, last: i16) -> Option<Option<(i16, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let delta = i16::from(byte >> 4);
        let field = if delta == 0 { i16::try_from(self.zigzag()?).ok()? } else { last.checked_add(delta)? };
        Some(Some((field, byte & 0x0f)))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            kind::TRUE | kind::FALSE => Some(()),
            kind::BYTE => self.take(1),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(drop),
            kind::DOUBLE => self.take(8),
            kind::BINARY => {
                let length = self.varint()?;
                self.take(length)
            }
            kind::LIST | kind::SET => self.skip_list(depth),
            kind::STRUCT => self.skip_struct(depth),
            // Maps do not stand before the count in any version of the format.
            _ => None,
        }
    }

    fn skip_list(&mut self, depth: u32) -> Option<()> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        for _ in 0..count {
            // In a list a truth value takes a byte of its own, so every element consumes something.
            match head & 0x0f {
                kind::TRUE | kind::FALSE => self.take(1)?,
                element => self.skip(element, depth)?,
            }
        }
        Some(())
    }

    fn skip_struct(&mut self, depth: u32) -> Option<()> {
        let mut field = 0;
        while let Some((next, kind)) = self.field(field)? {
            field = next;
            self.skip(kind, depth)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parquet(footer: &[u8]) -> Vec<u8> {
        let mut file = b"PAR1".to_vec();
        file.extend_from_slice(footer);
        file.extend_from_slice(&u32::try_from(footer.len()).unwrap().to_le_bytes());
        file.extend_from_slice(b"PAR1");
        file
    }

    #[test]
    fn the_count_is_found_behind_the_schema() {
        // version 1, a schema of one element {name: "x"}, 300 rows.
        let footer = [0x15, 0x02, 0x19, 0x1c, 0x48, 0x01, b'x', 0x00, 0x16, 0xd8, 0x04, 0x00];
        assert_eq!(rows_of_parquet(&parquet(&footer)), Some(300));
    }

    #[test]
    fn a_footer_without_a_count_has_none() {
        for footer in
            [&[][..], &[0x15, 0x02, 0x00], &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x16], &[0x1b, 0x01]]
        {
            assert_eq!(rows_of_parquet(&parquet(footer)), None, "{footer:?}");
        }
        assert_eq!(rows_of_parquet(b"PAR1"), None);
        assert_eq!(rows_of_parquet(b"\xff\xff\xff\xffPAR1"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_footer_makes_it_panic(footer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let rows = rows_of_parquet(&parquet(&footer));
            proptest::prop_assert!(rows.is_none_or(|rows| rows >= 0));
        }
    }
}
