//! The files of one segment, as their keys name them.

use std::collections::{BTreeMap, BTreeSet};

use ferry_objects::Object;

use crate::layout::FileKind;
use crate::paths;

/// The name of the merged stats log, in place of a log id.
const MERGED_STATS: i64 = 1;

/// The files of one segment, by kind and then by field or build.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) partition_id: i64,
    pub(super) files: BTreeMap<(FileKind, i64), Vec<Object>>,
}

impl Segment {
    pub(super) fn files(&self) -> impl Iterator<Item = &Object> {
        self.files.values().flatten()
    }

    fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = (i64, &Vec<Object>)> {
        self.files.range((kind, i64::MIN)..=(kind, i64::MAX)).map(|((_, group), objects)| (*group, objects))
    }

    /// Whether it has more than deletes.
    pub(super) fn has_rows(&self) -> bool {
        self.of_kind(FileKind::Insert).next().is_some()
    }

    /// The fields, or groups of fields, that it has insert logs of.
    pub(super) fn fields(&self) -> BTreeSet<i64> {
        self.of_kind(FileKind::Insert).map(|(field, _)| field).collect()
    }

    /// The insert logs of a field or group, in the order in which they were written.
    pub(super) fn insert_logs(&self, field: i64) -> Vec<&Object> {
        let mut logs: Vec<&Object> = self.files.get(&(FileKind::Insert, field)).into_iter().flatten().collect();
        logs.sort_by_key(|log| (log_id(log), &log.key));
        logs
    }

    pub(super) fn delta_logs(&self) -> impl Iterator<Item = &Object> {
        self.of_kind(FileKind::Delta).flat_map(|(_, objects)| objects)
    }

    /// The fields that have stats logs: only primary keys do.
    pub(super) fn key_fields(&self) -> impl Iterator<Item = i64> {
        self.of_kind(FileKind::Stats).map(|(field, _)| field)
    }

    /// Whether it has the stats log that a flush merges at its end, and a compaction does not.
    pub(super) fn is_merged(&self) -> bool {
        self.of_kind(FileKind::Stats).flat_map(|(_, objects)| objects).any(|log| log_id(log) == Some(MERGED_STATS))
    }
}

/// The id that ends a log's key.
pub(super) fn log_id(log: &Object) -> Option<i64> {
    log.key.rsplit('/').next().and_then(paths::id)
}
