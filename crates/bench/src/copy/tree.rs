//! The objects of a case: a tree in Milvus' layout with a snapshot over it, without checksums, as Milvus makes them.

use crate::jobs;
use anyhow::{Context, ensure};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use walkdir::WalkDir;

const COLLECTION: i64 = 100;
const PARTITION: i64 = 10;
const FIRST_SEGMENT: usize = 1_000;
/// Logs of one field of a segment.
const LOGS_PER_FIELD: usize = 2;
/// The field of a segment's large object.
const LARGE_FIELD: usize = 900;
const LARGE_BYTES: usize = 64 << 20;
const BLOCK_BYTES: usize = 1 << 20;

/// How many objects, how large, and how they are told out among segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) small: usize,
    pub(super) small_bytes: usize,
    pub(super) per_segment: usize,
    /// Objects of 64 MiB, one in each of the first segments.
    pub(super) large: usize,
}

impl Shape {
    /// Makes the tree in the folder; where it lies.
    pub(super) fn make(self, binary: &Path, root: &Path) -> anyhow::Result<PathBuf> {
        for number in 0..self.small {
            let (segment, file) = (FIRST_SEGMENT + number / self.per_segment, number % self.per_segment);
            write(root, segment, file / LOGS_PER_FIELD, file % LOGS_PER_FIELD, self.small_bytes)?;
        }
        for number in 0..self.large {
            write(root, FIRST_SEGMENT + number, LARGE_FIELD, 0, LARGE_BYTES)?;
        }
        make_snapshot(binary, root)?;
        Ok(root.to_owned())
    }
}

/// A tree of one object.
pub(super) fn make_one(binary: &Path, root: &Path, bytes: usize) -> anyhow::Result<PathBuf> {
    let object = write(root, FIRST_SEGMENT, 0, 0, bytes)?;
    make_snapshot(binary, root)?;
    Ok(object)
}

/// Writes one object, whose content no other block has, so that nothing on the way can keep it once for all.
fn write(root: &Path, segment: usize, field: usize, log: usize, bytes: usize) -> anyhow::Result<PathBuf> {
    let folder = root.join(format!("insert_log/{COLLECTION}/{PARTITION}/{segment}/{field}"));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join((log + 1).to_string());
    let mut file = File::create(&path)?;
    let mut block = vec![0; BLOCK_BYTES.min(bytes)];
    let mut left = bytes;
    let mut state = (segment * 7_919 + field * 31 + log) as u64;
    while left > 0 {
        for word in block.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        let count = left.min(block.len());
        file.write_all(&block[..count])?;
        left -= count;
    }
    Ok(path)
}

fn make_snapshot(binary: &Path, root: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(binary);
    command.args(["snapshot", "create", "--root", &jobs::uri(root), "--collection", &COLLECTION.to_string()]);
    let made = command.args(["--rows", "7"]).output().context("the binary cannot be started")?;
    ensure!(made.status.success(), "no snapshot was made: {}", String::from_utf8_lossy(&made.stderr));
    for entry in WalkDir::new(root.join("snapshots")) {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".checksums.json") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
