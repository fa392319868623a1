//! Recounts everything from scratch: what must hold between rows, whatever commands made them.
//!
//! Every row is looked at, in pages; what it implies is computed anew and compared with what is stored. A clean answer
//! is an empty one. Tests run this after every command, nodes in the background and on request.

mod cluster;
mod events;
mod indexes;
mod jobs;
mod segments;
mod tasks;

use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::key::{DueItem, Key, Stage};
use crate::read;
use crate::row::Row;
use crate::tables::Read;
use crate::time::Time;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The row that is wrong, or that another one misses.
    pub key: Key,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.key, self.problem)
    }
}

/// Everything that is wrong, in the order in which it was found.
pub fn check(read: &dyn Read) -> Vec<Violation> {
    let mut findings = Findings::default();
    let Some(cluster) = read::cluster(read) else {
        if let Some((key, _)) = Rows::new(read, Key::Cluster, last_key()).next() {
            findings.add(key, "exists although the cluster has no row");
        }
        return findings.violations;
    };
    let view = View { read, cluster };
    jobs::check(&view, &mut findings);
    segments::check(&view, &mut findings);
    cluster::check(&view, &mut findings);
    indexes::check(&view, &mut findings);
    events::check(&view, &mut findings);
    findings.violations
}

/// What is checked.
struct View<'a> {
    read: &'a dyn Read,
    cluster: crate::row::Cluster,
}

/// What was found.
#[derive(Default)]
struct Findings {
    violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, key: Key, problem: impl Into<String>) {
        self.violations.push(Violation { key, problem: problem.into() });
    }

    fn expect(&mut self, holds: bool, key: &Key, problem: &str) {
        if !holds {
            self.add(key.clone(), problem);
        }
    }

    fn equal<T: PartialEq + fmt::Debug>(&mut self, key: &Key, what: &str, stored: &T, counted: &T) {
        if stored != counted {
            self.add(key.clone(), format!("{what} is stored as {stored:?}, and counted as {counted:?}"));
        }
    }
}

/// Rows of a range, read page by page.
struct Rows<'a> {
    read: &'a dyn Read,
    from: Bound<Key>,
    to: Key,
    page: VecDeque<(Key, Row)>,
}

impl<'a> Rows<'a> {
    fn new(read: &'a dyn Read, from: Key, to: Key) -> Self {
        Self { read, from: Bound::Included(from), to, page: VecDeque::new() }
    }

    fn jobs(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Job(JobId(i64::MIN)), Key::Task(TaskId(i64::MIN)))
    }

    fn tasks(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Task(TaskId(i64::MIN)), Key::Targets(SegmentId(i64::MIN)))
    }

    fn targets(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Targets(SegmentId(i64::MIN)), Key::JobTargets(JobId(i64::MIN), SegmentId(i64::MIN)))
    }

    fn mappings(read: &'a dyn Read) -> Self {
        Self::new(read, Key::JobTargets(JobId(i64::MIN), SegmentId(i64::MIN)), Key::Request(String::new()))
    }

    fn mappings_of(read: &'a dyn Read, job: JobId) -> Self {
        let next = JobId(job.0.saturating_add(1));
        Self::new(read, Key::JobTargets(job, SegmentId(i64::MIN)), Key::JobTargets(next, SegmentId(i64::MIN)))
    }

    fn requests(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Request(String::new()), Key::Worker(WorkerId(i64::MIN)))
    }

    fn workers(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Worker(WorkerId(i64::MIN)), Key::WorkerName(String::new()))
    }

    fn worker_names(read: &'a dyn Read) -> Self {
        Self::new(read, Key::WorkerName(String::new()), Key::Stage(Stage::CreatingTasks, JobId(i64::MIN)))
    }

    fn indexes(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Stage(Stage::CreatingTasks, JobId(i64::MIN)), Key::Event(EventId::FIRST))
    }

    fn events(read: &'a dyn Read) -> Self {
        Self::new(read, Key::Event(EventId::FIRST), last_key())
    }
}

impl Iterator for Rows<'_> {
    type Item = (Key, Row);

    fn next(&mut self) -> Option<(Key, Row)> {
        if self.page.is_empty() {
            self.page = self.read.scan(self.from.clone(), &self.to, PAGE_ROWS).into();
        }
        let (key, row) = self.page.pop_front()?;
        self.from = Bound::Excluded(key.clone());
        Some((key, row))
    }
}

/// Ends the last table; no event has this id.
fn last_key() -> Key {
    Key::Event(EventId::END)
}

/// The row from which an index entry must follow; `None` for keys that are no index.
fn source_of(key: &Key) -> Option<Key> {
    match key {
        Key::Stage(_, job) | Key::Due(_, DueItem::Job(job)) | Key::Dispatch(_, job) => Some(Key::Job(*job)),
        Key::Due(_, DueItem::Request(id)) => Some(Key::Request(id.clone())),
        Key::Queue(_, _, task) | Key::Assignment(_, task) => Some(Key::Task(*task)),
        Key::LostWorker(worker) => Some(Key::Worker(*worker)),
        Key::Cluster
        | Key::Job(_)
        | Key::Task(_)
        | Key::Targets(_)
        | Key::JobTargets(..)
        | Key::Request(_)
        | Key::Worker(_)
        | Key::WorkerName(_)
        | Key::Event(_) => None,
    }
}

/// Whether a moment has come.
fn come(view: &View<'_>, at: Time) -> bool {
    at <= view.cluster.now
}
