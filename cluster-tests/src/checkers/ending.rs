//! The end of a run: faults are off, and within a bound everything must heal, end and be cleaned up; what is read here
//! is part of the history like everything before.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Answer, Operation, Promise, is_live};
use crate::traffic::{Caller, History, How, Places, Shared, Submission};
use ferry_proto::v1::{CleanupState, JobState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CHECKER: &str = "liveness";
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Jobs that are asked about at once.
const JOBS_AT_ONCE: usize = 100;

/// The healed cluster: every node and every worker runs, and nothing is between them.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Client addresses by node, all of the cluster's.
    pub endpoints: BTreeMap<u64, String>,
    /// How long healing may take.
    pub bound: Duration,
    /// What lies in a store is brought from there before it is looked at.
    pub places: Option<Places>,
}

/// Reads until everything is healed, or says what is not.
pub(crate) struct Closing {
    caller: Caller,
    nodes: Vec<u64>,
    until: Instant,
    turn: usize,
    violations: Vec<Violation>,
}

impl Closing {
    pub(crate) fn new(history: &History, ending: &Ending) -> Self {
        let shared = Arc::new(Shared::new(ending.endpoints.clone(), history.clone()));
        history.operations().iter().for_each(|operation| shared.board.learn(operation));
        Self {
            caller: Caller::new(shared, "closing", 0, 0),
            nodes: ending.endpoints.keys().copied().collect(),
            until: Instant::now() + ending.bound,
            turn: 0,
            violations: Vec::new(),
        }
    }

    /// All of it.
    pub(crate) async fn run(mut self, history: &History) -> Vec<Violation> {
        let submissions = unresolved(history);
        for submission in submissions {
            self.resolve(&submission).await;
        }
        self.wait_for_ends(history).await;
        self.list_targets(history).await;
        for node in self.nodes.clone() {
            self.catch_up(node).await;
        }
        self.compare_rows().await;
        self.violations
    }

