//! What answers say about jobs, targets and tasks, small enough to keep a whole run in memory.
//!
//! Invariant: two facts about one thing at one revision are equal, whichever node told them; so nothing here depends
//! on who asked or when.

use ferry_proto::v1::{CleanupState, Job, JobOptions, JobState, Segment, SegmentState, Task, TaskState};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A job at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the public API's Job")]
pub struct JobFact {
    pub job_id: i64,
    pub request_id: Arc<str>,
    /// Of everything that was asked for and never changes.
    pub description: u64,
    /// Of the resolved source.
    pub source: u64,
    pub state: JobState,
    pub reason: Arc<str>,
    pub total_segments: i64,
    pub copied_segments: i64,
    pub total_rows: i64,
    pub total_bytes: u64,
    pub copied_bytes: u64,
    /// Pending, in progress, completed, failed.
    pub tasks: [i64; 4],
    pub paused: bool,
    pub priority: i32,
    pub bandwidth: u64,
    pub submitted_at_ms: u64,
    pub started_at_ms: u64,
    pub completed_at_ms: u64,
    pub cleanup: CleanupState,
    pub progress_percent: u32,
    pub duration_ms: u64,
}

impl JobFact {
    /// Of an answer.
    #[must_use]
    pub fn of(job: Job) -> Self {
        let options = job.options.clone().unwrap_or_default();
        let tasks = job.tasks.unwrap_or_default();
        let described = Described {
            name: &job.name,
            collection_id: job.collection_id,
            target_uri: &job.target_uri,
            total_segments: job.total_segments,
            options: &options,
        };
        Self {
            job_id: job.job_id,
            description: described.digest(),
            source: digest(&job.source_uri),
            state: job.state(),
            cleanup: job.cleanup(),
            request_id: job.request_id.into(),
            reason: job.reason.into(),
            total_segments: job.total_segments,
            copied_segments: job.copied_segments,
            total_rows: job.total_rows,
            total_bytes: job.total_bytes,
            copied_bytes: job.copied_bytes,
            tasks: [tasks.pending, tasks.in_progress, tasks.completed, tasks.failed],
            paused: job.paused,
            priority: job.priority,
            bandwidth: options.bandwidth_bytes_per_second,
            submitted_at_ms: job.submitted_at_ms,
            started_at_ms: job.started_at_ms,
            completed_at_ms: job.completed_at_ms,
            progress_percent: job.progress_percent,
            duration_ms: job.duration_ms,
        }
    }
}

/// What of a job never changes and can be told from its submit.
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it copies to.
    pub collection_id: i64,
    /// Where it copies to.
    pub target_uri: &'a str,
    /// How much.
    pub total_segments: i64,
    /// How; the live ones are left out.
    pub options: &'a JobOptions,
}

impl Described<'_> {
    /// One number for all of it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let options = self.options;
        let labels: BTreeMap<_, _> = options.labels.iter().collect();
        let asked = (self.name, self.collection_id, self.target_uri, self.total_segments);
        let how = (options.timeout_ms, options.no_timeout, options.retention_ms, options.segments_per_task_max);
        let also = (options.attempts_max, options.start_paused, options.verify, options.on_exhausted, labels);
        digest(&(asked, how, also))
    }
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A target at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the public API's Segment")]
pub struct SegmentFact {
    pub segment_id: i64,
    pub job_id: i64,
    pub collection_id: i64,
    pub partition_id: i64,
    pub source_segment_id: i64,
    pub state: SegmentState,
    pub num_of_rows: i64,
    pub size_bytes: u64,
}

impl SegmentFact {
    /// Of an answer.
    #[must_use]
    pub fn of(segment: &Segment) -> Self {
        Self {
            segment_id: segment.segment_id,
            job_id: segment.job_id,
            collection_id: segment.collection_id,
            partition_id: segment.partition_id,
            source_segment_id: segment.source_segment_id,
            state: segment.state(),
            num_of_rows: segment.num_of_rows,
            size_bytes: segment.size_bytes,
        }
    }
}

/// A task at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the public API's Task")]
pub struct TaskFact {
    pub task_id: i64,
    pub job_id: i64,
    pub state: TaskState,
    pub attempt: u32,
    pub worker_id: i64,
    /// Source and target of each of its segments.
    pub mappings: Vec<(i64, i64)>,
    pub copied_bytes: u64,
    pub total_bytes: u64,
    pub failures: u32,
}

impl TaskFact {
    /// Of an answer.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        Self {
            task_id: task.task_id,
            job_id: task.job_id,
            state: task.state(),
            attempt: task.attempt,
            worker_id: task.worker_id,
            mappings: task.id_mappings.iter().map(|it| (it.source_segment_id, it.target_segment_id)).collect(),
            copied_bytes: task.copied_bytes,
            total_bytes: task.total_bytes,
            failures: task.failures,
        }
    }
}
