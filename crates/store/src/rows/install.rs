//! Installing a checkpoint: a new generation beside the live one, then one switch; a crash leaves either of the two.

use super::generation::{self, Generation};
use super::{GENERATION, Rows, RowsError};
use crate::checkpoints::{Manifest, ManifestError};
use crate::files::{self, FileError, Named};
use ferry_planted::Bug;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// A checkpoint cannot be installed; the rows are as they were.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InstallError {
    /// A file is not what the manifest says.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The rows are further than the checkpoint.
    #[error("the checkpoint ends at entry {checkpoint}, the rows at entry {rows} already: this is a bug, report it")]
    Older {
        /// Where the checkpoint ends.
        checkpoint: u64,
        /// Where the rows end.
        rows: u64,
    },
    /// The rows cannot be read or opened.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A file cannot be linked or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Rows {
    /// Makes the rows those of a verified checkpoint; where they are already, nothing happens.
    pub(crate) fn install(&self, source: &Path, manifest: &Manifest) -> Result<(), InstallError> {
        let mut writer = self.lock();
        match self.applied_index()? {
            Some(rows) if rows > manifest.index => {
                return Err(InstallError::Older { checkpoint: manifest.index, rows });
            }
            Some(rows) if rows == manifest.index => return Ok(()),
            Some(_) | None => {}
        }
        let name = files::unique_name(GENERATION, manifest.index);
        let next = self.prepare(source, manifest, &name).inspect_err(|_| {
            // What is left of it is removed at the next start at the latest.
            files::remove_folder(&self.folder.join(&name)).ok();
        })?;
        // What raft truncated before must be gone from the disk before the rows are: a log that ends in other entries
        // than the ones these rows were made of is taken for damaged at the next start.
        self.log.sync().map_err(RowsError::from)?;
        generation::make_live(&self.folder, &name)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *live, Arc::new(next)).retire();
        writer.unflushed_bytes = 0;
        writer.recent.forget();
        Ok(())
    }

    fn prepare(&self, source: &Path, manifest: &Manifest, name: &str) -> Result<Generation, InstallError> {
        let folder = self.folder.join(name);
        files::create_folder(&folder)?;
        for file in &manifest.files {
            copy(&source.join(&file.name), &folder.join(&file.name))?;
        }
        files::sync_folder(&folder)?;
        files::sync_folder(&self.folder)?;
        let next = Generation::open(folder, &self.engine, false)?;
        manifest.expect(&next)?;
        if ferry_planted::is(Bug::CheckpointLosesRow) {
            next.lose_last_segment()?;
        }
        Ok(next)
    }
}

/// Tables never change, so they are linked; RocksDB goes on to write its other files, so those are copied.
fn copy(source: &Path, target: &Path) -> Result<(), FileError> {
    let is_table = source.extension().is_some_and(|extension| extension == "sst");
    if is_table && fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target).named("copy a checkpoint's file to", target)?;
    File::open(target).and_then(|file| file.sync_all()).named("sync", target)
}
