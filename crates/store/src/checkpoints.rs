//! Checkpoints: images of the rows, which are raft's snapshots. One that can be seen here is whole and verified.
//!
//! A checkpoint is a folder of links to the tables of the rows and a manifest with the size and CRC32C of each file,
//! written last. The newest is kept; an older one goes once nobody holds it any more, so a transfer ends undisturbed.

mod held;
mod manifest;
mod receiving;

use crate::files::{self, FileError};
use crate::rows::{Generation, InstallError, Rows, RowsError, RowsView};
use ferry_machine::key::Key;
use ferry_machine::row::{Cluster, Row};
use ferry_machine::tables::Read;
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
        self.shared.rows.flush_ahead()?;
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
        self.advance(&checkpoint);
        Ok(checkpoint)
    }

    /// The newest checkpoint.
    pub fn current(&self) -> Option<Checkpoint> {
        self.lock().clone()
    }

    /// The cluster's row in a checkpoint.
    pub fn cluster(&self, checkpoint: &Checkpoint) -> Result<Option<Cluster>, RowsError> {
        let inside = Generation::open_read_only(checkpoint.folder().to_path_buf(), self.shared.rows.engine())?;
        let view = RowsView::new(Arc::new(inside));
        let row = view.get(&Key::Cluster);
        view.check_error()?;
        Ok(if let Some(Row::Cluster(cluster)) = row { Some(cluster) } else { None })
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
        self.advance(checkpoint);
        Ok(())
    }

    fn describe(&self, folder: &Path) -> Result<Checkpoint, BuildError> {
        let manifest = Manifest::describe(folder, self.shared.rows.engine(), self.current().as_ref())?
            .ok_or(BuildError::NothingApplied)?;
        manifest.write(folder)?;
        files::sync_folder(&self.shared.folder)?;
        Ok(Checkpoint::new(folder.to_path_buf(), manifest, true))
    }

    /// Makes a checkpoint the current one unless that one is as new: a build that ends after an installation it began
    /// before must not bring back what the log no longer continues.
    fn advance(&self, checkpoint: &Checkpoint) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| current.manifest().index >= checkpoint.manifest().index) {
            return;
        }
        checkpoint.keep(true);
        let former = current.replace(checkpoint.clone());
        // Files are removed with the last handle, which is not to happen under the lock.
        drop(current);
        if let Some(former) = former {
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

#[cfg(test)]
mod tests {
    use crate::{Options, Store};

    #[test]
    fn a_build_that_ends_after_an_installation_does_not_bring_the_older_checkpoint_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), 1, &Options::default()).expect("a new store");
        let [older, newer] = [9, 19].map(|index| {
            store.rows.write((index, Vec::new()), None, |_| ()).expect("written");
            store.checkpoints.build().expect("built")
        });
        store.checkpoints.advance(&older);
        assert_eq!(store.checkpoints.current().expect("the newer one").name(), newer.name());
        let gone = older.folder().to_path_buf();
        drop(older);
        assert!(!gone.exists() && newer.folder().exists());
    }
}
