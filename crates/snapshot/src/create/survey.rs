//! What a tree contains, by its keys alone, and what each segment's files say of themselves.

use std::collections::{BTreeMap, BTreeSet};

use ferry_objects::{Checksum, Location, Object, StoreError};
use futures::TryStreamExt;

use super::segment::{Segment, log_id};
use super::{CreateError, CreateOptions};
use crate::binlog::{self, LogError, LogFacts};
use crate::checksums::Checksums;
use crate::layout::{FileKind, KEYWORDS, LayoutKey};
use crate::manifest::{
    Binlog, FieldBinlog, IndexFiles, JsonIndex, JsonIndexStats, LEVEL_ZERO, Manifest, TextIndex, TextIndexStats,
};
use crate::paths;

/// The largest log that is read as a whole; Milvus flushes far smaller ones.
pub(super) const LOG_BYTES_MAX: u64 = 1 << 30;
/// Milvus' level of a segment that holds rows.
const LEVEL_ONE: i64 = 2;
/// The storage version of bare Parquet files.
const STORAGE_PACKED: i64 = 2;
/// The layout version of keys that start with `index_v1`.
const INDEX_V1: i32 = 1;

/// The segments of one collection.
pub(super) struct Survey {
    pub(super) collection_id: i64,
    pub(super) segments: BTreeMap<i64, Segment>,
    pub(super) left_out: Vec<String>,
}

/// One object of the tree with the ids in its key.
struct Found {
    kind: FileKind,
    collection_id: Option<i64>,
    partition_id: i64,
    segment_id: i64,
    /// The field, or for index files the build.
    group: i64,
    object: Object,
}

impl Survey {
    /// Lists the tree and picks the collection.
    pub(super) async fn of(root: &Location, wanted: Option<i64>) -> Result<Survey, CreateError> {
        let mut found = Vec::new();
        let mut left_out = Vec::new();
        for keyword in KEYWORDS {
            for object in listed(root, keyword).await? {
                match take(&object)? {
                    Some(taken) => found.push(taken),
                    None => left_out.push(object.key),
                }
            }
        }
        let collection_id = choose(root, wanted, &found)?;
        let mut survey = Survey { collection_id, segments: BTreeMap::new(), left_out };
        let (logs, others): (Vec<Found>, Vec<Found>) =
            found.into_iter().partition(|file| matches!(file.kind, FileKind::Insert | FileKind::Delta));
        for log in logs {
            survey.add_log(log)?;
        }
        for other in others {
            survey.add_other(other);
        }
        survey.left_out.sort();
        Ok(survey)
    }

    fn add_log(&mut self, log: Found) -> Result<(), CreateError> {
        if log.collection_id != Some(self.collection_id) {
            self.left_out.push(log.object.key);
            return Ok(());
        }
        let (one, segment_id) = (log.partition_id, log.segment_id);
        let segment =
            self.segments.entry(segment_id).or_insert_with(|| Segment { partition_id: one, files: BTreeMap::new() });
        if segment.partition_id != one {
            return Err(CreateError::TwoPartitions { segment_id, one, other: segment.partition_id });
        }
        segment.files.entry((log.kind, log.group)).or_default().push(log.object);
        Ok(())
    }

    /// Statistics and indexes do not make a segment: those of a segment without logs are left from a dropped one.
    fn add_other(&mut self, file: Found) {
        let same_collection = file.collection_id.is_none_or(|id| id == self.collection_id);
        match self.segments.get_mut(&file.segment_id) {
            Some(segment) if same_collection && segment.partition_id == file.partition_id => {
                segment.files.entry((file.kind, file.group)).or_default().push(file.object);
            }
            _ => self.left_out.push(file.object.key),
        }
    }

