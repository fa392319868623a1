//! Segments that compaction replaced. Their files stay in the tree until Milvus collects its garbage, so a survey finds
//! their rows twice. Compaction keeps the row ids of the rows that live, and its segments have no merged stats log.
//!
//! Ids tell no order: a node hands them out of blocks, and a segment may have a lower id than one it replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ferry_objects::{Location, Object};
use futures::{StreamExt, TryStreamExt, stream};

use super::columns::{self, Column, Deletes, ENTRIES_MAX, Picked, RowsError};
use super::replaced::{Rows, replaced};
use super::row_ids::{Gathering, RowIds, shared};
use super::segment::Segment;
use super::survey::{LOG_BYTES_MAX, Survey};
use super::{CONCURRENCY, CreateError};

/// Milvus' field of row ids.
const ROW_ID: i64 = 0;
/// Milvus' field of times.
const TIMESTAMP: i64 = 1;
/// The partition of segments of level 0 whose deletes are for every partition.
const ALL_PARTITIONS: i64 = -1;

/// Takes the segments out of the survey whose rows live in others or are deleted. They come back with the segments
/// that hold their rows.
pub(super) async fn leave_out(
    root: &Location,
    survey: &mut Survey,
) -> Result<BTreeMap<i64, BTreeSet<i64>>, CreateError> {
    let mut left_out = BTreeMap::new();
    for partition_id in survey.partition_ids() {
        let partition = Partition::of(root, survey, partition_id);
        if !partition.may_be_compacted() {
            continue;
        }
        match partition.replaced().await {
            Ok(replaced) => left_out.extend(replaced),
            // Nothing but the rows themselves could tell it.
            Err(CreateError::Unreadable { .. }) if !partition.was_compacted() => {}
            Err(error) => return Err(error),
        }
    }
    survey.segments.retain(|segment_id, _| !left_out.contains_key(segment_id));
    Ok(left_out)
}

struct Partition<'a> {
    root: &'a Location,
    partition_id: i64,
    segments: BTreeMap<i64, &'a Segment>,
    /// Segments that have only deletes.
    level_zero: BTreeMap<i64, &'a Segment>,
    key_field: Option<i64>,
}

impl<'a> Partition<'a> {
    fn of(root: &'a Location, survey: &'a Survey, partition_id: i64) -> Self {
        let all = || survey.segments.iter().map(|(segment_id, segment)| (*segment_id, segment));
        let key_fields: BTreeSet<i64> = all().flat_map(|(_, segment)| segment.key_fields()).collect();
        let is_here = |segment: &Segment| segment.partition_id == partition_id;
        let is_for_all = |segment: &Segment| segment.partition_id == ALL_PARTITIONS;
        Self {
            root,
            partition_id,
            segments: all().filter(|(_, segment)| segment.has_rows() && is_here(segment)).collect(),
            level_zero: all()
                .filter(|(_, segment)| !segment.has_rows() && (is_here(segment) || is_for_all(segment)))
                .collect(),
            key_field: key_fields.first().copied().filter(|_| key_fields.len() == 1),
        }
    }

    fn may_be_compacted(&self) -> bool {
        self.segments.len() > 1 && self.segments.values().any(|segment| !segment.is_merged())
    }

    /// Milvus gives every segment with rows stats logs; where there are none, their absence says nothing.
    fn was_compacted(&self) -> bool {
        self.may_be_compacted() && self.segments.values().any(|segment| segment.key_fields().next().is_some())
    }

    async fn replaced(&self) -> Result<BTreeMap<i64, BTreeSet<i64>>, CreateError> {
        let mut segments = self.row_ids().await?;
        let sharing = shared(segments.iter().map(|(segment_id, rows)| (*segment_id, &rows.all)));
        self.add_dead(&mut segments, &sharing).await?;
        replaced(&segments, &sharing).map_err(|(one, other)| CreateError::Overlap {
            partition_id: self.partition_id,
            one,
            other,
        })
    }

