//! The trees that jobs copy from: whole ones of several sizes, and damaged ones that must fail a job.
//!
//! Invariant: nothing here changes once it is made.

use crate::tree;
use std::fs;
use std::path::{Path, PathBuf};

/// A tree to copy from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its root.
    pub(crate) root: PathBuf,
    /// Segments in it.
    pub(crate) segments: i64,
}

impl Source {
    fn make(root: PathBuf, segments: i64, file_bytes: usize) -> Self {
        tree::make(&root, segments, file_bytes);
        Self { root, segments }
    }

    /// Every segment of it.
    pub(crate) fn segment_ids(&self) -> impl Iterator<Item = i64> + use<> {
        tree::FIRST_SEGMENT..tree::FIRST_SEGMENT + self.segments
    }

    /// Some file of one segment.
    fn file(&self, segment: i64) -> PathBuf {
        let folder = super::submission::Submission::source_folder(segment);
        self.root.join(folder).join("1/1")
    }
}

/// Every tree of a run.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// Copied within milliseconds.
    pub(crate) small: Source,
    /// Several tasks.
    pub(crate) middle: Source,
    /// With a limit of bandwidth, something to be interrupted in.
    pub(crate) large: Source,
    /// With objects of several parts, which only a store has.
    pub(crate) huge: Source,
    /// A file of it is shorter than its snapshot says.
    pub(crate) truncated: Source,
    /// A file of it is gone.
    pub(crate) missing: Source,
    /// Nothing is there.
    pub(crate) absent: PathBuf,
}

impl Sources {
    /// Writes them all below a folder.
    pub(crate) fn make(folder: &Path) -> Self {
        let make = |name: &str, segments, bytes| Source::make(folder.join(name), segments, bytes);
        let truncated = make("truncated", 3, 4_096);
        let file = truncated.file(tree::FIRST_SEGMENT + 1);
        let whole = fs::read(&file).expect("the source can be read");
        fs::write(&file, &whole[..whole.len() / 2]).expect("the source can be truncated");
        let missing = make("missing", 3, 4_096);
        fs::remove_file(missing.file(tree::FIRST_SEGMENT + 2)).expect("a file of the source can be removed");
        Self {
            small: make("small", 1, 2_048),
            middle: make("middle", 4, 4_096),
            large: make("large", 8, 32 * 1_024),
            huge: make("huge", 1, (8 << 20) + 4_321),
            truncated,
            missing,
            absent: folder.join("absent"),
        }
    }
}
