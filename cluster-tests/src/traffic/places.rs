//! Where jobs copy from and to: folders of this machine, and a bucket beside them where there is one.
//!
//! Invariant: each place has a path below the folder, and a source has all its files there. What jobs write to the bucket
//! is brought to its paths in the end, so that whoever compares looks at folders alone.

use crate::file_uri;
use crate::stores::bucket::Bucket;
use crate::tree;
use rand::Rng;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TARGETS: &str = "targets";
const SOURCES: &str = "sources";
/// The bucket, as it is in the end.
const MIRROR: &str = "bucket";

/// All places of a run.
#[derive(Debug, Clone)]
pub struct Places {
    folder: PathBuf,
    bucket: Option<Arc<Bucket>>,
}

/// From where and to where a job copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) from_bucket: bool,
    pub(crate) to_bucket: bool,
}

impl Direction {
    /// From folder to folder.
    pub(crate) const LOCAL: Self = Self { from_bucket: false, to_bucket: false };
}

impl Places {
    /// Below a folder, and in a bucket.
    #[must_use]
    pub fn new(folder: PathBuf, bucket: Option<Arc<Bucket>>) -> Self {
        Self { folder, bucket }
    }

    pub(crate) fn sources(&self) -> PathBuf {
        self.folder.join(SOURCES)
    }

    /// The bucket gets what jobs copy out of it.
    pub(crate) fn fill(&self) {
        if let Some(bucket) = &self.bucket {
            bucket.fill(&self.sources(), &format!("{SOURCES}/"));
        }
    }

    pub(crate) fn has_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Into the bucket, out of it, or inside it; without one, from folder to folder.
    pub(crate) fn direction(&self, random: &mut StdRng) -> Direction {
        if self.bucket.is_none() {
            return Direction::LOCAL;
        }
        match random.random_range(0..3) {
            0 => Direction { from_bucket: false, to_bucket: true },
            1 => Direction { from_bucket: true, to_bucket: false },
            _ => Direction { from_bucket: true, to_bucket: true },
        }
    }

    /// A root of its own for each number.
    pub(crate) fn target(&self, number: u64, direction: Direction) -> PathBuf {
        let folder = if direction.to_bucket { MIRROR } else { TARGETS };
        self.folder.join(folder).join(format!("target-{number}"))
    }

    pub(crate) fn source_uri(&self, source: &Path, direction: Direction) -> String {
        let below = source.strip_prefix(&self.folder).unwrap_or(source);
        match &self.bucket {
            Some(bucket) if direction.from_bucket => bucket.uri(below),
            _ => file_uri(source),
        }
    }

    pub(crate) fn target_uri(&self, target: &Path) -> String {
        match (&self.bucket, target.strip_prefix(self.folder.join(MIRROR))) {
            (Some(bucket), Ok(below)) => bucket.uri(below),
            _ => file_uri(target),
        }
    }

    /// Brings what lies in the bucket to its paths. Says what nobody should have left there.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn fetch(&self) -> Vec<String> {
        let Some(bucket) = &self.bucket else { return Vec::new() };
        let mirror = self.folder.join(MIRROR);
        bucket.fetch(&mirror);
        let left =
            bucket.unfinished_uploads().into_iter().map(|key| format!("the upload of {key} is left in the store"));
        let written = tree::files(&mirror).iter().filter(|file| !file.starts_with(SOURCES)).count();
        let nothing = (written == 0).then(|| "no job has copied anything into the store".to_owned());
        left.chain(nothing).collect()
    }
}
