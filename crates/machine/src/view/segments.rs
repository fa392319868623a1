//! Target segments as users see them: their state follows from their job's, so all of a job change in one moment.

use crate::derive;
use crate::id::SegmentId;
use crate::outcome::Rejection;
use crate::read::{self, TasksOfTargets};
use crate::row::{Job, JobState, Mapping, Segment, SegmentState, TaskSegment};
use crate::tables::Read;
use ferry_planted::Bug;

/// A segment as users see it; its `state` is the effective one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStatus {
    /// Its id.
    pub id: SegmentId,
    /// Everything else.
    pub segment: Segment,
}

/// A segment, unless its job is hidden; a published one outlives its job.
pub fn segment(read: &dyn Read, id: SegmentId) -> Option<SegmentStatus> {
    let segment = read::segment(read, id)?;
    if segment.state == SegmentState::Flushed {
        return Some(SegmentStatus { id, segment });
    }
    Some(Holder::new(read::job(read, segment.job)?)?.status(read, id, &segment))
}

/// What would keep a new job from a target that its caller names.
pub fn refused_target(read: &dyn Read, target: SegmentId) -> Option<Rejection> {
    let cluster = read::cluster(read)?;
    crate::apply::refused_target(read, &cluster, cluster.now, target)
}

/// A job that users see, as the holder of targets; they are best asked for in their order.
pub(super) struct Holder {
    job: Job,
    state: SegmentState,
    tasks: TasksOfTargets,
}

impl Holder {
    /// `None` for a hidden job, whose targets nobody sees.
    pub(super) fn new(job: Job) -> Option<Self> {
        Some(Self { state: state_by_job(&job)?, tasks: TasksOfTargets::new(&job), job })
    }

    /// The effective form of the row that one of the job's targets has, unless that is Flushed.
    pub(super) fn status(&mut self, read: &dyn Read, id: SegmentId, segment: &Segment) -> SegmentStatus {
        if segment.state == SegmentState::Importing {
            // Settling has not come to it: what was copied is in its task.
            let mapping = Mapping { source: segment.source, partition_id: segment.partition_id };
            return self.target(read, id, mapping);
        }
        SegmentStatus { id, segment: Segment { state: self.state, ..*segment } }
    }

    /// A target as the job knows it, even where another job has taken the freed id over.
    pub(super) fn target(&mut self, read: &dyn Read, id: SegmentId, mapping: Mapping) -> SegmentStatus {
        let copied = self.tasks.copied(read, id);
        let flushed = || read::segment(read, id).is_some_and(|own| own.state == SegmentState::Flushed);
        let early = ferry_planted::is(Bug::EarlyPublication) && flushed();
        let state = if early { SegmentState::Flushed } else { self.state };
        let known = TaskSegment { target: id, mapping, copied };
        SegmentStatus { id, segment: derive::segment_of(&self.job, &known, state) }
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
