//! Segments below storage version 3: the lists of the manifest are the files, and each must hold what it promises.

use super::FilesError;
use super::gather::Gatherer;
use crate::layout::FileKind;
use crate::manifest::{FieldBinlog, LEVEL_ZERO, Manifest};
use crate::schema::Schema;

impl Gatherer<'_> {
    /// Takes every file that the manifest lists.
    pub(super) fn take_listed(&mut self) -> Result<(), FilesError> {
        let manifest = self.manifest;
        for (kind, fields) in manifest.binlogs() {
            for field in fields {
                self.take_logs(kind, field)?;
            }
        }
        for index in &manifest.index_files {
            self.take_all(FileKind::Index, &index.index_file_paths, index.build_id)?;
        }
        for index in &manifest.text_index_files {
            self.take_all(FileKind::TextIndex, &index.stats.files, index.stats.build_id)?;
        }
        for index in &manifest.json_key_index_files {
            self.take_all(FileKind::JsonIndex, &index.stats.files, index.stats.build_id)?;
        }
        Ok(())
    }

    /// Milvus passes over a log without a path; with rows in it that is loss.
    fn take_logs(&mut self, kind: FileKind, field: &FieldBinlog) -> Result<(), FilesError> {
        for log in &field.binlogs {
            if log.log_path.is_empty() && log.entries_num != 0 {
                let (segment_id, field_id) = (self.manifest.segment_id, field.field_id);
                let (log_id, rows) = (log.log_id, log.entries_num);
                return Err(FilesError::NoPath { segment_id, kind: kind.name(), field_id, log_id, rows });
            }
            if !log.log_path.is_empty() {
                let size_bytes = u64::try_from(log.log_size).ok().filter(|size| *size > 0);
                self.take(kind, &log.log_path, size_bytes, 0)?;
            }
        }
        Ok(())
    }

    fn take_all(&mut self, kind: FileKind, paths: &[String], build_id: i64) -> Result<(), FilesError> {
        paths.iter().filter(|path| !path.is_empty()).try_for_each(|path| self.take(kind, path, None, build_id))
    }
}

/// The rows of a segment: what each field's logs hold, but for fields that were added later.
pub(super) fn rows(manifest: &Manifest, schema: &Schema) -> Result<i64, FilesError> {
    let (segment_id, declared) = (manifest.segment_id, manifest.num_of_rows);
    let rows_of = |field: &FieldBinlog| field.binlogs.iter().map(|log| log.entries_num).fold(0, i64::saturating_add);
    let most = manifest.binlog_files.iter().map(rows_of).max();
    match most {
        // A segment of deletions has no rows, whatever its manifest counts.
        None if manifest.segment_level == LEVEL_ZERO => return Ok(0),
        Some(in_files) if in_files != declared => return Err(FilesError::Rows { segment_id, in_files, declared }),
        None if declared > 0 => return Err(FilesError::Rows { segment_id, in_files: 0, declared }),
        Some(_) | None => {}
    }
    let mut short = manifest.binlog_files.iter().filter(|field| rows_of(field) < declared);
    match short.find(|field| !schema.may_be_added_later(field)) {
        Some(field) => {
            let (field_id, in_files) = (field.field_id, rows_of(field));
            Err(FilesError::RowsOfField { segment_id, field_id, in_files, declared })
        }
        None => Ok(declared),
    }
}
