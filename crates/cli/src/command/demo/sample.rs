//! The tree that a real Milvus wrote, carried in the binary: three segments of 1,100 rows with deletes and an index.

use anyhow::Context;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};

static SAMPLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../snapshot/testdata/milvus-sample");

/// Segments of the sample, and rows of each.
pub(super) const SEGMENTS: usize = 3;
pub(super) const ROWS_PER_SEGMENT: i64 = 1100;

/// Writes the sample below `root`.
pub(super) fn unpack(root: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(root)?;
    SAMPLE.extract(root).with_context(|| format!("the sample cannot be written to {}", root.display()))?;
    Ok(root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{SEGMENTS, unpack};
    use ferry_objects::{Stores, file_uri};
    use ferry_snapshot::Snapshot;

    #[tokio::test]
    async fn the_sample_in_the_binary_is_a_whole_snapshot() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = unpack(&dir.path().join("sample")).expect("unpacked");
        let snapshot = Snapshot::open(&Stores::new(), &file_uri(&root)).await.expect("a snapshot");
        assert_eq!(snapshot.segment_ids().len(), SEGMENTS);
        let found = snapshot.verify(ferry_snapshot::Depth::Contents, &|_| ()).await.expect("readable");
        assert!(found.is_clean(), "{:?}", found.problems);
        assert!(found.files > 20, "{} files", found.files);
    }
}
