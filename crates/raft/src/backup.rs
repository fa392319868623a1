//! Backups: a checkpoint of this node's rows with what a new cluster has to know of it, from a node that runs or from
//! the folder of one that does not.

use crate::clock::wall_ms;
use crate::handle::Raft;
use crate::log::{LogStore, READ_BYTES_MAX, unbroken};
use crate::state::{Progress, StateMachine};
use crate::wire;
use ferry_store::backup::{self, BackupFileError, Header};
use ferry_store::checkpoints::{BuildError, Checkpoint, Checkpoints};
use ferry_store::rows::RowsError;
use ferry_store::{OpenError, Options, Store};
use std::io::{self, Write};
use std::path::Path;

/// A backup cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No checkpoint can be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The rows cannot be read.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be applied, or what is in the checkpoint makes no sense.
    #[error("the backup cannot be made from what is on disk: {0}")]
    Disk(#[from] io::Error),
    /// Nobody has begun the cluster.
    #[error("this node is in no cluster yet, so there is nothing to back up")]
    NoCluster,
}

/// A checkpoint that can be written as a backup; held for as long as this is there.
#[derive(Debug)]
pub struct Backup {
    header: Header,
    checkpoint: Checkpoint,
}

impl Backup {
    fn of(checkpoints: &Checkpoints, checkpoint: Checkpoint) -> Result<Self, BackupError> {
        let manifest = checkpoint.manifest().clone();
        let applied = wire::log_id_from_bytes(&manifest.applied).map_err(io::Error::other)?;
        let cluster = checkpoints.cluster(&checkpoint)?.ok_or(BackupError::NoCluster)?;
        let header = Header {
            cluster_id: cluster.cluster_id,
            term: applied.leader_id.term,
            index: manifest.index,
            cluster_time_ms: cluster.now.0,
            made_wall_ms: wall_ms(),
            checkpoint: manifest,
        };
        Ok(Self { header, checkpoint })
    }

    /// What it is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the file; takes as long as the rows are many.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or `out` takes no more.
    pub fn write(&self, out: impl Write) -> Result<(), BackupFileError> {
        backup::write(&self.header, &self.checkpoint, out)
    }
}

impl Raft {
    /// A backup of the rows as they are on this node; takes a moment, for rows are flushed.
    ///
    /// # Errors
    /// When no checkpoint can be made.
    pub fn backup(&self) -> Result<Backup, BackupError> {
        let checkpoints = &self.inner.checkpoints;
        Backup::of(checkpoints, checkpoints.build()?)
    }
}

/// A backup from the folder of a node that does not run. The whole log of the node is applied first, also what it did
/// not know to be committed: that was acknowledged, or nobody knows what became of it, and of the two it is better to
/// have it. Nothing is in the folder afterwards that a start of the node would not have brought about too, but for
/// rows of such entries: where there are any, the node cannot start again.
///
/// # Errors
/// When the folder is in use, damaged, or no node's.
pub fn offline(folder: &Path) -> Result<Backup, BackupError> {
    let store = Store::open_existing(folder, &Options::default())?;
    let log = LogStore::new(store.log.clone(), store.vote.clone());
    let state = StateMachine::new(store.rows.clone(), store.checkpoints.clone(), Progress::new())?;
    let committed = log.committed()?.map(|log_id| log_id.index);
    // Where there is no entry at all, nothing is applied that was not committed.
    if log.last_index()?.is_some_and(|last| Some(last) > committed) {
        Store::forbid_start(folder)?;
    }
    let mut next = store.rows.applied_index()?.map_or(0, |index| index + 1);
    loop {
        let entries = unbroken(next, log.read(next, u64::MAX, READ_BYTES_MAX)?)?;
        let Some(last) = entries.last() else { break };
        next = last.log_id.index + 1;
        for entry in entries {
            state.apply_entry(entry)?;
        }
    }
    Backup::of(&store.checkpoints, store.checkpoints.build()?)
}
