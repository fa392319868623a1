//! Tasks and targets by revision: one state at one revision, and only forwards from one to the next.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::facts::{SegmentFact, TaskFact};
use crate::traffic::history::{Operation, Request};
use ferry_proto::v1::{SegmentState, TaskState};
use std::collections::BTreeMap;

const CHECKER: &str = "parts";

/// What was told of one thing, and where.
type Told<'a, T> = Vec<(u64, &'a T, &'a Operation)>;

/// Every task and every target.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut tasks: BTreeMap<i64, Told<'_, TaskFact>> = BTreeMap::new();
    let mut segments: BTreeMap<(i64, i64), Told<'_, SegmentFact>> = BTreeMap::new();
    for operation in trace.operations {
        let Some(revision) = operation.revision else { continue };
        for task in operation.tasks() {
            tasks.entry(task.task_id).or_default().push((revision, task, operation));
        }
        for segment in operation.segments() {
            let told = segments.entry((segment.segment_id, segment.job_id)).or_default();
            told.push((revision, segment, operation));
        }
    }
    let of_tasks = tasks.into_iter().filter_map(|(id, told)| wrong(&format!("task {id}"), told, task_may_follow));
    let mut violations: Vec<Violation> = of_tasks.collect();
    violations.extend(vanished(trace, &segments));
    let of_segments = segments.into_iter();
    violations.extend(
        of_segments
            .filter_map(|((id, job), told)| wrong(&format!("target {id} of job {job}"), told, segment_may_follow)),
    );
    violations
}

fn wrong<T: PartialEq>(what: &str, mut told: Told<'_, T>, may_follow: fn(&T, &T) -> bool) -> Option<Violation> {
    told.sort_by_key(|(revision, ..)| *revision);
    told.windows(2).find_map(|pair| {
        let ((from, one, by), (to, other, also)) = (pair[0], pair[1]);
        let sentence = if from == to && one != other {
            format!("{what} was told in two ways at revision {from}")
        } else if !may_follow(one, other) {
            format!("{what} moved back between revisions {from} and {to}")
        } else {
            return None;
        };
        Some(Violation::new(CHECKER, sentence, &[by, also]))
    })
}

fn task_may_follow(one: &TaskFact, other: &TaskFact) -> bool {
    let state = match one.state {
        TaskState::Unspecified => false,
        TaskState::Pending | TaskState::InProgress => other.state != TaskState::Unspecified,
        TaskState::Completed | TaskState::Failed => one.state == other.state,
    };
    let same = one.job_id == other.job_id && one.mappings == other.mappings;
    state && same && one.attempt <= other.attempt && one.copied_bytes <= other.copied_bytes
}

fn segment_may_follow(one: &SegmentFact, other: &SegmentFact) -> bool {
    let named = |it: &SegmentFact| (it.source_segment_id, it.collection_id);
    let published = one.state == SegmentState::Flushed;
    named(one) == named(other) && (!published || one == other)
}

/// A target that was visible stays so for ever.
fn vanished(trace: &Trace<'_>, segments: &BTreeMap<(i64, i64), Told<'_, SegmentFact>>) -> Vec<Violation> {
    let mut visible: BTreeMap<i64, (u64, &Operation)> = BTreeMap::new();
    for ((id, _), told) in segments {
        let flushed = told.iter().filter(|(_, segment, _)| segment.state == SegmentState::Flushed);
        if let Some((revision, _, by)) = flushed.min_by_key(|(revision, ..)| *revision) {
            visible.insert(*id, (*revision, by));
        }
    }
    let looks = trace.operations.iter().filter_map(|operation| {
        let Request::GetSegment(id) = operation.request else { return None };
        let (since, by) = visible.get(&id)?;
        let revision = operation.revision.filter(|revision| operation.is_not_found() && revision >= since)?;
        let sentence = format!("target {id} was visible at revision {since} and is gone at revision {revision}");
        Some(Violation::new(CHECKER, sentence, &[by, operation]))
    });
    looks.collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, only, segment, task};
    use super::*;
    use crate::traffic::history::Answer;
    use tonic::Code;

    fn tasks(told: Vec<(u64, TaskFact)>) -> Vec<Violation> {
        let mut sample = Sample::new();
        for (revision, fact) in told {
            let answer = Answer::Tasks { tasks: vec![fact], complete: true };
            sample.add(1, Request::ListTasks(JOB), (revision, revision + 1), revision, answer);
        }
        check(&sample.trace())
    }

    #[test]
    fn a_task_that_is_tried_again_and_completes_is_accepted() {
        let states = [(TaskState::InProgress, 1), (TaskState::Pending, 1), (TaskState::InProgress, 2)];
        let mut told: Vec<_> = states.into_iter().zip(1..).map(|((state, n), at)| (at, task(state, n))).collect();
        told.push((9, task(TaskState::Completed, 2)));
        assert_eq!(tasks(told), []);
    }

    #[test]
    fn a_completed_task_that_runs_again_is_noticed() {
        let told = vec![(5, task(TaskState::Completed, 1)), (6, task(TaskState::InProgress, 2))];
        only(&tasks(told), "moved back between revisions 5 and 6");
    }

    #[test]
    fn an_attempt_that_is_forgotten_and_two_stories_at_once_are_noticed() {
        let told = vec![(5, task(TaskState::InProgress, 2)), (6, task(TaskState::InProgress, 1))];
        only(&tasks(told), "moved back");
        let told = vec![(5, task(TaskState::InProgress, 2)), (5, task(TaskState::Pending, 2))];
        only(&tasks(told), "told in two ways at revision 5");
    }

    #[test]
    fn a_visible_target_that_changes_or_vanishes_is_noticed() {
        let mut sample = Sample::new();
        let look = |sample: &mut Sample, at: u64, fact: SegmentFact| {
            let answer = Answer::Segments { segments: vec![fact], complete: true };
            sample.add(1, Request::GetSegment(50), (at, at + 1), at, answer);
        };
        look(&mut sample, 5, segment(50, SegmentState::Flushed));
        look(&mut sample, 6, SegmentFact { num_of_rows: 9, ..segment(50, SegmentState::Flushed) });
        only(&check(&sample.trace()), "moved back");
        sample.refused(Code::NotFound);
        only(&check(&sample.trace()), "is gone at revision 6");
    }
}
