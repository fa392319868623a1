//! The virtual object store: sources that get lost, objects that were there before, and who wrote what.

use crate::random::mixed;
use ferry_machine::command::IdMapping;
use ferry_machine::id::{JobId, SegmentId, TaskId};
use ferry_machine::row::ManifestPin;
use std::collections::BTreeMap;

/// An object's name: its segment, and which of the segment's files it is.
pub(crate) type Key = (SegmentId, u64);

/// Most files of one segment.
const FILES_MAX: u64 = 3;
/// Which file a snapshot's metadata is: none of a segment's.
const METADATA: u64 = FILES_MAX;

/// What has become of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// It is gone.
    Gone,
    /// It is shorter than its manifest says.
    Short,
}

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It was there before.
    Foreign,
    /// An attempt of this task wrote it.
    Task(JobId, TaskId),
}

/// An object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) content: u64,
    pub(crate) owner: Owner,
}

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) damaged: BTreeMap<Key, Damage>,
    /// Since when.
    pub(crate) damaged_at: BTreeMap<Key, u64>,
    pub(crate) objects: BTreeMap<Key, Object>,
}

/// What a source was made with.
pub(crate) fn original(source: Key) -> u64 {
    mixed(source.0.0.cast_unsigned() * 31 + source.1 + 1)
}

/// (source, target) of every file that a mapping copies.
pub(crate) fn files(mapping: &IdMapping) -> impl Iterator<Item = (Key, Key)> {
    let (source, target) = (mapping.source, mapping.target);
    let count = 1 + mixed(source.0.cast_unsigned()) % FILES_MAX;
    (0..count).map(move |file| ((source, file), (target, file)))
}

/// The metadata file of the copy's own snapshot; its id is nobody else's, so no target has the same key.
pub(crate) fn metadata(snapshot_id: i64) -> Key {
    (SegmentId(snapshot_id), METADATA)
}

/// Whether an object is the metadata file of a snapshot.
pub(crate) fn is_metadata(key: Key) -> bool {
    key.1 == METADATA
}

/// The manifest of each mapping's source, which follows from what the source was made with.
pub(crate) fn manifests(mappings: &[IdMapping]) -> Vec<ManifestPin> {
    let manifest = |mapping: &IdMapping| {
        let content = original((mapping.source, 0));
        ManifestPin { size_bytes: content % 1_000, crc32c: u32::try_from(content >> 32).unwrap_or_default() }
    };
    mappings.iter().map(manifest).collect()
}

impl Store {
    /// Puts an object there that is none of ours.
    pub(crate) fn put_foreign(&mut self, key: Key) {
        self.objects.insert(key, Object { content: 7, owner: Owner::Foreign });
    }

    /// Every object of this job.
    pub(crate) fn of_job(&self, job: JobId) -> impl Iterator<Item = (&Key, TaskId)> {
        self.objects.iter().filter_map(move |(key, object)| match object.owner {
            Owner::Task(owner, task) if owner == job => Some((key, task)),
            Owner::Task(..) | Owner::Foreign => None,
        })
    }
}
