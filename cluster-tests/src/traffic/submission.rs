//! Something to copy: the request, where its files lie, and what must become of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ferry_proto::v1::SubmitJobRequest;

/// What must become of a job that is not canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It completes.
    Completes,
    /// It fails: its source is damaged, or one of its targets was there before.
    Fails,
    /// It fails because of its timeout: it is paused from the start.
    TimesOut,
    /// There is no such snapshot, so there is no such job.
    Refused,
}

/// A submit, the same however often it is repeated.
#[derive(Clone, PartialEq)]
pub struct Submission {
    /// Names it.
    pub request_id: Arc<str>,
    /// All of it.
    pub request: SubmitJobRequest,
    /// The tree it copies from.
    pub source: PathBuf,
    /// The root it copies to; shared with others only where they fight for the same targets.
    pub target: PathBuf,
    /// Source and target of each segment, where the submitter chose the targets.
    pub mappings: Vec<(i64, i64)>,
    /// Segments to copy.
    pub segments: i64,
    /// What must become of it.
    pub fate: Fate,
    /// A file that was there before, relative to `target`.
    pub foreign: Option<PathBuf>,
    /// As in `JobFact::description`.
    pub description: u64,
}

impl Submission {
    /// When the job fails by itself; `None`: never.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        self.request.options.as_ref().filter(|options| !options.no_timeout).map(|options| options.timeout_ms)
    }

    /// How long its end can be read.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        self.request.options.as_ref().map_or(0, |options| options.retention_ms)
    }

    /// Where the files of one target lie, relative to the root.
    #[must_use]
    pub fn target_folder(&self, target_segment: i64) -> PathBuf {
        let collection = self.request.target.as_ref().map_or(0, |target| target.collection_id);
        format!("insert_log/{collection}/{}/{target_segment}", crate::tree::PARTITION).into()
    }

    /// Where the files of one source segment lie, relative to the tree.
    #[must_use]
    pub fn source_folder(source_segment: i64) -> PathBuf {
        format!("insert_log/{}/{}/{source_segment}", crate::tree::COLLECTION, crate::tree::PARTITION).into()
    }
}

impl fmt::Debug for Submission {
    /// Short enough to be quoted.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let options = self.request.options.clone().unwrap_or_default();
        write!(
            formatter,
            "{} to {target} {:?} timeout {} ms retention {} ms {:?}",
            self.request_id, self.mappings, options.timeout_ms, options.retention_ms, self.fate
        )
    }
}

impl Eq for Submission {}