    async fn row_ids(&self) -> Result<BTreeMap<i64, Rows>, CreateError> {
        let runs = &AtomicUsize::new(0);
        stream::iter(self.segments.iter().map(|(segment_id, segment)| (*segment_id, *segment)))
            .map(|(segment_id, segment)| async move {
                let all = self.row_ids_of(segment_id, segment).await?;
                self.count(segment_id, runs, all.runs())?;
                let (is_compacted, fields) = (!segment.is_merged(), segment.fields());
                Ok((segment_id, Rows { is_compacted, fields, all, dead: RowIds::default() }))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn row_ids_of(&self, segment_id: i64, segment: &Segment) -> Result<RowIds, CreateError> {
        let (logs, column) = self.logs(segment_id, segment, ROW_ID)?;
        let mut ids = Gathering::default();
        for log in logs {
            let content = self.read(log).await?;
            let of_log = columns::aside(move || columns::row_ids(&content, column)).await;
            ids.add_all(&of_log.map_err(|source| self.unreadable(segment_id, source))?);
        }
        Ok(ids.finish())
    }

    /// Finds the dead rows of segments that share rows with others, and of those that may have no other rows.
    async fn add_dead(
        &self,
        segments: &mut BTreeMap<i64, Rows>,
        sharing: &BTreeMap<i64, BTreeSet<i64>>,
    ) -> Result<(), CreateError> {
        let entries = AtomicUsize::new(0);
        let level_zero = Arc::new(self.deletes(&self.level_zero, &entries).await?);
        let found: Vec<(i64, RowIds)> = stream::iter(segments.iter().map(|(segment_id, rows)| (*segment_id, rows)))
            .map(|(segment_id, rows)| {
                let (level_zero, entries) = (Arc::clone(&level_zero), &entries);
                let is_sharing = sharing.contains_key(&segment_id);
                async move {
                    let segment = self.segments[&segment_id];
                    let own = self.deletes(&BTreeMap::from([(segment_id, segment)]), entries).await?;
                    let may_all_be_dead = own.len() as u64 >= rows.all.count();
                    let is_wanted = is_sharing || may_all_be_dead;
                    let deletes = if is_wanted { vec![Arc::new(own), level_zero] } else { Vec::new() };
                    Ok::<_, CreateError>((segment_id, self.dead(segment_id, segment, deletes).await?))
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        for (segment_id, dead) in found {
            if let Some(rows) = segments.get_mut(&segment_id) {
                rows.dead = dead;
            }
        }
        Ok(())
    }

    async fn deletes(&self, segments: &BTreeMap<i64, &Segment>, entries: &AtomicUsize) -> Result<Deletes, CreateError> {
        let mut deletes = Deletes::new();
        for (segment_id, segment) in segments {
            for log in segment.delta_logs() {
                let content = self.read(log).await?;
                let found = columns::aside(move || columns::deletes(&content)).await;
                let found = found.map_err(|source| self.unreadable(*segment_id, source))?;
                self.count(*segment_id, entries, found.len())?;
                for (key, time) in found {
                    let until = deletes.entry(key).or_insert(time);
                    *until = (*until).max(time);
                }
            }
        }
        Ok(deletes)
    }

    /// The rows that were there before a delete of their key.
    async fn dead(
        &self,
        segment_id: i64,
        segment: &Segment,
        deletes: Vec<Arc<Deletes>>,
    ) -> Result<RowIds, CreateError> {
        if deletes.iter().all(|deletes| deletes.is_empty()) {
            return Ok(RowIds::default());
        }
        let unreadable = |source| self.unreadable(segment_id, source);
        let key_field = self.key_field.ok_or_else(|| unreadable(RowsError::Key))?;
        let (keys, key) = self.logs(segment_id, segment, key_field)?;
        let (times, time) = self.logs(segment_id, segment, TIMESTAMP)?;
        let (ids, id) = self.logs(segment_id, segment, ROW_ID)?;
        if keys.len() != times.len() || keys.len() != ids.len() {
            return Err(unreadable(RowsError::Uneven));
        }
        let mut dead = Gathering::default();
        for ((keys, times), ids) in keys.into_iter().zip(times).zip(ids) {
            let (content, deletes) = (self.read(keys).await?, deletes.clone());
            let hits = columns::aside(move || columns::deleted(&content, key, &deletes)).await.map_err(unreadable)?;
            if hits.values.is_empty() {
                continue;
            }
            let (times, ids) = (self.read(times).await?, self.read(ids).await?);
            let of_log = columns::aside(move || dead_ids(&hits, (&times, time), (&ids, id))).await;
            dead.add_all(&of_log.map_err(unreadable)?);
        }
        Ok(dead.finish())
    }

    /// The logs that hold a field, in the order in which they were written.
    fn logs(
        &self,
        segment_id: i64,
        segment: &'a Segment,
        field_id: i64,
    ) -> Result<(Vec<&'a Object>, Column), CreateError> {
        let own = segment.insert_logs(field_id);
        let is_alone = !own.is_empty();
        // Packed files hold several fields; those that Milvus adds stand in the first folder, and the key beside them.
        let logs = if is_alone { own } else { segment.insert_logs(ROW_ID) };
        if logs.is_empty() {
            return Err(self.unreadable(segment_id, RowsError::Field(field_id)));
        }
        Ok((logs, Column { field_id, is_alone }))
    }

    async fn read(&self, log: &Object) -> Result<Bytes, CreateError> {
        Ok(self.root.read(&log.key, LOG_BYTES_MAX).await?)
    }

    fn count(&self, segment_id: i64, total: &AtomicUsize, more: usize) -> Result<(), CreateError> {
        let before = total.fetch_add(more, Ordering::Relaxed);
        if before + more > ENTRIES_MAX { Err(self.unreadable(segment_id, RowsError::TooMany)) } else { Ok(()) }
    }

    fn unreadable(&self, segment_id: i64, source: RowsError) -> CreateError {
        CreateError::Unreadable { partition_id: self.partition_id, segment_id, source }
    }
}

/// The row ids at `hits` whose time is before that of the delete: an upsert deletes and inserts at one time.
fn dead_ids(
    hits: &Picked<(u64, i64)>,
    (times, time): (&Bytes, Column),
    (ids, id): (&Bytes, Column),
) -> Result<RowIds, RowsError> {
    let positions: Vec<u64> = hits.values.iter().map(|(position, _)| *position).collect();
    let (times, ids) = (columns::pick(times, time, &positions)?, columns::pick(ids, id, &positions)?);
    if times.rows != hits.rows || ids.rows != hits.rows {
        return Err(RowsError::Uneven);
    }
    let rows = hits.values.iter().zip(times.values).zip(ids.values);
    Ok(rows.filter(|(((_, until), time), _)| time < until).map(|(_, id)| id).collect())
}
