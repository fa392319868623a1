//! No two jobs hold one target at once: a job holds its targets from its submit until its clean-up is done, and for
//! ever once it is Completed.

use super::trace::{Sighting, Trace};
use super::violation::Violation;
use crate::traffic::history::is_live;
use ferry_proto::v1::{CleanupState, JobState};
use std::collections::{BTreeMap, BTreeSet};

const CHECKER: &str = "targets";

/// Revisions at which a job surely held its targets.
struct Hold<'a> {
    job: i64,
    from: Sighting<'a>,
    to: Option<Sighting<'a>>,
}

/// Every target that several jobs had.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut jobs_of: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for job in trace.jobs.keys() {
        let mappings = trace.submission(*job).map(|submission| &submission.mappings);
        for (_, target) in mappings.into_iter().flatten() {
            jobs_of.entry(*target).or_default().insert(*job);
        }
    }
    for segment in trace.operations.iter().flat_map(|operation| operation.segments()) {
        jobs_of.entry(segment.segment_id).or_default().insert(segment.job_id);
    }
    let fought_for = jobs_of.into_iter().filter(|(_, jobs)| jobs.len() > 1);
    fought_for.filter_map(|(target, jobs)| overlap(trace, target, &jobs)).collect()
}

fn overlap(trace: &Trace<'_>, target: i64, jobs: &BTreeSet<i64>) -> Option<Violation> {
    let mut holds: Vec<Hold<'_>> = jobs.iter().filter_map(|job| hold(trace, *job)).collect();
    holds.sort_by_key(|hold| hold.from.revision);
    holds.windows(2).find_map(|pair| {
        let (one, other) = (&pair[0], &pair[1]);
        let until = one.to.map_or(u64::MAX, |to| to.revision);
        let (job, second, at) = (one.job, other.job, other.from.revision);
        let sentence = format!("target {target} is held by job {job} and by job {second} at revision {at}");
        let last = one.to.unwrap_or(one.from);
        (at <= until).then(|| Violation::new(CHECKER, sentence, &[last.operation, other.from.operation]))
    })
}

/// From the first sighting to the last one that says that the job is not done with its targets.
fn hold<'a>(trace: &Trace<'a>, job: i64) -> Option<Hold<'a>> {
    let sightings = trace.jobs.get(&job)?;
    let from = *sightings.first()?;
    if sightings.iter().any(|sighting| sighting.job.state == JobState::Completed) {
        return Some(Hold { job, from, to: None });
    }
    let to = sightings.iter().rev().copied().find(|sighting| holds(sighting)).unwrap_or(from);
    Some(Hold { job, from, to: Some(to) })
}

fn holds(sighting: &Sighting<'_>) -> bool {
    match sighting.job.cleanup {
        CleanupState::Pending | CleanupState::Running | CleanupState::Kept => true,
        CleanupState::Unspecified | CleanupState::NotNeeded | CleanupState::Done | CleanupState::LeftOver => {
            is_live(sighting.job.state)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only, submission};
    use super::*;
    use crate::traffic::facts::JobFact;
    use crate::traffic::history::{Answer, Request};

    /// Another job with the same targets, submitted at a revision.
    fn second(sample: &mut Sample, revision: u64) {
        let fact = JobFact { job_id: JOB + 1, request_id: "second".into(), ..job(JobState::Pending) };
        let answer = Answer::Submitted { job: fact, already_existed: false };
        let times = (revision, revision + 1);
        sample.add(2, Request::Submit(submission("second")), times, revision, answer);
    }

    #[test]
    fn a_target_that_is_taken_over_after_the_clean_up_is_accepted() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        let failed = |cleanup| JobFact { cleanup, ..job(JobState::Failed) };
        sample.saw((6, 7), 6, failed(CleanupState::Running));
        sample.saw((8, 9), 8, failed(CleanupState::Done));
        second(&mut sample, 9);
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_target_that_is_taken_over_before_the_clean_up_is_done_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        second(&mut sample, 9);
        sample.saw((10, 11), 10, JobFact { cleanup: CleanupState::Running, ..job(JobState::Failed) });
        let violations = check(&sample.trace());
        assert!(violations.iter().all(|it| it.sentence.contains("at revision 9")), "{violations:?}");
        assert_eq!(violations.len(), 2, "one for each target");
    }

    #[test]
    fn a_visible_target_that_is_taken_over_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((6, 7), 6, job(JobState::Completed));
        second(&mut sample, 900);
        let violations = check(&sample.trace());
        only(&violations[..1], "target 50 is held by job");
    }
}
