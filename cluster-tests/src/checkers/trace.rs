//! A history in the orders in which the checkers want it: by real time, and each job by revision.

use crate::traffic::Submission;
use crate::traffic::facts::JobFact;
use crate::traffic::history::{Operation, Request};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A history, indexed.
pub(crate) struct Trace<'a> {
    /// All of it.
    pub(crate) operations: &'a [Arc<Operation>],
    /// Every submit, by its request id.
    pub(crate) submissions: BTreeMap<Arc<str>, Arc<Submission>>,
    /// What was said of each job, by revision.
    pub(crate) jobs: BTreeMap<i64, Vec<Sighting<'a>>>,
    /// Ends of operations with the highest revision answered until then.
    committed: Vec<(u64, u64, &'a Operation)>,
}

/// A job at a revision.
#[derive(Clone, Copy)]
pub(crate) struct Sighting<'a> {
    pub(crate) revision: u64,
    pub(crate) job: &'a JobFact,
    pub(crate) operation: &'a Operation,
}

impl<'a> Trace<'a> {
    pub(crate) fn of(operations: &'a [Arc<Operation>]) -> Self {
        let mut submissions = BTreeMap::new();
        let mut jobs: BTreeMap<i64, Vec<Sighting<'a>>> = BTreeMap::new();
        for operation in operations {
            if let Request::Submit(submission) = &operation.request {
                submissions.insert(Arc::clone(&submission.request_id), Arc::clone(submission));
            }
            let Some(revision) = operation.revision else { continue };
            for job in operation.jobs() {
                jobs.entry(job.job_id).or_default().push(Sighting { revision, job, operation });
            }
        }
        for sightings in jobs.values_mut() {
            sightings.sort_by_key(|sighting| sighting.revision);
        }
        Self { operations, submissions, jobs, committed: committed(operations) }
    }

    /// The highest revision that somebody had been answered before this moment, and who: it was committed by then.
    pub(crate) fn committed_before(&self, us: u64) -> Option<(u64, &'a Operation)> {
        let end = self.committed.partition_point(|(returned_us, ..)| *returned_us < us);
        let (_, revision, operation) = self.committed[..end].last()?;
        Some((*revision, operation))
    }

    /// A revision that is surely before whatever an operation changed.
    pub(crate) fn floor(&self, operation: &Operation) -> u64 {
        self.committed_before(operation.called_us).map_or(0, |(revision, _)| revision)
    }

    /// The submit that a job came from.
    pub(crate) fn submission(&self, job_id: i64) -> Option<&Arc<Submission>> {
        let sighting = self.jobs.get(&job_id)?.first()?;
        self.submissions.get(&sighting.job.request_id)
    }

    /// Every try of a submit.
    pub(crate) fn submits<'b>(&'b self, request_id: &'b str) -> impl Iterator<Item = &'a Operation> + use<'a, 'b> {
        self.operations.iter().map(|operation| &**operation).filter(move |operation| {
            matches!(&operation.request, Request::Submit(submission) if *submission.request_id == *request_id)
        })
    }
}

fn committed(operations: &[Arc<Operation>]) -> Vec<(u64, u64, &Operation)> {
    let mut ends: Vec<(u64, u64, &Operation)> = operations
        .iter()
        .filter_map(|operation| Some((operation.returned_us, operation.revision?, &**operation)))
        .collect();
    ends.sort_by_key(|(returned_us, ..)| *returned_us);
    let mut highest: Option<(u64, &Operation)> = None;
    for (_, revision, operation) in &mut ends {
        if let Some((known, by)) = highest.filter(|(known, _)| *known >= *revision) {
            (*revision, *operation) = (known, by);
        }
        highest = Some((*revision, *operation));
    }
    ends
}
