//! Columns of logs: the Parquet files in a log's events, or the bare Parquet file, one batch of values at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
use serde::Deserialize;
use thiserror::Error;

use super::row_ids::{Gathering, RowIds};
use crate::binlog::{self, LogError};

/// Values that are decoded at a time.
const BATCH_ROWS: usize = 16_384;
/// Runs of row ids, and deletes, that are kept of one partition at a time: about 400 MiB in all.
pub(super) const ENTRIES_MAX: usize = 4 << 20;

/// Why the rows of a segment cannot be told.
#[derive(Debug, Error)]
pub enum RowsError {
    /// Not a log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A Parquet file that cannot be read, or in a codec that Milvus does not use.
    #[error("{0}")]
    Parquet(#[from] ParquetError),
    /// The reader came to a stop.
    #[error("the Parquet reader stopped at damaged content")]
    Damaged,
    /// A column is missing.
    #[error("a log has no column of field {0}")]
    Column(i64),
    /// A column is of another type.
    #[error("a column of ids, times or keys has another type than Milvus gives it, or lacks values")]
    Type,
    /// A segment without logs of a field.
    #[error("there are no logs of field {0}")]
    Field(i64),
    /// No statistics name the primary key.
    #[error("the folder stats_log does not tell which field is the primary key")]
    Key,
    /// A delete in an unknown form.
    #[error("a delta log holds a delete in an unknown form")]
    Delete,
    /// The logs of two fields are not parallel.
    #[error("the logs of its fields do not have the same rows")]
    Uneven,
    /// More than memory is meant for.
    #[error("there are more than {ENTRIES_MAX} stretches of row ids, or deletes, in the partition")]
    TooMany,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub(super) enum Key {
    Number(i64),
    Text(String),
}

/// Up to which time rows of a key are deleted.
pub(super) type Deletes = BTreeMap<Key, i64>;

/// A field's column in a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) field_id: i64,
    /// Whether the log holds this field alone.
    pub(super) is_alone: bool,
}

impl Column {
    /// Milvus' older logs have one column, which is named "val" in all of them; newer ones number their columns.
    fn index(self, schema: &SchemaDescriptor) -> Result<usize, RowsError> {
        if self.is_alone && schema.num_columns() == 1 {
            return Ok(0);
        }
        let is_it = |index: &usize| {
            let column = schema.column(*index);
            let info = column.self_type().get_basic_info();
            info.has_id() && i64::from(info.id()) == self.field_id
        };
        (0..schema.num_columns()).find(is_it).ok_or(RowsError::Column(self.field_id))
    }
}

type Parquet = SerializedFileReader<Bytes>;

fn parquets(content: &Bytes) -> Result<Vec<Parquet>, RowsError> {
    let payloads = binlog::payloads(content)?;
    payloads.into_iter().map(|payload| Ok(SerializedFileReader::new(content.slice(payload))?)).collect()
}

fn schema(parquet: &Parquet) -> &SchemaDescriptor {
    parquet.metadata().file_metadata().schema_descr()
}

/// Gives each value of one column to `each`, in order. A missing value is an error: ids, times and keys have none.
fn values<T: DataType>(
    parquet: &Parquet,
    index: usize,
    each: &mut dyn FnMut(&T::T) -> Result<(), RowsError>,
) -> Result<(), RowsError> {
    let column = schema(parquet).column(index);
    if column.physical_type() != T::get_physical_type() || column.max_rep_level() > 0 {
        return Err(RowsError::Type);
    }
    for group in 0..parquet.num_row_groups() {
        let reader = parquet.get_row_group(group)?.get_column_reader(index)?;
        let mut reader = get_typed_column_reader::<T>(reader);
        loop {
            let (mut levels, mut batch) = (Vec::new(), Vec::new());
            let (rows, present, _) = reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut batch)?;
            if rows != present {
                return Err(RowsError::Type);
            }
            if rows == 0 {
                break;
            }
            batch.iter().try_for_each(&mut *each)?;
        }
    }
    Ok(())
}

/// The row ids in a log.
pub(super) fn row_ids(content: &Bytes, column: Column) -> Result<RowIds, RowsError> {
    let mut ids = Gathering::default();
    for parquet in parquets(content)? {
        values::<Int64Type>(&parquet, column.index(schema(&parquet))?, &mut |id| {
            ids.add(*id);
            if ids.runs() > ENTRIES_MAX { Err(RowsError::TooMany) } else { Ok(()) }
        })?;
    }
    Ok(ids.finish())
}

