//! Copies that are only to be looked at, all of an attempt at once: a listing of a folder costs a store as much as a look at
//! one object of it.

use super::{Copier, FileCopy};
use crate::failure::Fault;
use ferry_objects::Checksum;
use std::sync::{Mutex, PoisonError};

/// Objects that were copied and not looked at since.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    files: Mutex<Vec<Copied>>,
}

#[derive(Debug)]
struct Copied {
    file: FileCopy,
    /// All of it was read under the entity tag that was planned.
    is_of_version: bool,
}

impl Copier {
    /// Whether the look at a copy, of which `passed` went through us, can wait for those at others. What is read back, or
    /// looked for by others, cannot.
    pub(super) fn waits_unseen(&self, file: &FileCopy, passed: Option<Checksum>) -> bool {
        let Some(unseen) = &self.unseen else { return false };
        let is_read_back = self.read_back || (passed.is_none() && file.checksum.is_some());
        if is_read_back || file.shared || !self.target.location().lists_as_it_gives() {
            return false;
        }
        let is_of_version = passed.is_some() && file.source.entity_tag().is_some();
        let copied = Copied { file: file.clone(), is_of_version };
        unseen.files.lock().unwrap_or_else(PoisonError::into_inner).push(copied);
        true
    }

    /// Looks at all that waits for it: copies have to be as large as their sources, and these as they were. What is not is
    /// copied once more.
    pub(crate) async fn look_at_unseen(&self, at_once: usize) -> Result<(), Fault> {
        let Some(unseen) = &self.unseen else { return Ok(()) };
        let copied = std::mem::take(&mut *unseen.files.lock().unwrap_or_else(PoisonError::into_inner));
        let keys: Vec<&str> = copied.iter().map(|copied| copied.file.target_key.as_str()).collect();
        let found = self.target.looks(&keys, &self.permit, at_once).await?;
        let unsure = copied.iter().filter(|copied| !copied.is_of_version);
        let unsure: Vec<&FileCopy> = unsure.map(|copied| &copied.file).collect();
        let keys: Vec<&str> = unsure.iter().map(|file| file.source_key.as_str()).collect();
        let sources = self.source.looks(&keys, &self.permit, at_once).await?;
        for (file, source) in unsure.iter().zip(&sources) {
            self.check_unchanged(file, source.as_ref())?;
        }
        let alone = Copier { unseen: None, ..self.clone() };
        for (copied, found) in copied.iter().zip(found) {
            if found.is_none_or(|found| found.size_bytes != copied.file.source.size_bytes) {
                tracing::warn!(target = %self.target.uri(&copied.file.target_key), "a copy is not whole; it is made again");
                alone.copy(&copied.file).await?;
            }
        }
        Ok(())
    }
}
