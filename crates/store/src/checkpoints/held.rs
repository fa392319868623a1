//! A handle to a checkpoint: its folder stays for as long as a handle is there.

use super::Manifest;
use crate::files::{self, FileError, Named};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A checkpoint; clones are the same one, and while one of them is there its files are too.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    folder: PathBuf,
    manifest: Manifest,
    verified: bool,
    /// Set for the current one, whose files outlive the process.
    keep: AtomicBool,
}

impl Checkpoint {
    pub(super) fn new(folder: PathBuf, manifest: Manifest, verified: bool) -> Self {
        Self { held: Arc::new(Held { folder, manifest, verified, keep: AtomicBool::new(false) }) }
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.held.manifest
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.held.folder
    }

    /// Its name, which no other checkpoint has.
    pub fn name(&self) -> String {
        self.held.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Bytes of one of its files from `offset` on, at most `bytes_max`; empty at its end.
    pub fn read_chunk(&self, file: &str, offset: u64, bytes_max: usize) -> Result<Vec<u8>, FileError> {
        let path = self.held.folder.join(file);
        let opened = File::open(&path).named("open", &path)?;
        let mut bytes = vec![0; bytes_max];
        let mut filled = 0;
        while filled < bytes_max {
            let read = opened.read_at(&mut bytes[filled..], offset + filled as u64).named("read", &path)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    pub(super) fn is_verified(&self) -> bool {
        self.held.verified
    }

    pub(super) fn keep(&self, keep: bool) {
        self.held.keep.store(keep, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Acquire)
            && let Err(error) = files::remove_folder(&self.folder)
        {
            tracing::warn!(%error, "an old checkpoint stays until the next start");
        }
    }
}
