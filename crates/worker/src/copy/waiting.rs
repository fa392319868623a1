//! Small files of a local target that are written and verified under temporary names, and wait for one sync of their file
//! system; none gets its name before it.

use super::disk::Disk;
use super::temporary::TemporaryName;
use crate::failure::{Fault, Side};
use crate::permit::Permit;
use ferry_objects::{Folder, blocking};
use std::sync::{Arc, Mutex, PoisonError};

/// So much is synced at once at most: far less than what takes a disk a second.
const BYTES_MAX: u64 = 64 << 20;
/// So many wait at most: each may hold its folder open.
const NAMES_MAX: usize = 512;
/// The largest file that waits; larger ones are worth a sync of their own.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of one attempt that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    folder: Arc<Folder>,
    disk: Disk,
    files: Mutex<Files>,
    /// Held from a sync to the last of its renames: the disk tells of lost content once. What failed, all have failed.
    placing: Mutex<Option<Fault>>,
}

#[derive(Debug, Default)]
struct Files {
    bytes: u64,
    /// With the keys that they are to have.
    names: Vec<(TemporaryName, String)>,
}

impl Waiting {
    pub(crate) fn new(folder: Arc<Folder>, disk: Disk) -> Waiting {
        Waiting { folder, disk, files: Mutex::default(), placing: Mutex::default() }
    }

    /// Whether a file of that size may wait now.
    pub(super) fn takes(&self, size_bytes: u64) -> bool {
        size_bytes <= FILE_BYTES_MAX && !self.disk.is_spared()
    }

    /// The file waits from now on, unless so much waits already that all of it has its turn. Blocks.
    pub(super) fn add(&self, name: TemporaryName, key: &str, size_bytes: u64, permit: &Permit) -> Result<(), Fault> {
        let full = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.names.push((name, key.to_owned()));
            files.bytes += size_bytes;
            (files.bytes >= BYTES_MAX || files.names.len() >= NAMES_MAX).then(|| std::mem::take(&mut *files))
        };
        full.map_or(Ok(()), |files| self.place(&files, permit))
    }

    /// Syncs and places all that waits.
    pub(crate) async fn flush(self: &Arc<Self>, permit: &Permit) -> Result<(), Fault> {
        let (waiting, permit, files) = (Arc::clone(self), permit.clone(), self.take());
        blocking(move || waiting.place(&files, &permit)).await
    }

    /// Removes all that waits.
    pub(crate) async fn give_up(&self) {
        let files = self.take();
        blocking(move || drop(files)).await;
    }

    /// Makes the names durable that were given.
    pub(crate) async fn sync_names(self: &Arc<Self>) -> Result<(), Fault> {
        let waiting = Arc::clone(self);
        blocking(move || waiting.disk.sync().map_err(|error| Fault::of_folder(&error, Side::Target))).await
    }

    /// Whether names are better made durable folder by folder.
    pub(crate) fn is_spared(&self) -> bool {
        self.disk.is_spared()
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    fn take(&self) -> Files {
        std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Once it has failed it always does: the files of that time were taken for copied, and are gone.
    fn place(&self, files: &Files, permit: &Permit) -> Result<(), Fault> {
        let mut placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = &*placing {
            return Err(fault.clone());
        }
        let placed = self.place_all(files, permit);
        *placing = placed.as_ref().err().cloned();
        placed
    }

    fn place_all(&self, files: &Files, permit: &Permit) -> Result<(), Fault> {
        if files.names.is_empty() {
            return Ok(());
        }
        permit.check()?;
        self.disk.sync().map_err(|error| Fault::of_folder(&error, Side::Target))?;
        let mut walk = self.folder.walk();
        files.names.iter().try_for_each(|(name, key)| name.place_by(&mut walk, key, permit))
    }
}
