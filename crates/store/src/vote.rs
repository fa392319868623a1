//! The vote: a small file of its own, durable when `save` returns, whole or as it was after a crash.

use crate::disk::{Disk, SAVING_THE_VOTE};
use crate::files::{self, FileError};
use ferry_planted::Bug;
use std::path::PathBuf;

/// The vote cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VoteError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its checksum does not fit: a node without its vote could vote twice in one term.
    #[error(
        "{} is damaged, and a node that forgot its vote could vote twice: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is gone though the node has taken part in a cluster.
    #[error(
        "{} is missing though this node has a log, and a node that forgot its vote could vote twice: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

/// The file that holds the vote: CRC32C (big-endian), then the bytes raft gave.
#[derive(Debug, Clone)]
pub struct VoteFile {
    path: PathBuf,
    disk: Disk,
}

impl VoteFile {
    pub(crate) fn new(path: PathBuf, disk: Disk) -> Self {
        Self { path, disk }
    }

    /// The error of a vote that is not there though it must have been saved.
    #[must_use]
    pub fn missing(&self) -> VoteError {
        VoteError::Missing { path: self.path.clone() }
    }

    /// The last vote saved; `None` before the first.
    pub fn load(&self) -> Result<Option<Vec<u8>>, VoteError> {
        let Some(mut bytes) = files::read_optional(&self.path)? else { return Ok(None) };
        let damaged = || VoteError::Damaged { path: self.path.clone() };
        let (checksum, vote) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(vote) != u32::from_be_bytes(*checksum) {
            return Err(damaged());
        }
        Ok(Some(bytes.split_off(4)))
    }

    /// Replaces the vote; durable on return.
    pub fn save(&self, vote: &[u8]) -> Result<(), VoteError> {
        let bytes = [&crc32c::crc32c(vote).to_be_bytes(), vote].concat();
        if ferry_planted::is(Bug::VoteNotSynced) {
            return Ok(files::write_unsynced(&self.path, &bytes)?);
        }
        Ok(self.disk.during(SAVING_THE_VOTE, || files::write_atomically(&self.path, &bytes))?)
    }
}
