//! Each target belongs to one job, and nothing is published whose job is not Completed, unless the job is history.

use super::{Findings, Rows, View, come};
use crate::derive;
use crate::id::SegmentId;
use crate::key::Key;
use crate::read;
use crate::row::{Job, JobState, Mapping, Row, Segment, SegmentState, Settle, TaskSegment};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for (key, row) in Rows::segments(view.read) {
        let (Key::Segment(target), Row::Segment(segment)) = (&key, row) else {
            findings.add(key, "is no segment");
            continue;
        };
        let allocated = target.0 < view.cluster.id_start || target.0 < view.cluster.next_id;
        findings.expect(allocated && target.0 > 0, &key, "has an id that was never given out");
        check_holder(view, *target, &segment, &key, findings);
    }
    for (key, row) in Rows::mappings(view.read) {
        let (Key::JobSegment(id, target), Row::Mapping(mapping)) = (&key, row) else {
            findings.add(key, "is no target of a job");
            continue;
        };
        match read::job(view.read, *id) {
            Some(job) => check_target(view, &job, *target, mapping, &key, findings),
            None => findings.add(key, "belongs to a job that is gone"),
        }
    }
}

fn check_holder(view: &View<'_>, target: SegmentId, segment: &Segment, key: &Key, findings: &mut Findings) {
    let listed = view.read.get(&Key::JobSegment(segment.job, target)).is_some();
    let Some(job) = read::job(view.read, segment.job) else {
        findings.expect(segment.state == SegmentState::Flushed, key, "is not published, and its job is gone");
        findings.expect(!listed, key, "is listed by a job that is gone");
        return;
    };
    if job.state == JobState::Collecting {
        findings.expect(listed || segment.state == SegmentState::Flushed, key, "is not listed by its job");
        return;
    }
    findings.expect(listed, key, "is not listed by its job");
    let stored = settled(&job, target).unwrap_or(SegmentState::Importing);
    findings.equal(key, "its state", &segment.state, &stored);
}

/// The row of a target says what its job and its task tell: what was copied only where settling has come to it.
pub(super) fn check_known(view: &View<'_>, job: &Job, known: &TaskSegment, findings: &mut Findings) {
    let Some(own) = read::segment(view.read, known.target).filter(|segment| segment.job == job.id) else { return };
    let written = settled(job, known.target);
    let copied = known.copied.filter(|_| written.is_some());
    let state = written.unwrap_or(SegmentState::Importing);
    let told = derive::segment_of(job, &TaskSegment { copied, ..*known }, state);
    findings.equal(&Key::Segment(known.target), "its row", &own, &told);
}

/// The state that settling has written for a target; `None` where it has not come that far.
fn settled(job: &Job, target: SegmentId) -> Option<SegmentState> {
    let written = match job.settle {
        Settle::Segments { after } => target <= after,
        Settle::Tasks { .. } | Settle::Done => true,
    };
    let state = match job.state {
        JobState::Completed { .. } => SegmentState::Flushed,
        JobState::Failed { .. } | JobState::Canceled { .. } => SegmentState::Dropped,
        JobState::Draft { .. } | JobState::Pending | JobState::Executing | JobState::Collecting => return None,
    };
    written.then_some(state)
}

fn check_target(view: &View<'_>, job: &Job, target: SegmentId, mapping: Mapping, key: &Key, findings: &mut Findings) {
    let own = read::segment(view.read, target).filter(|segment| segment.job == job.id);
    match own {
        Some(segment) => {
            findings.equal(key, "its source", &mapping.source, &segment.source);
            if target > job.task_cursor && job.state != JobState::Collecting {
                check_known(view, job, &TaskSegment { target, mapping, copied: None }, findings);
            }
        }
        None => findings.expect(given_up(view, job), key, "is not held by its job"),
    }
}

/// Whether another job may have taken over the targets of this one.
fn given_up(view: &View<'_>, job: &Job) -> bool {
    let unpublished = match job.state {
        JobState::Failed { .. } | JobState::Canceled { .. } => derive::at_rest(job),
        JobState::Collecting => true,
        JobState::Draft { .. } | JobState::Pending | JobState::Executing | JobState::Completed { .. } => false,
    };
    unpublished && come(view, job.quiet_at)
}
