//! HTTP/1.1 requests as their bytes pass: where each begins and ends. No client of a store sends the next one before the
//! answer, so whoever stands between may answer in the store's place.

use std::io::{Error, ErrorKind};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// A longer one is none.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The first line and the headers of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `GET` and its like.
    pub method: String,
    /// Path and query, as they are sent.
    pub target: String,
    /// All of it, as it was sent.
    pub(super) bytes: Vec<u8>,
    body_bytes: usize,
}

/// What comes next in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Head(Head),
    Body(&'a [u8]),
    /// The request is complete.
    End,
}

/// Reads one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    head: Vec<u8>,
    /// Of a body that is passing.
    left: Option<usize>,
}

impl Head {
    /// Whether the store writes an object for it: a put, a part, a copy, or the completion of an upload.
    #[must_use]
    pub fn writes(&self) -> bool {
        let completes = self.method == "POST" && self.target.contains("uploadId=");
        self.method == "PUT" || completes
    }

    fn read(bytes: Vec<u8>) -> Result<Self, Error> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidData, format!("{what} in a request"));
        let text = str::from_utf8(&bytes).map_err(|_| wrong("bytes that are no text"))?;
        let (first, headers) = text.split_once("\r\n").ok_or_else(|| wrong("no first line"))?;
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(wrong("no target")) };
        let header = |wanted: &str| {
            let headers = headers.lines().filter_map(|line| line.split_once(':'));
            headers.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
        };
        if header("transfer-encoding").is_some() {
            return Err(wrong("a body of unknown length"));
        }
        let body_bytes = header("content-length").unwrap_or("0").parse().map_err(|_| wrong("a length that is none"))?;
        Ok(Self { method, target, bytes, body_bytes })
    }
}

impl Requests {
    /// The next piece of these bytes; takes it off them. None: more bytes are needed.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Error> {
        if self.left == Some(0) {
            self.left = None;
            return Ok(Some(Piece::End));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(left) = &mut self.left {
            let (body, rest) = bytes.split_at(bytes.len().min(*left));
            (*left, *bytes) = (*left - body.len(), rest);
            return Ok(Some(Piece::Body(body)));
        }
        let known = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(at) = self.head.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) else {
            *bytes = &[];
            let is_too_long = self.head.len() > HEAD_BYTES_MAX;
            return if is_too_long { Err(Error::new(ErrorKind::InvalidData, "no end of a head")) } else { Ok(None) };
        };
        self.head.truncate(at + END_OF_HEAD.len());
        *bytes = &bytes[self.head.len() - known..];
        let head = Head::read(std::mem::take(&mut self.head))?;
        self.left = Some(head.body_bytes);
        Ok(Some(Piece::Head(head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"PUT /a?x=1 HTTP/1.1\r\ncontent-length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nhost: c\r\n\r\n";

    /// What a stream says that comes in blocks of this size.
    fn told(block_bytes: usize) -> Result<String, Error> {
        let (mut requests, mut told) = (Requests::default(), String::new());
        for mut block in STREAM.chunks(block_bytes) {
            while let Some(piece) = requests.next(&mut block)? {
                match piece {
                    Piece::Head(head) => told += &format!("{} {} ", head.method, head.target),
                    Piece::Body(bytes) => told += str::from_utf8(bytes).expect("it is text"),
                    Piece::End => told += ".",
                }
            }
        }
        Ok(told)
    }

    #[test]
    fn requests_are_told_apart_however_their_bytes_come() {
        for block_bytes in 1..=STREAM.len() {
            assert_eq!(told(block_bytes).expect("they are requests"), "PUT /a?x=1 hello.GET /b .", "{block_bytes}");
        }
    }

    #[test]
    fn a_request_whose_end_cannot_be_known_is_an_error() {
        let mut bytes: &[u8] = b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(Requests::default().next(&mut bytes).is_err());
    }

    #[test]
    fn puts_copies_parts_and_completions_write_and_nothing_else_does() {
        let writes = |method: &str, target: &str| {
            Head { method: method.to_owned(), target: target.to_owned(), ..Head::default() }.writes()
        };
        assert!(writes("PUT", "/b/key") && writes("PUT", "/b/key?partNumber=1&uploadId=u"));
        assert!(writes("POST", "/b/key?uploadId=u"));
        assert!(
            !writes("POST", "/b/key?uploads") && !writes("POST", "/b?delete") && !writes("GET", "/b/key?uploadId=u")
        );
        assert!(!writes("DELETE", "/b/key?uploadId=u"));
    }
}