    /// The nodes in turn.
    fn next_node(&mut self) -> u64 {
        self.turn += 1;
        self.nodes.get(self.turn % self.nodes.len().max(1)).copied().unwrap_or(0)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// A submit whose outcome nobody knows is repeated until somebody does.
    async fn resolve(&mut self, submission: &Arc<Submission>) {
        while !self.is_over() {
            let node = self.next_node();
            if self.caller.submit(node, submission).await.is_some_and(|operation| !operation.is_unknown()) {
                return;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let sentence = format!("the submit {} is not answered in a healed cluster", submission.request_id);
        self.violations.push(Violation::new(CHECKER, sentence, &[]));
    }

    /// Every job ends, and is cleaned up.
    async fn wait_for_ends(&mut self, history: &History) {
        let mut open: BTreeMap<i64, Option<Arc<Operation>>> = open_jobs(history);
        while !open.is_empty() && !self.is_over() {
            let ids: Vec<i64> = open.keys().copied().collect();
            for ids in ids.chunks(JOBS_AT_ONCE) {
                let node = self.next_node();
                let Some(answer) = self.caller.get_jobs(How::linearizable(node), ids.to_vec()).await else { continue };
                if answer.is_ok() {
                    self.take(ids, &answer, &mut open).await;
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        for (job, last) in open {
            let sentence = format!("job {job} has not come to its end in a healed cluster");
            self.violations.push(Violation::new(CHECKER, sentence, last.as_deref().as_slice()));
        }
    }

    /// Takes out what has ended, and takes back pauses that were left.
    async fn take(&mut self, asked: &[i64], answer: &Arc<Operation>, open: &mut BTreeMap<i64, Option<Arc<Operation>>>) {
        let told: BTreeSet<i64> = answer.jobs().map(|job| job.job_id).collect();
        // One that is not there any more had ended.
        open.retain(|job, _| told.contains(job) || !asked.contains(job));
        for fact in answer.jobs() {
            if is_live(fact.state) && fact.paused {
                let node = self.next_node();
                self.caller.resume(node, fact.job_id).await;
            }
            let over = !is_live(fact.state)
                && matches!(fact.cleanup, CleanupState::NotNeeded | CleanupState::Done | CleanupState::LeftOver);
            if fact.cleanup == CleanupState::LeftOver {
                let sentence = format!("the clean-up of job {} was given up", fact.job_id);
                self.violations.push(Violation::new(CHECKER, sentence, &[answer]));
            }
            if over {
                open.remove(&fact.job_id);
            } else {
                open.insert(fact.job_id, Some(Arc::clone(answer)));
            }
        }
    }

    /// The targets of every job that can still be read, from any node.
    async fn list_targets(&mut self, history: &History) {
        let operations = history.operations();
        let trace = Trace::of(&operations);
        let completed = |sightings: &Vec<super::trace::Sighting<'_>>| {
            sightings.last().is_some_and(|last| last.job.state == JobState::Completed)
        };
        let jobs: Vec<i64> =
            trace.jobs.iter().filter(|(_, sightings)| completed(sightings)).map(|(job, _)| *job).collect();
        for job in jobs {
            let node = self.next_node();
            self.caller.list_segments(How::linearizable(node), job).await;
        }
    }

    /// A node answers, has everything, and holds every invariant.
    async fn catch_up(&mut self, node: u64) {
        let revision_min = Some(self.caller.shared.board.revision_max());
        let stale = How { node, promise: Promise::Stale, revision_min };
        for how in [stale, How::linearizable(node)] {
            loop {
                let checked = self.caller.check(how).await;
                if checked.as_ref().is_some_and(|checked| checked.is_ok()) {
                    break;
                }
                if self.is_over() {
                    let sentence = format!("node {node} does not catch up in a healed cluster");
                    let last: Vec<&Operation> = checked.as_deref().into_iter().collect();
                    self.violations.push(Violation::new(CHECKER, sentence, &last));
                    return;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// All nodes are asked at once, until all have answered at one revision: then their rows can be compared.
    async fn compare_rows(&mut self) {
        let mut answered: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        loop {
            let mut checks = JoinSet::new();
            for node in self.nodes.clone() {
                let mut caller = Caller::new(Arc::clone(&self.caller.shared), "closing", 0, node);
                checks.spawn(async move { (node, caller.check(How::stale(node)).await) });
            }
            while let Some(checked) = checks.join_next().await {
                let (node, checked) = checked.expect("a client does not panic");
                let revision = checked.filter(|checked| checked.is_ok()).and_then(|checked| checked.revision);
                answered.entry(revision.unwrap_or(0)).or_default().extend(revision.map(|_| node));
            }
            if answered.values().any(|nodes| nodes.len() == self.nodes.len()) {
                return;
            }
            if self.is_over() {
                let sentence = "the nodes were never seen at one revision, so their rows are not compared".to_owned();
                return self.violations.push(Violation::new(CHECKER, sentence, &[]));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Brings what lies in a store to the folders where it is looked at; what nobody should have left there.
pub(crate) async fn fetch(places: Option<Places>) -> Vec<Violation> {
    let Some(places) = places else { return Vec::new() };
    let fetched = tokio::task::spawn_blocking(move || places.fetch()).await.expect("the store answers");
    fetched.into_iter().map(|sentence| Violation::new("files", sentence, &[])).collect()
}

/// Submits without any definite answer.
fn unresolved(history: &History) -> Vec<Arc<Submission>> {
    let operations = history.operations();
    let trace = Trace::of(&operations);
    let open = |submission: &Arc<Submission>| trace.submits(&submission.request_id).all(|submit| submit.is_unknown());
    history.submissions().into_iter().filter(open).collect()
}

/// Jobs that are not known to have ended, or not to be cleaned up.
fn open_jobs(history: &History) -> BTreeMap<i64, Option<Arc<Operation>>> {
    let operations = history.operations();
    let trace = Trace::of(&operations);
    let over = |job: &crate::traffic::facts::JobFact| match job.state {
        JobState::Completed => true,
        JobState::Failed | JobState::Canceled => job.cleanup == CleanupState::Done,
        JobState::Unspecified | JobState::Pending | JobState::Executing => false,
    };
    let open = trace.jobs.iter().filter(|(_, sightings)| !sightings.iter().any(|sighting| over(sighting.job)));
    open.map(|(job, _)| (*job, None)).collect()
}

/// How many jobs came to which end, as far as anybody saw.
pub(crate) fn ends(trace: &Trace<'_>) -> BTreeMap<&'static str, u64> {
    let mut ends = BTreeMap::new();
    for sightings in trace.jobs.values() {
        let Some(last) = sightings.last() else { continue };
        *ends.entry(last.job.state.as_str_name()).or_insert(0) += 1;
    }
    ends
}

/// A check that does not compare anything compares nothing: every node was compared with every other one.
pub(crate) fn compared(trace: &Trace<'_>) -> bool {
    let digest = |operation: &Arc<Operation>| matches!(operation.answer, Answer::Check { digest: Some(_), .. });
    trace.operations.iter().any(digest)
}