/// Some values of a log.
pub(super) struct Picked<V> {
    /// How many rows the log has.
    pub(super) rows: u64,
    pub(super) values: Vec<V>,
}

/// Where a log's keys are deleted, and until when.
pub(super) fn deleted(
    content: &Bytes,
    column: Column,
    deletes: &[Arc<Deletes>],
) -> Result<Picked<(u64, i64)>, RowsError> {
    let mut found = Picked { rows: 0, values: Vec::new() };
    let mut look = |key: &Key| {
        if let Some(until) = deletes.iter().filter_map(|deletes| deletes.get(key)).max() {
            found.values.push((found.rows, *until));
        }
        found.rows += 1;
    };
    for parquet in parquets(content)? {
        keys(&parquet, column.index(schema(&parquet))?, &mut look)?;
    }
    Ok(found)
}

/// The numbers at some positions, which ascend.
pub(super) fn pick(content: &Bytes, column: Column, positions: &[u64]) -> Result<Picked<i64>, RowsError> {
    let mut found = Picked { rows: 0, values: Vec::with_capacity(positions.len()) };
    for parquet in parquets(content)? {
        values::<Int64Type>(&parquet, column.index(schema(&parquet))?, &mut |value| {
            if positions.get(found.values.len()) == Some(&found.rows) {
                found.values.push(*value);
            }
            found.rows += 1;
            Ok(())
        })?;
    }
    Ok(found)
}

fn keys(parquet: &Parquet, index: usize, each: &mut dyn FnMut(&Key)) -> Result<(), RowsError> {
    if schema(parquet).column(index).physical_type() == Type::INT64 {
        return values::<Int64Type>(parquet, index, &mut |key| {
            each(&Key::Number(*key));
            Ok(())
        });
    }
    values::<ByteArrayType>(parquet, index, &mut |key| {
        each(&Key::Text(text(key)?.to_owned()));
        Ok(())
    })
}

fn text(value: &ByteArray) -> Result<&str, RowsError> {
    std::str::from_utf8(value.data()).map_err(|_| RowsError::Type)
}

/// The deletes in a delta log, as often as they stand there. Milvus 2 writes each as a text; later versions write a
/// column of keys and one of times.
pub(super) fn deletes(content: &Bytes) -> Result<Vec<(Key, i64)>, RowsError> {
    let mut found = Vec::new();
    for parquet in parquets(content)? {
        match schema(&parquet).num_columns() {
            1 => values::<ByteArrayType>(&parquet, 0, &mut |delete| {
                found.push(delete_of(text(delete)?).ok_or(RowsError::Delete)?);
                if found.len() > ENTRIES_MAX { Err(RowsError::TooMany) } else { Ok(()) }
            })?,
            2 => found.extend(pairs(&parquet)?),
            _ => return Err(RowsError::Delete),
        }
    }
    Ok(found)
}

fn pairs(parquet: &Parquet) -> Result<Vec<(Key, i64)>, RowsError> {
    let (mut deleted, mut times) = (Vec::new(), Vec::new());
    if parquet.metadata().file_metadata().num_rows() > i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX) {
        return Err(RowsError::TooMany);
    }
    keys(parquet, 0, &mut |key| deleted.push(key.clone()))?;
    values::<Int64Type>(parquet, 1, &mut |time| {
        times.push(*time);
        Ok(())
    })?;
    if deleted.len() != times.len() {
        return Err(RowsError::Uneven);
    }
    Ok(deleted.into_iter().zip(times).collect())
}

#[derive(Deserialize)]
struct DeleteText {
    pk: Key,
    ts: i64,
}

/// `{"pk":5,"ts":7,"pkType":5}`, or before Milvus 2.1 `5,7`.
fn delete_of(text: &str) -> Option<(Key, i64)> {
    if let Ok(delete) = serde_json::from_str::<DeleteText>(text) {
        return Some((delete.pk, delete.ts));
    }
    let (key, time) = text.split_once(',')?;
    Some((Key::Number(key.parse().ok()?), time.parse().ok()?))
}

/// Runs `work` where it holds nobody up. The reader of Parquet files may panic at damaged ones.
pub(super) async fn aside<V: Send + 'static>(
    work: impl FnOnce() -> Result<V, RowsError> + Send + 'static,
) -> Result<V, RowsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(RowsError::Damaged))
}
