//! A backup: one file that holds a checkpoint and says what it is. One that was read to its end without an error is
//! whole: not a byte more, less or other than was written.
//!
//! The format, version 1; numbers are big-endian:
//! ```text
//! "FERRYBAK"         8 bytes
//! version            u32, 1
//! length             u32, of the header
//! header             JSON: see `Header`; its checkpoint names each file with its size and CRC32C
//! crc32c             u32, of the header
//! files              their bytes, in the order of the header, nothing between them
//! "FERRYEND"         8 bytes
//! crc32c             u32, of everything before it
//! ```

use crate::checkpoints::{Checkpoint, Manifest};
use crate::files::FileError;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"FERRYBAK";
const END: &[u8; 8] = b"FERRYEND";
const VERSION: u32 = 1;
/// A header is a list of file names; one that claims to be longer is damaged.
const HEADER_BYTES_MAX: u32 = 64 << 20;
/// Bytes read or written at once.
const CHUNK_BYTES: usize = 512 << 10;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster it was made of.
    pub cluster_id: u64,
    /// Term of the last entry in it.
    pub term: u64,
    /// Index of the last entry in it: the revision at which it holds.
    pub index: u64,
    /// Cluster time of its last command, in milliseconds.
    pub cluster_time_ms: u64,
    /// Wall clock of the node that made it, in milliseconds since the Unix epoch; for people.
    pub made_wall_ms: u64,
    /// The checkpoint.
    pub checkpoint: Manifest,
}

/// A backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupFileError {
    /// The disk or the connection refused.
    #[error("the backup cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A file of the checkpoint.
    #[error(transparent)]
    File(#[from] FileError),
    /// A newer program wrote it.
    #[error(
        "the backup has version {found}, this program reads version {VERSION}: use the version of ferry that made it, or a newer one"
    )]
    Version {
        /// Its version.
        found: u32,
    },
    /// It is not what was written.
    #[error("this is no whole backup ({0}): copy it again from where it was made, or use another one")]
    Damaged(String),
}

/// Writes a backup; the checkpoint is held as long as that takes.
pub fn write(header: &Header, checkpoint: &Checkpoint, out: impl Write) -> Result<(), BackupFileError> {
    let mut out = Sum { inner: out, crc32c: 0 };
    let json = serde_json::to_vec(header).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_be_bytes())?;
    out.write_all(&u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes())?;
    out.write_all(&json)?;
    out.write_all(&crc32c::crc32c(&json).to_be_bytes())?;
    for file in &checkpoint.manifest().files {
        let mut offset = 0;
        loop {
            let bytes = checkpoint.read_chunk(&file.name, offset, CHUNK_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            out.write_all(&bytes)?;
            offset += bytes.len() as u64;
        }
    }
    out.write_all(END)?;
    let sum = out.crc32c;
    out.write_all(&sum.to_be_bytes())?;
    Ok(out.flush()?)
}

/// Reads a backup to its end and hands each piece of each file to `take`, with its place in that file. What was taken
/// counts only once this has answered without an error.
pub fn read<E: From<BackupFileError>>(
    input: impl Read,
    mut take: impl FnMut(&str, u64, &[u8]) -> Result<(), E>,
) -> Result<Header, E> {
    let mut input = Sum { inner: input, crc32c: 0 };
    let header = read_header(&mut input)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    for file in &header.checkpoint.files {
        let (mut offset, mut crc32c) = (0, 0);
        while offset < file.size_bytes {
            let left = usize::try_from(file.size_bytes - offset).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(CHUNK_BYTES)];
            fill(&mut input, piece)?;
            crc32c = crc32c::crc32c_append(crc32c, piece);
            take(&file.name, offset, piece)?;
            offset += piece.len() as u64;
        }
        if crc32c != file.crc32c {
            return Err(damaged(format!("the checksum of {} in it does not fit", file.name)).into());
        }
    }
    read_end(&mut input)?;
    Ok(header)
}

fn read_header<R: Read>(input: &mut Sum<R>) -> Result<Header, BackupFileError> {
    let mut magic = [0; 8];
    fill(input, &mut magic)?;
    if &magic != MAGIC {
        return Err(damaged("it does not begin like one".to_owned()));
    }
    let version = number(input)?;
    if version != VERSION {
        return Err(BackupFileError::Version { found: version });
    }
    let length = number(input)?;
    if length > HEADER_BYTES_MAX {
        return Err(damaged(format!("its header claims {length} bytes")));
    }
    let mut json = vec![0; length as usize];
    fill(input, &mut json)?;
    if number(input)? != crc32c::crc32c(&json) {
        return Err(damaged("the checksum of its header does not fit".to_owned()));
    }
    let header: Header = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    // The manifest as it comes from another node: its version and file names are looked at.
    Manifest::decode(&header.checkpoint.encode()).map_err(|error| damaged(error.to_string()))?;
    Ok(header)
}

