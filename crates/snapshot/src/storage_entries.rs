//! Where the storage manifests of a snapshot's segments lie, kept small: nearly all lie in the folder that Milvus gives
//! their segment, which the partition and the version tell.

use crate::layout::LayoutError;
use crate::metadata::StorageManifest;
use crate::paths;
use crate::roots::{BUNDLE_FOLDER, Roots};
use crate::storage_manifest::Entry;
use ferry_objects::join;

/// The entries by segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct StorageEntries {
    collection_id: i64,
    /// What stands before the keyword in every key.
    folder: &'static str,
    /// In the order of the segments' ids.
    entries: Vec<(i64, Stored)>,
}

#[derive(Clone, Debug)]
enum Stored {
    /// In the segment's own folder.
    InOwnFolder { version: u64, partition_id: i64 },
    /// As the metadata has it.
    AsNamed(Box<str>),
}

/// Why an entry names no folder.
#[derive(Debug)]
pub(crate) enum EntryError {
    /// It is neither JSON nor the path of a storage manifest.
    Malformed(String),
    /// Its folder is outside of the snapshot.
    Layout(LayoutError),
}

impl StorageEntries {
    pub(crate) fn new(collection_id: i64, listed: &[StorageManifest], roots: &Roots) -> StorageEntries {
        let folder = if roots.is_bundle() { BUNDLE_FOLDER } else { "" };
        let mut all = StorageEntries { collection_id, folder, entries: Vec::new() };
        let named = listed.iter().filter(|entry| !entry.manifest.is_empty());
        let mut entries: Vec<_> =
            named.map(|entry| (entry.segment_id, all.stored(entry.segment_id, &entry.manifest, roots))).collect();
        entries.sort_unstable_by_key(|(segment_id, _)| *segment_id);
        all.entries = entries;
        all
    }

    /// The folder and the version of a segment's storage manifest, where it has one.
    pub(crate) fn of(&self, segment_id: i64, roots: &Roots) -> Option<Result<Entry, EntryError>> {
        let at = self.entries.binary_search_by_key(&segment_id, |(id, _)| *id).ok()?;
        Some(match &self.entries[at].1 {
            Stored::InOwnFolder { version, partition_id } => {
                Ok(Entry { version: *version, base_path: self.own_folder(*partition_id, segment_id) })
            }
            Stored::AsNamed(text) => resolve(text, roots),
        })
    }

    /// Segments that were growing when the snapshot was taken.
    pub(crate) fn growing(&self) -> impl Iterator<Item = i64> + '_ {
        let is_growing = |stored: &Stored| match stored {
            Stored::InOwnFolder { version, .. } => *version == 0,
            Stored::AsNamed(text) => Entry::parse(text).is_some_and(|entry| entry.version == 0),
        };
        self.entries.iter().filter(move |(_, stored)| is_growing(stored)).map(|(segment_id, _)| *segment_id)
    }

    /// How much memory they take, roughly.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let named = self.entries.iter().map(|(_, stored)| match stored {
            Stored::InOwnFolder { .. } => 0,
            Stored::AsNamed(text) => text.len() as u64,
        });
        named.sum::<u64>() + (self.entries.len() * size_of::<(i64, Stored)>()) as u64
    }

    fn stored(&self, segment_id: i64, text: &str, roots: &Roots) -> Stored {
        let own = resolve(text, roots).ok().and_then(|entry| {
            let partition_id = entry.base_path.rsplit('/').nth(1).and_then(paths::id)?;
            let is_own = entry.base_path == self.own_folder(partition_id, segment_id);
            is_own.then_some(Stored::InOwnFolder { version: entry.version, partition_id })
        });
        own.unwrap_or_else(|| Stored::AsNamed(text.into()))
    }

    fn own_folder(&self, partition_id: i64, segment_id: i64) -> String {
        join(self.folder, &format!("insert_log/{}/{partition_id}/{segment_id}", self.collection_id))
    }
}

fn resolve(text: &str, roots: &Roots) -> Result<Entry, EntryError> {
    let entry = Entry::parse(text).ok_or_else(|| EntryError::Malformed(text.to_owned()))?;
    let base_path = roots.folder_of(&entry.base_path).map_err(EntryError::Layout)?;
    Ok(Entry { base_path, ..entry })
}
