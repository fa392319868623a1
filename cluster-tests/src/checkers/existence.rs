//! Jobs exist from their submit until they are collected, without a gap: not before, and collected not before their
//! retention is over.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::GROUP_LABEL;
use crate::traffic::history::{Answer, Operation, Promise, Request, is_live};
use std::collections::{BTreeMap, BTreeSet};

const CHECKER: &str = "existence";
/// An end is stamped when it is proposed, and seen only when it is committed: this much later at the most.
const COMMIT_SLACK_US: u64 = 4_000_000;

/// When a job was seen, by revision.
struct Seen<'a> {
    first: (u64, &'a Operation),
    last: (u64, &'a Operation),
}

/// Every sighting against every look that did not find the job.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let seen = seen(trace);
    let mut violations: Vec<Violation> = seen.iter().filter_map(|(job, seen)| too_early(trace, *job, seen)).collect();
    let mut reported = BTreeSet::new();
    for operation in trace.operations {
        let Some(revision) = operation.revision else { continue };
        for job in absent(trace, &seen, operation) {
            let Some(seen) = seen.get(&job) else { continue };
            let violation = gap(job, seen, operation, revision).or_else(|| collected_early(trace, job, operation));
            violations.extend(violation.filter(|_| reported.insert(job)));
        }
    }
    violations
}

fn seen<'a>(trace: &Trace<'a>) -> BTreeMap<i64, Seen<'a>> {
    let mut all: BTreeMap<i64, Seen<'a>> = BTreeMap::new();
    for operation in trace.operations {
        let Some(revision) = operation.revision else { continue };
        for job in shown(operation) {
            let sighting = (revision, &**operation);
            let seen = all.entry(job).or_insert(Seen { first: sighting, last: sighting });
            if revision < seen.first.0 {
                seen.first = sighting;
            }
            if revision > seen.last.0 {
                seen.last = sighting;
            }
        }
    }
    all
}

/// Jobs that an answer shows to exist.
fn shown(operation: &Operation) -> Vec<i64> {
    let by_id = match operation.request {
        Request::ListSegments(job) | Request::ListTasks(job) if operation.is_ok() => Some(job),
        _ => None,
    };
    let tasks = operation.tasks().iter().map(|task| task.job_id);
    operation.jobs().map(|job| job.job_id).chain(by_id).chain(tasks).collect()
}

/// Jobs that an answer shows not to exist.
fn absent(trace: &Trace<'_>, seen: &BTreeMap<i64, Seen<'_>>, operation: &Operation) -> Vec<i64> {
    if operation.is_not_found() {
        return operation.request.job().into_iter().collect();
    }
    let Answer::Jobs { jobs, complete: true } = &operation.answer else { return Vec::new() };
    let found: BTreeSet<i64> = jobs.iter().map(|job| job.job_id).collect();
    match &operation.request {
        Request::GetJobs(asked) => asked.iter().copied().filter(|job| !found.contains(job)).collect(),
        Request::ListJobs(group) => {
            let group = group.to_string();
            let in_group = |job: &i64| {
                let options = trace.submission(*job).and_then(|submission| submission.request.options.as_ref());
                options.and_then(|options| options.labels.get(GROUP_LABEL)) == Some(&group)
            };
            seen.keys().copied().filter(|job| !found.contains(job)).filter(in_group).collect()
        }
        _ => Vec::new(),
    }
}

/// Seen at a revision that somebody had been answered before the job was first submitted.
fn too_early(trace: &Trace<'_>, job: i64, seen: &Seen<'_>) -> Option<Violation> {
    let submission = trace.submission(job)?;
    let submit = trace.submits(&submission.request_id).min_by_key(|submit| submit.called_us)?;
    let (revision, by) = seen.first;
    let sentence = format!("job {job} is seen at revision {revision}, which was over before it was submitted");
    (revision <= trace.floor(submit)).then(|| Violation::new(CHECKER, sentence, &[submit, by]))
}

fn gap(job: i64, seen: &Seen<'_>, operation: &Operation, revision: u64) -> Option<Violation> {
    let inside = (seen.first.0..=seen.last.0).contains(&revision);
    let (first, last) = (seen.first.0, seen.last.0);
    let sentence =
        format!("job {job} is seen at revisions {first} and {last}, but is not there at revision {revision}");
    inside.then(|| Violation::new(CHECKER, sentence, &[seen.first.1, seen.last.1, operation]))
}

/// Gone although somebody saw it alive less than its retention ago.
fn collected_early(trace: &Trace<'_>, job: i64, operation: &Operation) -> Option<Violation> {
    let revision = operation.revision?;
    let sightings = trace.jobs.get(&job)?;
    if sightings.first()?.revision > revision {
        // A stale answer from before its submit.
        return None;
    }
    let fresh = |promise| matches!(promise, Promise::Write | Promise::Linearizable);
    let alive = sightings
        .iter()
        .filter(|sighting| is_live(sighting.job.state) && fresh(sighting.operation.promise))
        .max_by_key(|sighting| sighting.operation.called_us)?;
    let retention_ms = trace.submission(job)?.retention_ms();
    let end = alive.operation.called_us.saturating_add(retention_ms * 1_000);
    let sentence = format!("job {job} is gone, although it was alive less than its {retention_ms} ms of retention ago");
    (operation.returned_us + COMMIT_SLACK_US < end)
        .then(|| Violation::new(CHECKER, sentence, &[alive.operation, operation]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only};
    use super::*;
    use ferry_proto::v1::JobState;
    use tonic::Code;

    fn not_found(sample: &mut Sample, at_ms: u64, revision: u64) {
        sample.get_job(2, at_ms, at_ms + 1, revision);
        sample.refused(Code::NotFound);
    }

    #[test]
    fn a_job_that_is_collected_after_its_retention_is_accepted() {
        let mut sample = Sample::new();
        not_found(&mut sample, 0, 3);
        sample.submitted((1, 2), 5);
        sample.saw((10, 11), 6, job(JobState::Completed));
        not_found(&mut sample, 20_000, 9);
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_gap_is_noticed_in_every_kind_of_answer() {
        let requests = [Request::GetJob(JOB), Request::ListSegments(JOB), Request::GetJobs(vec![JOB])];
        for request in requests {
            let mut sample = Sample::new();
            sample.submitted((0, 1), 5);
            sample.saw((20, 21), 8, job(JobState::Executing));
            let lookup = matches!(request, Request::GetJobs(_));
            let answer = if lookup { Answer::Jobs { jobs: Vec::new(), complete: true } } else { Answer::None };
            sample.add(2, request, (30, 31), 7, answer);
            if !lookup {
                sample.refused(Code::NotFound);
            }
            only(&check(&sample.trace()), "is not there at revision 7");
        }
    }

    #[test]
    fn a_job_that_is_gone_before_its_retention_is_over_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        not_found(&mut sample, 5_000, 9);
        only(&check(&sample.trace()), "less than its 10000 ms of retention ago");
    }

    #[test]
    fn a_job_that_is_there_before_its_submit_is_noticed() {
        let mut sample = Sample::new();
        sample.add(1, Request::Allocate(1), (0, 1), 6, Answer::None);
        sample.submitted((2, 3), 6);
        only(&check(&sample.trace()), "was over before it was submitted");
    }
}
