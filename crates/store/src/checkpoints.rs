//! Checkpoints: images of the rows, which are raft's snapshots. One that can be seen here is whole and verified.
//!
//! A checkpoint is a folder of links to the tables of the rows and a manifest with the size and CRC32C of each file,
//! written last. The newest is kept; an older one goes once nobody holds it any more, so a transfer ends undisturbed.

mod held;
mod manifest;
mod receiving;

use crate::files::{self, FileError};
use crate::rows::{InstallError, Rows, RowsError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use held::Checkpoint;
pub use manifest::{CheckpointFile, Manifest, ManifestError};
pub use receiving::{ReceiveError, Receiving};

/// A checkpoint cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BuildError {
    /// There is nothing to make one of.
    #[error("nothing was applied yet, so there is nothing to make a checkpoint of: try again later")]
    NothingApplied,
    /// The rows or the log cannot be made durable or read.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The folder does not hold what it should.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file or folder cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The checkpoints of one node; clones share them.
#[derive(Clone)]
pub struct Checkpoints {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    incoming: PathBuf,
    rows: Arc<Rows>,
    current: Mutex<Option<Checkpoint>>,
    building: Mutex<()>,
}

/// Prefix of the folders of checkpoints.
const CHECKPOINT: &str = "snap";

impl Checkpoints {
    /// Finds the newest checkpoint and removes whatever else is there: transfers and builds that did not end.
    pub(crate) fn open(folder: PathBuf, incoming: PathBuf, rows: Arc<Rows>) -> Result<Self, FileError> {
        files::create_folder(&folder)?;
        files::remove_folder(&incoming)?;
        files::create_folder(&incoming)?;
        let current = newest(&folder)?;
        for name in files::names_in(&folder)? {
            let path = folder.join(&name);
            if name.starts_with(CHECKPOINT) && current.as_ref().is_none_or(|current| current.folder() != path) {
                files::remove_folder(&path)?;
            }
        }
        let shared = Shared { folder, incoming, rows, current: Mutex::new(current), building: Mutex::new(()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a checkpoint of the rows as they are, while nothing is written; it becomes the current one.
    pub fn build(&self) -> Result<Checkpoint, BuildError> {
        let _building = self.shared.building.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.shared.rows.frozen(|live| {
            let index = live.applied()?.map_or(0, |(index, _)| index);
            let folder = self.shared.folder.join(files::unique_name(CHECKPOINT, index));
            live.checkpoint(&folder)?;
            Ok(folder)
        })?;
        let checkpoint = self.describe(&folder).inspect_err(|_| {
            // Without a manifest it is no checkpoint; what stays is removed at the next start.
            files::remove_folder(&folder).ok();
        })?;
        self.replace(&checkpoint);
        Ok(checkpoint)
    }

    /// The newest checkpoint.
    pub fn current(&self) -> Option<Checkpoint> {
        self.lock().clone()
    }

    /// Begins to receive a checkpoint; without its end nothing of it stays.
    pub fn begin_receive(&self) -> Result<Receiving, ReceiveError> {
        Receiving::begin(self.clone())
    }

    /// Makes the rows those of a checkpoint, which becomes the current one; again does nothing.
    pub fn install(&self, checkpoint: &Checkpoint) -> Result<(), InstallError> {
        if !checkpoint.is_verified() {
            checkpoint.manifest().verify(checkpoint.folder())?;
        }
        self.shared.rows.install(checkpoint.folder(), checkpoint.manifest())?;
        if self.current().is_none_or(|current| current.manifest().index < checkpoint.manifest().index) {
            self.replace(checkpoint);
        }
        Ok(())
    }

    fn describe(&self, folder: &Path) -> Result<Checkpoint, BuildError> {
        let manifest = Manifest::describe(folder, self.shared.rows.engine(), self.current().as_ref())?
            .ok_or(BuildError::NothingApplied)?;
        manifest.write(folder)?;
        files::sync_folder(&self.shared.folder)?;
        Ok(Checkpoint::new(folder.to_path_buf(), manifest, true))
    }

    fn replace(&self, checkpoint: &Checkpoint) {
        checkpoint.keep(true);
        let former = self.lock().replace(checkpoint.clone());
        if let Some(former) = former.filter(|former| former.folder() != checkpoint.folder()) {
            former.keep(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest folder with a manifest and files of the right sizes; their checksums are looked at when it is used.
fn newest(folder: &Path) -> Result<Option<Checkpoint>, FileError> {
    let mut names = files::names_in(folder)?;
    names.sort_by_key(|name| std::cmp::Reverse(files::index_of(name, CHECKPOINT)));
    for name in names.iter().filter(|name| files::index_of(name, CHECKPOINT).is_some()) {
        let path = folder.join(name);
        match Manifest::load(&path) {
            Ok(manifest) => {
                let checkpoint = Checkpoint::new(path, manifest, false);
                checkpoint.keep(true);
                return Ok(Some(checkpoint));
            }
            Err(error) => tracing::warn!(%error, "removing a checkpoint that is not whole"),
        }
    }
    Ok(None)
}
