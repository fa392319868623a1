//! What the clients have heard of so far, for all of them: which jobs, targets and tasks there are to ask about.

use super::history::{Operation, is_live};
use super::submission::Submission;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Older ones are asked about no more.
const JOBS_MAX: usize = 60;
/// Live jobs are asked about this many times in a hundred.
const LIVE_PERCENT: u32 = 75;

/// A job that somebody has heard of.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) job_id: i64,
    pub(crate) live: bool,
    pub(crate) segments: Vec<i64>,
    pub(crate) tasks: Vec<i64>,
}

/// What was heard.
#[derive(Default)]
pub(crate) struct Board {
    jobs: Mutex<BTreeMap<i64, Known>>,
    revision_max: AtomicU64,
    answered: Mutex<Vec<Arc<Submission>>>,
}

impl Board {
    /// Takes in what an operation tells.
    pub(crate) fn learn(&self, operation: &Operation) {
        if let Some(revision) = operation.revision.filter(|_| operation.is_ok()) {
            self.revision_max.fetch_max(revision, Ordering::Relaxed);
        }
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for fact in operation.jobs() {
            let known = entry(&mut jobs, fact.job_id);
            known.live &= is_live(fact.state);
        }
        for fact in operation.segments() {
            note(&mut entry(&mut jobs, fact.job_id).segments, fact.segment_id);
        }
        for fact in operation.tasks() {
            note(&mut entry(&mut jobs, fact.job_id).tasks, fact.task_id);
        }
        while jobs.len() > JOBS_MAX {
            jobs.pop_first();
        }
    }

    /// Notes a submit whose job is known.
    pub(crate) fn note_answered(&self, submission: &Arc<Submission>) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.push(Arc::clone(submission));
        if answered.len() > JOBS_MAX {
            answered.remove(0);
        }
    }

    /// A submit whose job is known.
    pub(crate) fn answered(&self, random: &mut StdRng) -> Option<Arc<Submission>> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        pick(&answered, random).cloned()
    }

    /// The highest revision that anybody was answered.
    pub(crate) fn revision_max(&self) -> u64 {
        self.revision_max.load(Ordering::Relaxed)
    }

    /// A job to ask about: mostly one that has not ended.
    pub(crate) fn job(&self, random: &mut StdRng) -> Option<Known> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let live: Vec<&Known> = jobs.values().filter(|job| job.live).collect();
        let all: Vec<&Known> = jobs.values().collect();
        let from = if random.random_range(0..100) < LIVE_PERCENT && !live.is_empty() { live } else { all };
        pick(&from, random).map(|known| (*known).clone())
    }
}

fn entry(jobs: &mut BTreeMap<i64, Known>, job_id: i64) -> &mut Known {
    jobs.entry(job_id).or_insert_with(|| Known { job_id, live: true, segments: Vec::new(), tasks: Vec::new() })
}

fn note(ids: &mut Vec<i64>, id: i64) {
    if !ids.contains(&id) {
        ids.push(id);
    }
}

/// One of them.
pub(crate) fn pick<'a, T>(from: &'a [T], random: &mut StdRng) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())) }
}
