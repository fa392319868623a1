//! The manifest of a copied segment: the source's, with the copy's ids and paths.

use std::collections::BTreeMap;

use super::SnapshotFile;
use crate::checksums::Checksums;
use crate::layout::{LayoutKey, NewIds};
use crate::manifest::{FieldBinlog, Manifest};
use crate::plan::{Naming, PlanError, PlannedFile};
use crate::storage_manifest::STORAGE_VERSION_MANIFEST;

impl Naming<'_> {
    /// The segment's files of the copy's own snapshot: its manifest, and its checksums as far as the source has some.
    pub(crate) fn snapshot_files(
        &self,
        manifest: &Manifest,
        partition_id: i64,
        files: &[PlannedFile],
    ) -> Result<Vec<SnapshotFile>, PlanError> {
        let renaming = Renaming {
            naming: self,
            targets: files.iter().map(|file| (file.source_key.as_str(), file.target_key.as_str())).collect(),
            is_summary: manifest.storage_version >= STORAGE_VERSION_MANIFEST,
        };
        let segment_id = self.target_segment_id;
        let copied = renaming.manifest(Manifest { segment_id, partition_id, ..manifest.clone() });
        let version = self.snapshot.metadata().manifest_version();
        let source_id = self.segment_id;
        let content = copied.encode(version).map_err(|source| PlanError::Manifest { segment_id: source_id, source })?;
        let mut written =
            vec![SnapshotFile { target_key: self.target.manifest_key(segment_id), content: content.into() }];
        let known = |file: &PlannedFile| Some((file.target_key.clone(), file.checksum?));
        let checksums = Checksums { objects: files.iter().filter_map(known).collect() };
        if !checksums.objects.is_empty() {
            let target_key = self.target.checksums_key(segment_id);
            written.push(SnapshotFile { target_key, content: checksums.to_json().into() });
        }
        Ok(written)
    }
}

struct Renaming<'a> {
    naming: &'a Naming<'a>,
    /// Target keys by source key.
    targets: BTreeMap<&'a str, &'a str>,
    /// The lists are summaries, which are kept whether or not a file of that name was copied.
    is_summary: bool,
}

impl Renaming<'_> {
    fn manifest(&self, mut manifest: Manifest) -> Manifest {
        for fields in [
            &mut manifest.binlog_files,
            &mut manifest.deltalog_files,
            &mut manifest.statslog_files,
            &mut manifest.bm25_statslog_files,
        ] {
            fields.iter_mut().for_each(|field| self.logs(field));
        }
        for index in &mut manifest.index_files {
            index.segment_id = manifest.segment_id;
            index.build_id = self.naming.new_build_id(index.build_id);
            self.paths(&mut index.index_file_paths);
        }
        for index in &mut manifest.text_index_files {
            index.stats.build_id = self.naming.new_build_id(index.stats.build_id);
            self.paths(&mut index.stats.files);
        }
        for index in &mut manifest.json_key_index_files {
            index.stats.build_id = self.naming.new_build_id(index.stats.build_id);
            self.paths(&mut index.stats.files);
        }
        manifest
    }

    fn logs(&self, field: &mut FieldBinlog) {
        for log in field.binlogs.iter_mut().filter(|log| !log.log_path.is_empty()) {
            log.log_path = self.path(&log.log_path);
        }
    }

    fn paths(&self, paths: &mut [String]) {
        for path in paths.iter_mut().filter(|path| !path.is_empty()) {
            *path = self.path(path);
        }
    }

    /// The path of the copy of what `path` names.
    fn path(&self, path: &str) -> String {
        let key = self.naming.snapshot.roots().key_of(path).ok();
        match key.as_deref().and_then(|key| self.targets.get(key)) {
            Some(copy) => self.naming.target.path_of(copy),
            None => {
                debug_assert!(self.is_summary, "{path} was listed and not planned");
                self.summary(path, key.as_deref())
            }
        }
    }

    /// A summary may name what never was: its ids are the copy's where they stand in the layout's places.
    fn summary(&self, path: &str, key: Option<&str>) -> String {
        let naming = self.naming;
        if let Some(parsed) = key.and_then(|key| LayoutKey::detect(key).ok()) {
            let build = parsed.ids().build.and_then(|build| build.parse().ok()).map(|build| naming.new_build_id(build));
            let build = build.map(|build| build.to_string());
            let ids = NewIds {
                collection: &naming.collection,
                partition: &naming.partition,
                segment: &naming.segment,
                build: build.as_deref(),
            };
            let key = naming.target.data_key(&parsed.without_root().renamed(&ids));
            return naming.target.path_of(&key);
        }
        match path.split_once('/') {
            Some((first, rest)) if first == naming.segment_id.to_string() => format!("{}/{rest}", naming.segment),
            Some(_) | None => path.to_owned(),
        }
    }
}
