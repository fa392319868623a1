//! Real time against revisions: what was acknowledged before a call is in its answer, and no stale answer is older than
//! it says.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Operation, Outcome, Promise, Request};
use std::collections::BTreeMap;

const CHECKER: &str = "order";
/// Ages are told in whole milliseconds.
const AGE_ROUNDING_US: u64 = 2_000;

/// Every operation against those that ended before it began.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let each = trace.operations.iter().filter_map(|operation| {
        // A call that was given up answers nothing; the revision beside its status only says how far its node was.
        let revision = operation.revision.filter(|_| !matches!(operation.outcome, Outcome::Unknown(..)))?;
        match operation.promise {
            Promise::Write | Promise::Linearizable => fresh(trace, operation, revision),
            Promise::Stale => as_old_as_told(trace, operation, revision),
            Promise::Local => None,
        }
        .or_else(|| waited(operation, revision))
    });
    each.chain(watches(trace)).collect()
}

fn fresh(trace: &Trace<'_>, operation: &Operation, revision: u64) -> Option<Violation> {
    let (before, by) = trace.committed_before(operation.called_us)?;
    // What changes a job has an entry of its own, behind everything that was committed before.
    let own_entry = matches!(
        operation.request,
        Request::Cancel(_) | Request::Pause(_) | Request::Resume(_) | Request::Update { .. }
    );
    let in_order = if own_entry { revision > before } else { revision >= before };
    let sentence = format!("an answer at revision {revision} came after one at revision {before} had ended");
    (!in_order).then(|| Violation::new(CHECKER, sentence, &[by, operation]))
}

fn as_old_as_told(trace: &Trace<'_>, operation: &Operation, revision: u64) -> Option<Violation> {
    let Some(age_ms) = operation.staleness_ms else {
        return Some(Violation::new(CHECKER, "a stale answer does not say how old it is".to_owned(), &[operation]));
    };
    let age_us = age_ms.saturating_mul(1_000).saturating_add(AGE_ROUNDING_US);
    let (before, by) = trace.committed_before(operation.called_us.saturating_sub(age_us))?;
    let sentence = format!("a stale answer says {age_ms} ms, but lacks revision {before}, which was told before that");
    (revision < before).then(|| Violation::new(CHECKER, sentence, &[by, operation]))
}

fn waited(operation: &Operation, revision: u64) -> Option<Violation> {
    let wanted = operation.revision_min?;
    let sentence = format!("an answer at revision {revision} was to wait for {wanted}");
    (revision < wanted).then(|| Violation::new(CHECKER, sentence, &[operation]))
}

/// The revisions of one watch only grow.
fn watches(trace: &Trace<'_>) -> Vec<Violation> {
    let mut last: BTreeMap<(&str, u64, i64), &Operation> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in trace.operations {
        let Request::Watch(job, _) = operation.request else { continue };
        if !operation.is_ok() {
            continue;
        }
        let before = last.insert((&operation.client, operation.called_us, job), operation);
        if let Some(before) = before.filter(|before| before.revision >= operation.revision) {
            let sentence = format!("a watch of job {job} went backwards");
            violations.push(Violation::new(CHECKER, sentence, &[before, operation]));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Sample, only};
    use super::*;

    #[test]
    fn answers_in_order_are_accepted() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5);
        sample.get_job(2, 5, 15, 4);
        sample.get_job(2, 20, 30, 5);
        sample.stale_job(3, 1_000, 1_010, 4, 995);
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_read_that_began_after_a_later_one_had_ended_is_noticed() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5);
        sample.get_job(2, 20, 30, 4);
        only(&check(&sample.trace()), "revision 4 came after one at revision 5");
    }

    #[test]
    fn a_node_that_gave_a_call_up_may_be_behind() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5);
        let gave_up = Outcome::Unknown(tonic::Code::Unavailable, "no read index in time".to_owned());
        sample.get_job(2, 20, 30, 4).outcome = gave_up;
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_write_without_an_entry_of_its_own_is_noticed() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5);
        sample.pause(2, 20, 30, 5);
        only(&check(&sample.trace()), "revision 5 came after one at revision 5");
    }

    #[test]
    fn a_stale_answer_that_is_older_than_it_says_is_noticed() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5);
        sample.stale_job(2, 1_000, 1_010, 4, 995);
        assert_eq!(check(&sample.trace()), []);
        sample.stale_job(2, 1_000, 1_010, 4, 900);
        only(&check(&sample.trace()), "says 900 ms, but lacks revision 5");
    }

    #[test]
    fn an_answer_before_the_revision_it_was_to_wait_for_is_noticed() {
        let mut sample = Sample::new();
        sample.get_job(1, 0, 10, 5).revision_min = Some(6);
        only(&check(&sample.trace()), "was to wait for 6");
    }

    #[test]
    fn a_watch_that_goes_backwards_is_noticed() {
        let mut sample = Sample::new();
        sample.watched(1, 0, 10, 5, 0);
        sample.watched(1, 0, 20, 4, 1);
        only(&check(&sample.trace()), "went backwards");
    }
}
