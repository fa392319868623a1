//! Whether every object of a snapshot is there and is what it was: existence and size always, content where the
//! snapshot has checksums. Each object that fails is named; a store that fails is an error, not a finding.

use ferry_objects::{Class, StoreError};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::files::{FilesError, SourceFile};
use crate::progress::Progress;
use crate::snapshot::Snapshot;

/// How many objects are looked at at a time.
const CONCURRENCY: usize = 16;

/// How deep to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Existence and size only.
    Sizes,
    /// Content too, where there is a checksum.
    #[default]
    Contents,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Segments looked at.
    pub segments: u64,
    /// Objects looked at.
    pub files: u64,
    /// Bytes of those that are there.
    pub bytes: u64,
    /// Objects whose content was compared with a checksum.
    pub checksums_compared: u64,
    /// Objects, or segments, that are not as they should be.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The segment.
    pub segment_id: i64,
    /// The object; absent when the segment's manifest itself is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// What one object turned out to be.
enum Finding {
    Good { size_bytes: u64, compared: bool },
    Bad(String),
}

impl Snapshot {
    /// Looks at every object of every segment. `progress` hears of each.
    pub async fn verify(
        &self,
        depth: Depth,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Verification, FilesError> {
        let mut verification = Verification::default();
        let mut so_far = Progress::default();
        for segment_id in self.flushed_segment_ids() {
            verification.segments += 1;
            let files = match self.files_of(segment_id).await {
                Ok(files) => files,
                Err(error) if error.class().is_permanent() => {
                    verification.problems.push(Problem { segment_id, key: None, message: error.to_string() });
                    continue;
                }
                Err(error) => return Err(error),
            };
            so_far.files_total += files.len() as u64;
            let mut findings = stream::iter(&files)
                .map(|file| self.finding(file, depth))
                .buffered(CONCURRENCY)
                .zip(stream::iter(&files));
            while let Some((finding, file)) = findings.next().await {
                verification.note(segment_id, file, finding?);
                so_far.files_done = verification.files;
                (so_far.bytes_done, so_far.bytes_total) = (verification.bytes, verification.bytes);
                progress(so_far);
            }
        }
        Ok(verification)
    }

    async fn files_of(&self, segment_id: i64) -> Result<Vec<SourceFile>, FilesError> {
        let manifest = self.manifest(segment_id).await?;
        Ok(self.files(&manifest).await?.files)
    }

    async fn finding(&self, file: &SourceFile, depth: Depth) -> Result<Finding, StoreError> {
        match self.look_at(file, depth).await {
            Err(error) if error.class() == Class::Permanent => Ok(Finding::Bad(error.to_string())),
            finding => finding,
        }
    }

    async fn look_at(&self, file: &SourceFile, depth: Depth) -> Result<Finding, StoreError> {
        let size_bytes = self.location().size_bytes(&file.key).await?;
        if let Err(message) = file.check_size(size_bytes) {
            return Ok(Finding::Bad(message));
        }
        let (Some(expected), Depth::Contents) = (file.checksum, depth) else {
            return Ok(Finding::Good { size_bytes, compared: false });
        };
        let found = self.location().checksum(&file.key).await?;
        if found == expected {
            return Ok(Finding::Good { size_bytes, compared: true });
        }
        let (found, expected) = (found.crc32c, expected.crc32c);
        Ok(Finding::Bad(format!("its content has CRC32C {found:08x}, not {expected:08x}; it was altered")))
    }
}

impl Verification {
    fn note(&mut self, segment_id: i64, file: &SourceFile, finding: Finding) {
        self.files += 1;
        match finding {
            Finding::Good { size_bytes, compared } => {
                self.bytes += size_bytes;
                self.checksums_compared += u64::from(compared);
            }
            Finding::Bad(message) => {
                self.problems.push(Problem { segment_id, key: Some(file.key.clone()), message });
            }
        }
    }
}