fn read_end<R: Read>(input: &mut Sum<R>) -> Result<(), BackupFileError> {
    let mut end = [0; 8];
    fill(input, &mut end)?;
    if &end != END {
        return Err(damaged("its end mark is missing".to_owned()));
    }
    let sum = input.crc32c;
    if number(input)? != sum {
        return Err(damaged("its checksum does not fit".to_owned()));
    }
    match input.inner.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(damaged("it goes on behind its end".to_owned())),
    }
}

fn number<R: Read>(input: &mut Sum<R>) -> Result<u32, BackupFileError> {
    let mut bytes = [0; 4];
    fill(input, &mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn fill<R: Read>(input: &mut Sum<R>, bytes: &mut [u8]) -> Result<(), BackupFileError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it ends early".to_owned()),
        _ => BackupFileError::Io(error),
    })
}

fn damaged(reason: String) -> BackupFileError {
    BackupFileError::Damaged(reason)
}

/// Keeps the checksum of all that goes through.
struct Sum<T> {
    inner: T,
    crc32c: u32,
}

impl<W: Write> Write for Sum<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Sum<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{BackupFileError, Header, read, write};
    use crate::{Options, Store};

    fn backup() -> (Header, Vec<u8>) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), 1, &Options::default()).expect("a new store");
        store.rows.write((9, vec![1, 2]), None, |_| ()).expect("written");
        let checkpoint = store.checkpoints.build().expect("built");
        let checkpoint_manifest = checkpoint.manifest().clone();
        let header = Header {
            cluster_id: 7,
            term: 3,
            index: 9,
            cluster_time_ms: 5,
            made_wall_ms: 6,
            checkpoint: checkpoint_manifest,
        };
        let mut bytes = Vec::new();
        write(&header, &checkpoint, &mut bytes).expect("written");
        (header, bytes)
    }

    fn reread(bytes: &[u8]) -> Result<(Header, u64), BackupFileError> {
        let mut taken = 0;
        let header = read(bytes, |_, _, piece| {
            taken += piece.len() as u64;
            Ok::<_, BackupFileError>(())
        })?;
        Ok((header, taken))
    }

    #[test]
    fn a_backup_is_read_as_it_was_written() {
        let (header, bytes) = backup();
        let size: u64 = header.checkpoint.files.iter().map(|file| file.size_bytes).sum();
        assert_eq!(reread(&bytes).expect("read"), (header, size));
    }

    /// The bytes around the files, as version 1 has them for ever.
    #[test]
    fn the_layout_of_version_1_is_frozen() {
        let (_, bytes) = backup();
        assert_eq!(&bytes[..12], b"FERRYBAK\0\0\0\x01");
        let length = u32::from_be_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
        let header = str::from_utf8(&bytes[16..16 + length]).expect("JSON");
        let begins = r#"{"cluster_id":7,"term":3,"index":9,"cluster_time_ms":5,"made_wall_ms":6,"checkpoint":{"format_version":1,"index":9,"applied":"0102","membership":"","files":[{"name":"#;
        assert!(header.starts_with(begins), "{header}");
        let crc32c = crc32c::crc32c(header.as_bytes()).to_be_bytes();
        assert_eq!(&bytes[16 + length..20 + length], &crc32c);
        let end = bytes.len() - 12;
        assert_eq!(&bytes[end..end + 8], b"FERRYEND");
        assert_eq!(bytes[end + 8..], crc32c::crc32c(&bytes[..end + 8]).to_be_bytes());
    }

    #[test]
    fn one_that_is_cut_flipped_longer_or_of_another_version_is_refused() {
        let (_, bytes) = backup();
        for kept in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            assert!(matches!(reread(&bytes[..kept]), Err(BackupFileError::Damaged(_))), "{kept} bytes");
        }
        for place in (0..bytes.len()).step_by(89) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            assert!(reread(&flipped).is_err(), "byte {place}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(reread(&longer).expect_err("longer").to_string().contains("behind its end"));
        let mut newer = bytes;
        newer[11] = 2;
        assert!(matches!(reread(&newer), Err(BackupFileError::Version { found: 2 })));
    }
}
