//! What users change while a job lives - pause, priority, bandwidth - is at each revision what the last change before
//! it made, as far as the history tells which was the last.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::facts::JobFact;
use crate::traffic::history::{Operation, Request};
use std::collections::{BTreeMap, BTreeSet};

const CHECKER: &str = "options";

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Paused,
    Priority,
    Bandwidth,
}

/// A change, which took effect after `floor` and, where its client was answered, not after `ceiling`.
#[derive(Clone, Copy)]
struct Write<'a> {
    value: u64,
    floor: u64,
    ceiling: u64,
    operation: &'a Operation,
}

/// Every sighting of a job against the changes of it.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let changes = changes(trace);
    let mut violations = Vec::new();
    for (job, sightings) in &trace.jobs {
        for field in [Field::Paused, Field::Priority, Field::Bandwidth] {
            let Some(first) = first(trace, *job, field) else { continue };
            let mut writes = vec![first];
            writes.extend(changes.get(&(*job, field)).into_iter().flatten());
            let mut looked_at = BTreeSet::new();
            let wrong = sightings.iter().find(|sighting| {
                let value = value(sighting.job, field);
                looked_at.insert((sighting.revision, value)) && !possible(&writes, sighting.revision, value)
            });
            violations.extend(wrong.map(|wrong| {
                let (revision, value) = (wrong.revision, value(wrong.job, field));
                let sentence =
                    format!("{field:?} of job {job} is {value} at revision {revision}, which no change made");
                let last = writes.iter().filter(|write| write.ceiling <= revision).max_by_key(|write| write.ceiling);
                Violation::new(CHECKER, sentence, &[last.map_or(first.operation, |it| it.operation), wrong.operation])
            }));
        }
    }
    violations
}

fn value(job: &JobFact, field: Field) -> u64 {
    match field {
        Field::Paused => job.paused.into(),
        Field::Priority => u64::from(job.priority.unsigned_abs()),
        Field::Bandwidth => job.bandwidth,
    }
}

/// What the submit says.
fn first<'a>(trace: &Trace<'a>, job: i64, field: Field) -> Option<Write<'a>> {
    let options = trace.submission(job)?.request.options.as_ref()?;
    let value = match field {
        Field::Paused => options.start_paused.into(),
        Field::Priority => u64::from(options.priority.unwrap_or(0).unsigned_abs()),
        Field::Bandwidth => options.bandwidth_bytes_per_second,
    };
    let sighting = trace.jobs.get(&job)?.first()?;
    Some(Write { value, floor: 0, ceiling: sighting.revision, operation: sighting.operation })
}

fn changes<'a>(trace: &Trace<'a>) -> BTreeMap<(i64, Field), Vec<Write<'a>>> {
    let mut changes: BTreeMap<(i64, Field), Vec<Write<'a>>> = BTreeMap::new();
    for operation in trace.operations {
        let written = match operation.request {
            Request::Pause(job) => vec![(job, Field::Paused, 1)],
            Request::Resume(job) => vec![(job, Field::Paused, 0)],
            Request::Update { job, priority, bandwidth } => {
                let priority = priority.map(|value| (job, Field::Priority, u64::from(value.unsigned_abs())));
                priority.into_iter().chain(bandwidth.map(|value| (job, Field::Bandwidth, value))).collect()
            }
            _ => Vec::new(),
        };
        let ceiling = match operation.revision {
            Some(revision) if operation.is_ok() => revision,
            // It may happen at any time, or never.
            _ if operation.is_unknown() => u64::MAX,
            _ => continue,
        };
        let floor = trace.floor(operation);
        for (job, field, value) in written {
            changes.entry((job, field)).or_default().push(Write { value, floor, ceiling, operation });
        }
    }
    changes
}

/// Some change to this value may have been the last one before this revision: it may have been before, and no other
/// was certainly between the two.
fn possible(writes: &[Write<'_>], revision: u64, value: u64) -> bool {
    let made_it = writes.iter().filter(|write| write.value == value && write.floor < revision);
    made_it.into_iter().any(|write| {
        let overwritten =
            |other: &Write<'_>| other.value != value && other.floor >= write.ceiling && other.ceiling <= revision;
        !writes.iter().any(overwritten)
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only};
    use super::*;
    use crate::traffic::history::Answer;
    use ferry_proto::v1::JobState::Executing;

    fn paused(paused: bool) -> JobFact {
        JobFact { paused, ..job(Executing) }
    }

    #[test]
    fn a_change_whose_outcome_is_unknown_may_be_seen_later_or_never() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 20, 0);
        sample.unknown();
        sample.saw((30, 31), 8, paused(false));
        sample.saw((40, 41), 9, paused(true));
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_change_that_was_acknowledged_and_is_not_there_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 20, 7);
        sample.saw((30, 31), 8, paused(false));
        only(&check(&sample.trace()), "Paused of job");
    }

    #[test]
    fn a_change_that_nobody_made_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((30, 31), 8, JobFact { priority: 60, ..job(Executing) });
        only(&check(&sample.trace()), "Priority of job");
    }

    #[test]
    fn a_change_that_comes_back_after_another_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        for (at, bandwidth) in [(10, 100), (20, 200)] {
            let update = Request::Update { job: JOB, priority: None, bandwidth: Some(bandwidth) };
            sample.add(1, update, (at, at + 1), at, Answer::Job(JobFact { bandwidth, ..job(Executing) }));
        }
        sample.saw((30, 31), 30, JobFact { bandwidth: 100, ..job(Executing) });
        only(&check(&sample.trace()), "Bandwidth of job");
    }
}
