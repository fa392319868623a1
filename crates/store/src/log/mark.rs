//! A note beside the log of how much of it is durable, so that a log that lost what was promised is recognised.
//!
//! The mark never says more than the truth: it is raised after a sync, without a sync of its own (after power loss it
//! may be older), and lowered, durably, before entries are truncated.

use crate::files::{FileError, Named};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file: a count of entries, big-endian, and its CRC32C.
pub(super) struct Mark {
    path: PathBuf,
    file: File,
    entries: u64,
}

impl Mark {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).named("open", path)?;
        let mut bytes = [0; 12];
        let entries = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(bytes).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "the note of what is durable is damaged and begins anew");
                0
            }),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error).named("read", path),
        };
        Ok(Self { path: path.to_path_buf(), file, entries })
    }

    /// Entries from index zero on that were durable once, purged ones included.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn raise(&mut self, entries: u64) -> Result<(), FileError> {
        if entries > self.entries { self.write(entries) } else { Ok(()) }
    }

    pub(super) fn lower(&mut self, entries: u64) -> Result<(), FileError> {
        if entries >= self.entries {
            return Ok(());
        }
        self.write(entries)?;
        self.file.sync_data().named("sync", &self.path)
    }

    fn write(&mut self, entries: u64) -> Result<(), FileError> {
        let count = entries.to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&count);
        bytes[8..].copy_from_slice(&crc32c::crc32c(&count).to_be_bytes());
        self.file.write_all_at(&bytes, 0).named("write", &self.path)?;
        self.entries = entries;
        Ok(())
    }
}

fn decode(bytes: [u8; 12]) -> Option<u64> {
    let (count, stored) = bytes.split_first_chunk::<8>()?;
    let stored = u32::from_be_bytes(stored.try_into().ok()?);
    (crc32c::crc32c(count) == stored).then(|| u64::from_be_bytes(*count))
}
