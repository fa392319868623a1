//! Target segments as users see them: their state follows from their job's, so all of a job change in one moment.

use crate::id::{JobId, SegmentId};
use crate::outcome::Rejection;
use crate::read::{self, TasksOfTargets};
use crate::row::{Copied, Job, JobState, Mapping, PublishedSegment, Targets};
use crate::tables::Read;
use ferry_planted::Bug;

/// A target segment as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// The job that holds the id; history once the segment is Flushed.
    pub job: JobId,
    /// Where it is copied from.
    pub source: SegmentId,
    /// Target collection.
    pub collection_id: i64,
    /// Target partition; as asked for until it is copied.
    pub partition_id: i64,
    /// Its state.
    pub state: SegmentState,
    /// Rows; zero until it is copied.
    pub rows: i64,
    /// Bytes of its files; zero until it is copied.
    pub bytes: u64,
}

/// States of a target segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Not visible: its job is not completed.
    Importing,
    /// Visible.
    Flushed,
    /// Never to be visible.
    Dropped,
}

/// A segment, unless its job is hidden; a published one outlives its job.
pub fn segment(read: &dyn Read, id: SegmentId) -> Option<Segment> {
    let (_, targets) = read::targets_with(read, id)?;
    match targets.published {
        Some(_) => published(&targets, id),
        None => Holder::new(read::job(read, targets.job)?)?.segment(read, id),
    }
}

/// What would keep a new job from a target that its caller names.
pub fn refused_target(read: &dyn Read, target: SegmentId) -> Option<Rejection> {
    let cluster = read::cluster(read)?;
    crate::apply::refused_target(read, &cluster, cluster.now, target)
}

/// A segment of a run that is published.
pub(super) fn published(targets: &Targets, id: SegmentId) -> Option<Segment> {
    let published = targets.published.as_ref()?;
    let place = usize::try_from(id.0.checked_sub(targets.first.0)?).ok()?;
    let PublishedSegment { source, copied } = *published.segments.get(place)?;
    Some(Segment {
        id,
        job: targets.job,
        source,
        collection_id: published.collection_id,
        partition_id: copied.partition_id,
        state: SegmentState::Flushed,
        rows: copied.rows,
        bytes: copied.bytes,
    })
}

/// A job that users see, as the holder of targets; they are best asked for in their order.
pub(super) struct Holder {
    job: Job,
    state: SegmentState,
    tasks: TasksOfTargets,
    /// The run of mappings that was looked at last, with its last target.
    run: Option<(SegmentId, Vec<Mapping>)>,
}

impl Holder {
    /// `None` for a hidden job, whose targets nobody sees.
    pub(super) fn new(job: Job) -> Option<Self> {
        Some(Self { state: state_by_job(&job)?, tasks: TasksOfTargets::new(&job), job, run: None })
    }

    /// One of the job's targets.
    pub(super) fn segment(&mut self, read: &dyn Read, id: SegmentId) -> Option<Segment> {
        let mapping = self.mapping(read, id)?;
        Some(self.target(read, id, mapping))
    }

    /// A target as the job knows it, even where another job has taken the freed id over.
    pub(super) fn target(&mut self, read: &dyn Read, id: SegmentId, mapping: Mapping) -> Segment {
        let copied = self.tasks.copied(read, id);
        let early = ferry_planted::is(Bug::EarlyPublication) && copied.is_some();
        let Copied { partition_id, rows, bytes } = copied.unwrap_or(Copied::nothing(mapping));
        Segment {
            id,
            job: self.job.id,
            source: mapping.source,
            collection_id: self.job.spec.collection_id,
            partition_id,
            state: if early { SegmentState::Flushed } else { self.state },
            rows,
            bytes,
        }
    }

    fn mapping(&mut self, read: &dyn Read, id: SegmentId) -> Option<Mapping> {
        if self.here(id).is_none() {
            self.run = read::job_run_to(read, self.job.id, id);
        }
        self.here(id)
    }

    fn here(&self, id: SegmentId) -> Option<Mapping> {
        let (last, mappings) = self.run.as_ref()?;
        let place = id.0.checked_sub(read::first_of(*last, mappings.len()).0)?;
        mappings.get(usize::try_from(place).ok()?).copied()
    }
}

fn state_by_job(job: &Job) -> Option<SegmentState> {
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => None,
        JobState::Pending | JobState::Executing => Some(SegmentState::Importing),
        JobState::Completed { .. } => Some(SegmentState::Flushed),
        JobState::Failed { .. } | JobState::Canceled { .. } => Some(SegmentState::Dropped),
    }
}
