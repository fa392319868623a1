//! Watches and waits end with the end of their job: whoever relies on one misses no final state.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Operation, Request, is_live};
use std::collections::BTreeMap;

const CHECKER: &str = "watches";

/// Every watch and every wait that ended well.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut last: BTreeMap<(&str, u64, i64), &Operation> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in trace.operations.iter().filter(|operation| operation.is_ok()) {
        match operation.request {
            Request::Watch(job, _) => {
                last.insert((&operation.client, operation.called_us, job), operation);
            }
            Request::WatchEnd(job, _) => {
                let shown = last.remove(&(&*operation.client, operation.called_us, job));
                violations.extend(ended_early(trace, job, shown, operation));
            }
            Request::Wait(job) if operation.jobs().any(|fact| is_live(fact.state)) => {
                let sentence = format!("a wait for the end of job {job} was answered while it lives");
                violations.push(Violation::new(CHECKER, sentence, &[operation]));
            }
            _ => {}
        }
    }
    violations
}

/// A watch ends by itself only after a final state, or when its job was collected before the node looked again.
fn ended_early(trace: &Trace<'_>, job: i64, shown: Option<&Operation>, end: &Operation) -> Option<Violation> {
    let Some(shown) = shown else {
        let sentence = format!("a watch of job {job} ended without a state");
        return Some(Violation::new(CHECKER, sentence, &[end]));
    };
    let lives = shown.jobs().any(|fact| is_live(fact.state));
    let retention_us = trace.submission(job).map_or(0, |submission| submission.retention_ms()) * 1_000;
    let collected = end.returned_us.saturating_sub(shown.called_us) >= retention_us;
    let sentence = format!("a watch of job {job} ended without its final state");
    (lives && !collected).then(|| Violation::new(CHECKER, sentence, &[shown, end]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only};
    use super::*;
    use crate::traffic::history::Answer;
    use ferry_proto::v1::JobState::{Completed, Executing};

    fn watch(end_ms: u64, states: &[ferry_proto::v1::JobState]) -> Vec<Violation> {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        for (shown, state) in states.iter().enumerate() {
            let at = shown as u64 + 10;
            let request = Request::Watch(JOB, u32::try_from(shown).expect("few"));
            sample.add(1, request, (5, at), at, Answer::Job(job(*state)));
        }
        sample.add(1, Request::WatchEnd(JOB, 0), (5, end_ms), 0, Answer::None);
        check(&sample.trace())
    }

    #[test]
    fn a_watch_that_shows_the_end_is_accepted() {
        assert_eq!(watch(20, &[Executing, Completed]), []);
    }

    #[test]
    fn a_watch_whose_job_was_collected_meanwhile_is_accepted() {
        assert_eq!(watch(20_000, &[Executing]), []);
    }

    #[test]
    fn a_watch_that_ends_before_its_job_is_noticed() {
        only(&watch(20, &[Executing]), "ended without its final state");
        only(&watch(20, &[]), "ended without a state");
    }

    #[test]
    fn a_wait_that_is_answered_too_early_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.add(1, Request::Wait(JOB), (10, 20), 6, Answer::Job(job(Executing)));
        only(&check(&sample.trace()), "was answered while it lives");
    }
}
