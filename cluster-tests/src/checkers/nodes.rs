//! Nodes by themselves: their terms only grow, through restarts too; a term has one leader; and the rows of all nodes
//! hold every invariant and are the same at the same revision.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Answer, Operation};
use std::collections::BTreeMap;

const TERMS: &str = "terms";
const ROWS: &str = "rows";

/// Terms and leaders.
pub(crate) fn terms(trace: &Trace<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut highest: BTreeMap<u64, (u64, &Operation)> = BTreeMap::new();
    let mut leaders: BTreeMap<u64, (u64, &Operation)> = BTreeMap::new();
    let mut looks: Vec<&Operation> = trace.operations.iter().map(|operation| &**operation).collect();
    looks.sort_by_key(|operation| operation.called_us);
    for operation in looks {
        let Answer::Status { term, leader, .. } = operation.answer else { continue };
        let (known, by) = *highest.entry(operation.node).or_insert((term, operation));
        if known > term && by.returned_us < operation.called_us {
            let sentence = format!("the term of node {} went back from {known} to {term}", operation.node);
            violations.push(Violation::new(TERMS, sentence, &[by, operation]));
        }
        if term >= known {
            highest.insert(operation.node, (term, operation));
        }
        if leader != 0 {
            let (first, by) = *leaders.entry(term).or_insert((leader, operation));
            if first != leader {
                let sentence = format!("term {term} has two leaders, nodes {first} and {leader}");
                violations.push(Violation::new(TERMS, sentence, &[by, operation]));
            }
        }
    }
    violations
}

/// Invariants and digests.
pub(crate) fn rows(trace: &Trace<'_>) -> Vec<Violation> {
    let mut told: BTreeMap<u64, (u64, &Option<String>, &Operation)> = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in trace.operations {
        let Answer::Check { violations: broken, rows, digest } = &operation.answer else { continue };
        if let Some(broken) = broken.first() {
            let sentence = format!("an invariant does not hold on node {}: {broken}", operation.node);
            violations.push(Violation::new(ROWS, sentence, &[operation]));
        }
        let Some(revision) = operation.revision else { continue };
        let (known_rows, known_digest, by) = *told.entry(revision).or_insert((*rows, digest, operation));
        if (known_rows, known_digest) != (*rows, digest) {
            let sentence = format!("two nodes have other rows at revision {revision}");
            violations.push(Violation::new(ROWS, sentence, &[by, operation]));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Sample, only};
    use super::*;
    use crate::traffic::history::Request;

    fn status(sample: &mut Sample, node: u64, at: u64, term: u64, leader: u64) {
        let answer = Answer::Status { term, leader, applied: 0 };
        sample.add(node, Request::Status, (at, at + 1), at, answer);
    }

    fn checked(sample: &mut Sample, node: u64, revision: u64, digest: u64) -> &mut Operation {
        let answer = Answer::Check { violations: Vec::new(), rows: 5, digest: Some(digest.to_string()) };
        sample.add(node, Request::Check, (0, 1), revision, answer)
    }

    #[test]
    fn terms_that_grow_with_one_leader_each_are_accepted() {
        let mut sample = Sample::new();
        status(&mut sample, 1, 0, 3, 1);
        status(&mut sample, 2, 5, 2, 0);
        status(&mut sample, 1, 10, 4, 2);
        assert_eq!(terms(&sample.trace()), []);
    }

    #[test]
    fn a_vote_that_a_restart_forgot_is_noticed() {
        let mut sample = Sample::new();
        status(&mut sample, 1, 0, 3, 0);
        status(&mut sample, 1, 10, 2, 0);
        only(&terms(&sample.trace()), "went back from 3 to 2");
    }

    #[test]
    fn two_leaders_of_one_term_are_noticed() {
        let mut sample = Sample::new();
        status(&mut sample, 1, 0, 3, 1);
        status(&mut sample, 2, 10, 3, 2);
        only(&terms(&sample.trace()), "term 3 has two leaders");
    }

    #[test]
    fn the_same_rows_at_the_same_revision_are_accepted() {
        let mut sample = Sample::new();
        checked(&mut sample, 1, 7, 1);
        checked(&mut sample, 2, 7, 1);
        checked(&mut sample, 2, 8, 2);
        assert_eq!(rows(&sample.trace()), []);
    }

    #[test]
    fn rows_that_differ_and_invariants_that_do_not_hold_are_noticed() {
        let mut sample = Sample::new();
        checked(&mut sample, 1, 7, 1);
        checked(&mut sample, 2, 7, 2);
        only(&rows(&sample.trace()), "other rows at revision 7");
        let mut sample = Sample::new();
        checked(&mut sample, 1, 7, 1).answer =
            Answer::Check { violations: vec!["a counter is wrong".to_owned()], rows: 5, digest: None };
        only(&rows(&sample.trace()), "a counter is wrong");
    }
}
