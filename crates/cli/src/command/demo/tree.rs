//! Compares the files of a copy with those of its source, knowing the layout but nothing of how Ferry copies.
//!
//! Invariant: a copy is good only if every source file has one target, of the same size and CRC32C, under the new ids,
//! and there is no file beside them.

use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use walkdir::WalkDir;

/// Size and checksum of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) bytes: u64,
    crc32c: u32,
}

/// The new ids.
pub(super) struct NewIds {
    pub(super) collection: i64,
    /// Target by source.
    pub(super) segments: BTreeMap<i64, i64>,
}

/// Files by key; snapshots are no part of a segment.
pub(super) fn digest(root: &Path) -> anyhow::Result<BTreeMap<String, Digest>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(root) {
        let entry = entry?;
        let key = entry.path().strip_prefix(root)?.to_str().context("a name that is no UTF-8")?.to_owned();
        if entry.file_type().is_file() && !key.starts_with("snapshots/") {
            files.insert(key, digest_file(entry.path())?);
        }
    }
    Ok(files)
}

fn digest_file(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digest = Digest { bytes: 0, crc32c: 0 };
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(digest);
        }
        digest.bytes += read as u64;
        digest.crc32c = crc32c::crc32c_append(digest.crc32c, &buffer[..read]);
    }
}

/// Fails with the first file that is not as it must be.
pub(super) fn compare(
    source: &BTreeMap<String, Digest>,
    target: &BTreeMap<String, Digest>,
    ids: &NewIds,
) -> anyhow::Result<()> {
    let mut builds = BTreeMap::new();
    let mut missing: BTreeMap<String, (&String, Option<i64>)> = BTreeMap::new();
    for key in source.keys() {
        let (renamed, build) = rename(key, ids)?;
        missing.insert(renamed, (key, build));
    }
    for (key, found) in target {
        let (shape, new_build) = without_build(key)?;
        let (source_key, build) = missing.remove(&shape).with_context(|| format!("{key} has no source"))?;
        ensure!(source[source_key] == *found, "{key} is not equal to its source {source_key}");
        if let (Some(build), Some(new_build)) = (build, new_build) {
            let known = *builds.entry(build).or_insert(new_build);
            ensure!(known == new_build, "{key}: index build {build} has two new ids, {known} and {new_build}");
        }
    }
    if let Some((key, _)) = missing.values().next() {
        bail!("{key} has no copy");
    }
    let new: BTreeSet<i64> = builds.values().copied().collect();
    ensure!(new.len() == builds.len(), "two index builds have one new id");
    ensure!(builds.keys().all(|build| !new.contains(build)), "an index build has kept its id");
    Ok(())
}

/// What the key of a copy must be but for its new build id, and the old build id.
fn rename(key: &str, ids: &NewIds) -> anyhow::Result<(String, Option<i64>)> {
    let (mut parts, build) = parts(key)?;
    let segment_at = if build.is_some() { 4 } else { 3 };
    let source: i64 = parts[segment_at].parse().with_context(|| format!("{key} has no segment id"))?;
    let target = ids.segments.get(&source).with_context(|| format!("{key}: segment {source} has no target"))?;
    parts[segment_at] = target.to_string();
    if build.is_none() {
        parts[1] = ids.collection.to_string();
    }
    Ok((parts.join("/"), build))
}

fn without_build(key: &str) -> anyhow::Result<(String, Option<i64>)> {
    let (parts, build) = parts(key)?;
    Ok((parts.join("/"), build))
}

/// The parts of a key, and its build id, which is taken out.
fn parts(key: &str) -> anyhow::Result<(Vec<String>, Option<i64>)> {
    let mut parts: Vec<String> = key.split('/').map(str::to_owned).collect();
    match (parts[0].as_str(), parts.len()) {
        ("insert_log" | "stats_log", 6) | ("delta_log", 5) => Ok((parts, None)),
        ("index_files", 6) => {
            let build = parts[1].parse().with_context(|| format!("{key} has no build id"))?;
            "build".clone_into(&mut parts[1]);
            Ok((parts, Some(build)))
        }
        _ => bail!("{key} is not where a file of a segment lies"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, NewIds, compare, digest};
    use std::collections::BTreeMap;

    fn files(keys: &[(&str, u32)]) -> BTreeMap<String, Digest> {
        keys.iter().map(|(key, crc32c)| ((*key).to_owned(), Digest { bytes: 1, crc32c: *crc32c })).collect()
    }

    fn verdict(target: &[(&str, u32)]) -> String {
        let source = [("insert_log/1/2/3/100/9", 1), ("delta_log/1/2/3/8", 2), ("index_files/7/1/2/3/HNSW", 3)];
        let ids = NewIds { collection: 10, segments: [(3, 30)].into() };
        compare(&files(&source), &files(target), &ids).map_or_else(|error| error.to_string(), |()| "good".to_owned())
    }

    const GOOD: [(&str, u32); 3] =
        [("insert_log/10/2/30/100/9", 1), ("delta_log/10/2/30/8", 2), ("index_files/70/1/2/30/HNSW", 3)];

    #[test]
    fn a_copy_under_new_ids_is_good() {
        assert_eq!(verdict(&GOOD), "good");
    }

    #[test]
    fn whatever_differs_is_named() {
        let with = |index: usize, file: (&'static str, u32)| {
            let mut target = GOOD;
            target[index] = file;
            verdict(&target)
        };
        assert_eq!(verdict(&GOOD[..2]), "index_files/7/1/2/3/HNSW has no copy");
        assert!(with(0, ("insert_log/10/2/30/100/9", 5)).contains("is not equal to its source"));
        assert_eq!(with(0, ("insert_log/1/2/30/100/9", 1)), "insert_log/1/2/30/100/9 has no source");
        assert_eq!(with(2, ("index_files/7/1/2/30/HNSW", 3)), "an index build has kept its id");
        assert_eq!(
            with(1, ("delta_log/10/2/30/8.tmp/x", 2)),
            "delta_log/10/2/30/8.tmp/x is not where a file of a segment lies"
        );
    }

    #[test]
    fn files_are_digested_by_content() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(dir.path().join("a")).expect("made");
        std::fs::write(dir.path().join("a/b"), "123456789").expect("written");
        let expected = Digest { bytes: 9, crc32c: 0xe306_9283 };
        assert_eq!(digest(dir.path()).expect("readable"), BTreeMap::from([("a/b".to_owned(), expected)]));
    }
}
