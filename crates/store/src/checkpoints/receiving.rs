//! A checkpoint on its way in: nobody sees it before its manifest came and every file was compared with it.

use super::manifest::is_plain;
use super::{CHECKPOINT, Checkpoint, Checkpoints, Manifest, ManifestError};
use crate::files::{self, FileError, Named};
use crate::rows::Generation;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// A transfer cannot go on; what came so far is removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReceiveError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A chunk that does not belong there.
    #[error("the chunk at byte {offset} of {file:?} does not fit ({reason}): send the checkpoint again from its start")]
    Chunk {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// Why not.
        reason: &'static str,
    },
    /// The files are not those of the manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A transfer; dropped without `finish`, nothing of it stays.
pub struct Receiving {
    checkpoints: Checkpoints,
    folder: PathBuf,
    files: BTreeMap<String, Incoming>,
}

struct Incoming {
    file: File,
    size_bytes: u64,
}

impl Receiving {
    pub(super) fn begin(checkpoints: Checkpoints) -> Result<Self, ReceiveError> {
        let folder = checkpoints.shared.incoming.join(files::unique_name(CHECKPOINT, 0));
        files::create_folder(&folder)?;
        Ok(Self { checkpoints, folder, files: BTreeMap::new() })
    }

    /// Takes the next bytes of a file; the chunks of one file come in order.
    pub fn write_chunk(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Result<(), ReceiveError> {
        let refused = |reason| ReceiveError::Chunk { file: file.to_owned(), offset, reason };
        if !is_plain(file) {
            return Err(refused("not a file of a checkpoint"));
        }
        let path = self.folder.join(file);
        if !self.files.contains_key(file) {
            let created = OpenOptions::new().write(true).create_new(true).open(&path).named("create", &path)?;
            self.files.insert(file.to_owned(), Incoming { file: created, size_bytes: 0 });
        }
        let incoming = self.files.get_mut(file).ok_or_else(|| refused("the file cannot be opened"))?;
        if incoming.size_bytes != offset {
            return Err(refused("bytes before it are missing or came twice"));
        }
        incoming.file.write_all(bytes).named("write", &path)?;
        incoming.size_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends the transfer: compares everything with the manifest and makes it a checkpoint that can be installed.
    pub fn finish(mut self, manifest: Manifest) -> Result<Checkpoint, ReceiveError> {
        for file in manifest.files.iter().filter(|file| file.size_bytes == 0) {
            self.write_chunk(&file.name, 0, &[])?;
        }
        for (name, incoming) in std::mem::take(&mut self.files) {
            if !manifest.files.iter().any(|file| file.name == name) {
                let reason = "the manifest does not name the file";
                return Err(ReceiveError::Chunk { file: name, offset: 0, reason });
            }
            incoming.file.sync_all().named("sync", &self.folder.join(&name))?;
        }
        manifest.verify(&self.folder)?;
        let shared = &self.checkpoints.shared;
        let inside = Generation::open_read_only(self.folder.clone(), shared.rows.engine());
        manifest.expect(&inside.map_err(|error| ManifestError::from(Box::new(error)))?)?;
        manifest.write(&self.folder)?;
        let target = shared.folder.join(files::unique_name(CHECKPOINT, manifest.index));
        fs::rename(&self.folder, &target).named("rename the received checkpoint to", &target)?;
        files::sync_folder(&shared.folder)?;
        Ok(Checkpoint::new(target, manifest, true))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // After `finish` the folder has another name, and nothing is here.
        if let Err(error) = files::remove_folder(&self.folder) {
            tracing::warn!(%error, "a transfer that did not end stays until the next start");
        }
    }
}