    /// Keeps the segments with these ids, and no others.
    pub(super) fn take_only(&mut self, root: &Location, ids: &BTreeSet<i64>) -> Result<(), CreateError> {
        let missing: Vec<String> =
            ids.iter().filter(|id| !self.segments.contains_key(id)).map(i64::to_string).collect();
        if !missing.is_empty() {
            let (uri, collection_id, ids) = (root.uri(), self.collection_id, missing.join(", "));
            return Err(CreateError::NoSegments { uri, collection_id, ids });
        }
        self.segments.retain(|segment_id, _| ids.contains(segment_id));
        Ok(())
    }

    /// The partitions of all segments.
    pub(super) fn partition_ids(&self) -> Vec<i64> {
        let ids: BTreeSet<i64> = self.segments.values().map(|segment| segment.partition_id).collect();
        ids.into_iter().collect()
    }

    /// The builds of all vector and scalar indexes.
    pub(super) fn build_ids(&self) -> Vec<i64> {
        let keys = self.segments.values().flat_map(|segment| segment.files.keys());
        let ids: BTreeSet<i64> = keys.filter(|(kind, _)| *kind == FileKind::Index).map(|(_, build)| *build).collect();
        ids.into_iter().collect()
    }
}

async fn listed(root: &Location, keyword: &str) -> Result<Vec<Object>, CreateError> {
    let mut objects: Vec<Object> = match root.list(keyword)?.try_collect().await {
        Ok(objects) => objects,
        Err(StoreError::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    objects.sort();
    Ok(objects)
}

/// The ids in an object's key; none for a key that is not of a segment.
fn take(object: &Object) -> Result<Option<Found>, CreateError> {
    let Ok(key) = LayoutKey::detect(&object.key) else { return Ok(None) };
    let (ids, kind) = (key.ids(), key.kind());
    let group = match kind {
        FileKind::Delta => Some(0),
        FileKind::Insert | FileKind::Stats | FileKind::Bm25 => {
            key.tail().first().filter(|_| key.tail().len() == 2).and_then(|field| paths::id(field))
        }
        FileKind::Index | FileKind::TextIndex | FileKind::JsonIndex => ids.build.and_then(paths::id),
        FileKind::Lob => None,
    };
    let is_rows = matches!(kind, FileKind::Insert | FileKind::Lob);
    if group.is_none() && is_rows {
        return Err(CreateError::Unsupported(object.key.clone()));
    }
    let segment_id = ids.segment.and_then(paths::id);
    let (Some(group), Some(partition_id), Some(segment_id)) = (group, paths::id(ids.partition), segment_id) else {
        return Ok(None);
    };
    let collection_id = ids.collection.and_then(paths::id);
    Ok(Some(Found { kind, collection_id, partition_id, segment_id, group, object: object.clone() }))
}

fn choose(root: &Location, wanted: Option<i64>, found: &[Found]) -> Result<i64, CreateError> {
    let logs = found.iter().filter(|file| matches!(file.kind, FileKind::Insert | FileKind::Delta));
    let collections: BTreeSet<i64> = logs.filter_map(|file| file.collection_id).collect();
    let ids = || collections.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    match (wanted, collections.first()) {
        (_, None) => Err(CreateError::Empty(root.uri())),
        (Some(id), Some(_)) if collections.contains(&id) => Ok(id),
        (Some(collection_id), Some(_)) => Err(CreateError::NoCollection { uri: root.uri(), collection_id, ids: ids() }),
        (None, Some(id)) if collections.len() == 1 => Ok(*id),
        (None, Some(_)) => Err(CreateError::Several { uri: root.uri(), ids: ids() }),
    }
}

/// Reads the segment's files and writes down what they tell.
pub(super) async fn describe(
    root: &Location,
    segment_id: i64,
    segment: &Segment,
    options: &CreateOptions,
) -> Result<(Manifest, Checksums), CreateError> {
    let mut reading = Reading {
        root,
        segment_id,
        given_rows: options.rows.get(&segment_id).copied().or(options.rows_default),
        checksums: Checksums::default(),
        is_packed: false,
    };
    let mut manifest = Manifest { segment_id, partition_id: segment.partition_id, ..Manifest::default() };
    for ((kind, group), objects) in &segment.files {
        match kind {
            FileKind::Insert => manifest.binlog_files.push(reading.logs(*kind, *group, objects).await?),
            FileKind::Delta => manifest.deltalog_files.push(reading.logs(*kind, *group, objects).await?),
            FileKind::Stats => manifest.statslog_files.push(reading.logs(*kind, *group, objects).await?),
            FileKind::Bm25 => manifest.bm25_statslog_files.push(reading.logs(*kind, *group, objects).await?),
            FileKind::Index => manifest.index_files.push(reading.index(*group, objects).await?),
            FileKind::TextIndex => manifest.text_index_files.push(reading.text_index(*group, objects).await?),
            FileKind::JsonIndex => manifest.json_key_index_files.push(reading.json_index(*group, objects).await?),
            FileKind::Lob => {}
        }
    }
    manifest.num_of_rows = common_rows(&manifest)?;
    let has_rows = !manifest.binlog_files.is_empty();
    manifest.segment_level = if has_rows { LEVEL_ONE } else { LEVEL_ZERO };
    manifest.storage_version = if reading.is_packed { STORAGE_PACKED } else { 0 };
    for index in &mut manifest.index_files {
        index.num_rows = manifest.num_of_rows;
    }
    Ok((manifest, reading.checksums))
}

/// The rows that every field of the segment has.
fn common_rows(manifest: &Manifest) -> Result<i64, CreateError> {
    let rows_of = |field: &FieldBinlog| field.binlogs.iter().map(|log| log.entries_num).sum::<i64>();
    let expected = manifest.binlog_files.first().map_or(0, rows_of);
    match manifest.binlog_files.iter().find(|field| rows_of(field) != expected) {
        Some(field) => Err(CreateError::Rows {
            segment_id: manifest.segment_id,
            field_id: field.field_id,
            rows: rows_of(field),
            expected,
        }),
        None => Ok(expected),
    }
}

struct Reading<'a> {
    root: &'a Location,
    segment_id: i64,
    given_rows: Option<u64>,
    checksums: Checksums,
    is_packed: bool,
}

impl Reading<'_> {
    async fn logs(&mut self, kind: FileKind, field_id: i64, objects: &[Object]) -> Result<FieldBinlog, CreateError> {
        let mut binlogs = Vec::with_capacity(objects.len());
        for (at, object) in objects.iter().enumerate() {
            let facts = match kind {
                FileKind::Insert | FileKind::Delta => self.log(kind, object, at == 0).await?,
                _ => {
                    self.checksum(&object.key).await?;
                    LogFacts::default()
                }
            };
            binlogs.push(Binlog {
                entries_num: facts.rows,
                timestamp_from: facts.timestamp_from,
                timestamp_to: facts.timestamp_to,
                log_path: object.key.clone(),
                log_size: signed(object.size_bytes),
                log_id: log_id(object).unwrap_or_default(),
                memory_size: facts.memory_bytes,
            });
        }
        Ok(FieldBinlog { field_id, binlogs, ..FieldBinlog::default() })
    }

    /// Reads a log for its checksum and its facts.
    async fn read_log(&mut self, object: &Object) -> Result<Result<LogFacts, LogError>, CreateError> {
        if object.size_bytes <= LOG_BYTES_MAX {
            let content = self.root.read(&object.key, LOG_BYTES_MAX).await?;
            self.checksums.objects.insert(object.key.clone(), Checksum::of(&content));
            return Ok(binlog::read_log(&content));
        }
        let size_bytes = self.checksum(&object.key).await?;
        let facts = binlog::read_large_log(size_bytes, |range| self.root.read_range(&object.key, range)).await?;
        Ok(facts)
    }

    /// What a log says of itself. Where rows were given, files of foreign formats are taken as they are: the first of a
    /// field counts for all.
    async fn log(&mut self, kind: FileKind, object: &Object, is_first: bool) -> Result<LogFacts, CreateError> {
        match (self.read_log(object).await?, self.given_rows) {
            (Ok(facts), _) => {
                self.is_packed |= facts.is_packed && kind == FileKind::Insert;
                Ok(facts)
            }
            (Err(LogError::NotALog), Some(rows)) if kind == FileKind::Insert => {
                Ok(LogFacts { rows: if is_first { signed(rows) } else { 0 }, ..LogFacts::default() })
            }
            (Err(LogError::NotALog), _) if kind == FileKind::Delta => Ok(LogFacts::default()),
            (Err(source), _) => Err(CreateError::Log { uri: self.root.object_uri(&object.key), source }),
        }
    }

    async fn checksum(&mut self, key: &str) -> Result<u64, CreateError> {
        let checksum = self.root.checksum(key).await?;
        self.checksums.objects.insert(key.to_owned(), checksum);
        Ok(checksum.size_bytes)
    }

    async fn checksum_all(&mut self, objects: &[Object]) -> Result<i64, CreateError> {
        let mut bytes = 0;
        for object in objects {
            bytes += self.checksum(&object.key).await?;
        }
        Ok(signed(bytes))
    }

    async fn index(&mut self, build_id: i64, objects: &[Object]) -> Result<IndexFiles, CreateError> {
        let mut field_id = 0;
        for object in objects.iter().filter(|object| object.size_bytes > 0) {
            let head = self.root.read_range(&object.key, 0..binlog::HEAD_BYTES).await?;
            field_id = binlog::read_description(&head).map_or(field_id, |description| description.field_id);
        }
        let is_v1 = objects.iter().any(|object| object.key.starts_with("index_v1/"));
        Ok(IndexFiles {
            segment_id: self.segment_id,
            field_id,
            build_id,
            index_file_paths: keys(objects),
            serialized_size: self.checksum_all(objects).await?,
            index_version: version(objects),
            index_store_path_version: if is_v1 { INDEX_V1 } else { 0 },
            ..IndexFiles::default()
        })
    }

    async fn text_index(&mut self, build_id: i64, objects: &[Object]) -> Result<TextIndex, CreateError> {
        let field_id = field(objects);
        let log_size = self.checksum_all(objects).await?;
        let (version, files) = (version(objects), keys(objects));
        let stats = TextIndexStats { field_id, version, files, log_size, build_id, ..TextIndexStats::default() };
        Ok(TextIndex { field_id, stats })
    }

    async fn json_index(&mut self, build_id: i64, objects: &[Object]) -> Result<JsonIndex, CreateError> {
        let field_id = field(objects);
        let log_size = self.checksum_all(objects).await?;
        let format = objects.first().and_then(|object| object.key.strip_prefix("json_stats/"));
        let json_key_stats_data_format =
            format.and_then(|rest| rest.split('/').next()).and_then(paths::id).unwrap_or_default();
        let (version, files) = (version(objects), keys(objects));
        let stats = JsonIndexStats {
            field_id,
            version,
            files,
            log_size,
            build_id,
            json_key_stats_data_format,
            ..JsonIndexStats::default()
        };
        Ok(JsonIndex { field_id, stats })
    }
}

fn keys(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|object| object.key.clone()).collect()
}

fn parsed(objects: &[Object]) -> Option<LayoutKey<'_>> {
    objects.first().and_then(|object| LayoutKey::detect(&object.key).ok())
}

fn version(objects: &[Object]) -> i64 {
    parsed(objects).and_then(|key| key.index_version().and_then(paths::id)).unwrap_or_default()
}

fn field(objects: &[Object]) -> i64 {
    parsed(objects).and_then(|key| key.tail().first().and_then(|field| paths::id(field))).unwrap_or_default()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
