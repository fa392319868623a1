//! Ids are unique for ever: those that callers were given, those of jobs and tasks, and targets that the cluster chose;
//! and one request id is one job.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Answer, Operation, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::Code;

const CHECKER: &str = "ids";
/// Where the cluster's own ids begin, by default.
pub(crate) const ID_START: i64 = 1 << 40;

/// Some consecutive ids and what they are.
struct Range<'a> {
    first: i64,
    count: i64,
    what: String,
    operation: &'a Operation,
}

/// Every id that was ever told.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut ranges: Vec<Range<'_>> = allocations(trace).chain(things(trace)).collect();
    ranges.sort_by_key(|range| range.first);
    let mut violations = Vec::new();
    if let Some(low) = ranges.first().filter(|range| range.first < ID_START) {
        let sentence = format!("{} is below the cluster's own ids", low.what);
        violations.push(Violation::new(CHECKER, sentence, &[low.operation]));
    }
    for pair in ranges.windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        if one.first + one.count > other.first {
            let sentence = format!("{} and {} are the same ids", one.what, other.what);
            violations.push(Violation::new(CHECKER, sentence, &[one.operation, other.operation]));
        }
    }
    violations.extend(request_ids(trace));
    violations
}

fn allocations<'a>(trace: &Trace<'a>) -> impl Iterator<Item = Range<'a>> {
    trace.operations.iter().filter_map(|operation| {
        let Answer::Ids { first, count } = operation.answer else { return None };
        let what = format!("the allocation of {count} ids from {first}");
        Some(Range { first, count: count.into(), what, operation })
    })
}

/// Jobs, tasks, and the targets that no submitter chose.
fn things<'a>(trace: &Trace<'a>) -> impl Iterator<Item = Range<'a>> {
    let mut first_told: BTreeMap<(i64, &str), &Operation> = BTreeMap::new();
    for operation in trace.operations {
        let jobs = operation.jobs().map(|job| (job.job_id, "job"));
        let tasks = operation.tasks().iter().map(|task| (task.task_id, "task"));
        let targets = operation.segments().iter().filter(|segment| {
            trace.submission(segment.job_id).is_some_and(|submission| submission.mappings.is_empty())
        });
        let targets = targets.map(|segment| (segment.segment_id, "target"));
        for thing in jobs.chain(tasks).chain(targets) {
            first_told.entry(thing).or_insert(operation);
        }
    }
    let range = |((id, what), operation)| Range { first: id, count: 1, what: format!("{what} {id}"), operation };
    first_told.into_iter().map(range)
}

fn request_ids(trace: &Trace<'_>) -> Vec<Violation> {
    let mut jobs: BTreeMap<Arc<str>, (i64, &Operation)> = BTreeMap::new();
    let mut made: BTreeMap<Arc<str>, &Operation> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in trace.operations {
        for job in operation.jobs() {
            let (first, by) = *jobs.entry(Arc::clone(&job.request_id)).or_insert((job.job_id, operation));
            if first != job.job_id {
                let sentence = format!("request id {} made jobs {first} and {}", job.request_id, job.job_id);
                violations.push(Violation::new(CHECKER, sentence, &[by, operation]));
            }
        }
        if let Answer::Submitted { job, already_existed: false } = &operation.answer
            && let Some(by) = made.insert(Arc::clone(&job.request_id), operation)
        {
            let sentence = format!("request id {} was new twice", job.request_id);
            violations.push(Violation::new(CHECKER, sentence, &[by, operation]));
        }
        if let Request::ReuseRequestId(submission) = &operation.request
            && !operation.is_unknown()
            && !matches!(operation.outcome, crate::traffic::history::Outcome::Refused(Code::AlreadyExists, _))
        {
            let sentence = format!("request id {} was accepted for another request", submission.request_id);
            violations.push(Violation::new(CHECKER, sentence, &[operation]));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only, submission};
    use super::*;
    use crate::traffic::facts::JobFact;
    use ferry_proto::v1::JobState::Pending;

    fn allocate(sample: &mut Sample, first: i64, count: u32) {
        sample.add(1, Request::Allocate(count), (1, 2), 5, Answer::Ids { first, count });
    }

    #[test]
    fn ranges_side_by_side_are_accepted() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((2, 3), 6, job(Pending));
        allocate(&mut sample, JOB + 1, 10);
        allocate(&mut sample, JOB + 11, 10);
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_window_that_is_handed_out_twice_is_noticed() {
        let mut sample = Sample::new();
        allocate(&mut sample, JOB + 1, 10);
        allocate(&mut sample, JOB + 10, 10);
        only(&check(&sample.trace()), "are the same ids");
    }

    #[test]
    fn an_id_that_is_a_job_already_or_too_low_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        allocate(&mut sample, JOB - 1, 5);
        only(&check(&sample.trace()), "are the same ids");
        let mut sample = Sample::new();
        allocate(&mut sample, 17, 1);
        only(&check(&sample.trace()), "below the cluster's own ids");
    }

    #[test]
    fn a_request_id_that_makes_two_jobs_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((2, 3), 6, JobFact { job_id: JOB + 1, ..job(Pending) });
        only(&check(&sample.trace()), "made jobs");
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.submitted((2, 3), 6);
        only(&check(&sample.trace()), "was new twice");
    }

    #[test]
    fn a_request_id_that_is_taken_for_another_request_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        let answer = Answer::Submitted { job: job(Pending), already_existed: true };
        sample.add(1, Request::ReuseRequestId(submission("request")), (2, 3), 6, answer);
        only(&check(&sample.trace()), "was accepted for another request");
    }
}
