//! Target segments as users see them: their state follows from their job's, so all of a job change in one moment.

use crate::id::{JobId, SegmentId};
use crate::outcome::Rejection;
use crate::read;
use crate::row::{Job, JobState, Mapping, Segment, SegmentState};
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
    effective(id, segment, |job| read::job(read, job))
}

/// What would keep a new job from a target that its caller names.
pub fn refused_target(read: &dyn Read, target: SegmentId) -> Option<Rejection> {
    let cluster = read::cluster(read)?;
    crate::apply::refused_target(read, &cluster, cluster.now, target)
}

/// The effective form of a segment's row.
pub(super) fn effective(
    id: SegmentId,
    mut segment: Segment,
    job_of: impl FnOnce(JobId) -> Option<Job>,
) -> Option<SegmentStatus> {
    if segment.state != SegmentState::Flushed {
        segment.state = state_by_job(&job_of(segment.job)?)?;
    }
    Some(SegmentStatus { id, segment })
}

/// A target of a job as that job knows it, even where another job has taken the freed id over.
pub(super) fn of_job(read: &dyn Read, job: &Job, target: SegmentId, mapping: Mapping) -> Option<SegmentStatus> {
    let own = read::segment(read, target).filter(|segment| segment.job == job.id);
    let mut segment = own.unwrap_or(Segment {
        job: job.id,
        source: mapping.source,
        collection_id: job.spec.collection_id,
        partition_id: mapping.partition_id,
        state: SegmentState::Dropped,
        rows: 0,
        bytes: 0,
    });
    let early = segment.state == SegmentState::Flushed && ferry_planted::is(Bug::EarlyPublication);
    segment.state = if early { SegmentState::Flushed } else { state_by_job(job)? };
    Some(SegmentStatus { id: target, segment })
}

fn state_by_job(job: &Job) -> Option<SegmentState> {
    match job.state {
        JobState::Draft { .. } | JobState::Collecting => None,
        JobState::Pending | JobState::Executing => Some(SegmentState::Importing),
        JobState::Completed { .. } => Some(SegmentState::Flushed),
        JobState::Failed { .. } | JobState::Canceled { .. } => Some(SegmentState::Dropped),
    }
}
