//! Lists in pages, ordered by id: a page may be short or empty, and only the lack of a `next` ends a list.

use super::segments::{self, Holder, Segment};
use crate::derive;
use crate::id::{JobId, SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::read;
use crate::row::{Job, Row, Task, Worker};
use crate::tables::Read;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Id> {
    /// What was found among the rows that were looked at.
    pub items: Vec<T>,
    /// Where the next page goes on: after this id; `None` at the end of the list.
    pub next: Option<Id>,
}

impl<T, Id> Page<T, Id> {
    fn new(items: Vec<T>, rows: usize, rows_max: usize, last: Option<Id>) -> Self {
        Self { items, next: last.filter(|_| rows >= rows_max) }
    }
}

/// Jobs after one of them.
pub fn list_jobs(read: &dyn Read, after: JobId, rows_scanned_max: usize) -> Page<Job, JobId> {
    let rows = read.scan(Bound::Excluded(Key::Job(after)), &Key::Task(TaskId(i64::MIN)), rows_scanned_max);
    let count = rows.len();
    let jobs: Vec<Job> = rows
        .into_iter()
        .filter_map(|(_, row)| {
            let Row::Job(job) = row else { return None };
            Some(*job)
        })
        .collect();
    let last = jobs.last().map(|job| job.id);
    Page::new(jobs.into_iter().filter(|job| !derive::hidden(job)).collect(), count, rows_scanned_max, last)
}

/// Tasks of a job after one of them.
pub fn list_tasks(read: &dyn Read, job: &Job, after: TaskId, rows_scanned_max: usize) -> Page<Task, TaskId> {
    let from = TaskId(after.0.saturating_add(1)).max(job.first_task);
    let tasks = read::tasks(read, from, read::tasks_end(job), rows_scanned_max);
    let (count, last) = (tasks.len(), tasks.last().map(|task| task.id));
    Page::new(tasks, count, rows_scanned_max, last)
}

/// Segments after one of them, over all jobs.
pub fn list_segments(read: &dyn Read, after: SegmentId, segments_max: usize) -> Page<Segment, SegmentId> {
    let mut holders: BTreeMap<JobId, Option<Holder>> = BTreeMap::new();
    let runs = read::targets_after(read, after, segments_max);
    let ids = runs.iter().flat_map(|(last, targets)| {
        let first = targets.first.max(read::next_target(after));
        (first.0..=last.0).map(move |id| (SegmentId(id), targets))
    });
    let (mut count, mut last) = (0, None);
    let mut items = Vec::new();
    for (id, targets) in ids.take(segments_max) {
        (count, last) = (count + 1, Some(id));
        items.extend(match targets.published {
            Some(_) => segments::published(targets, id),
            None => {
                let holder = holders.entry(targets.job).or_insert_with_key(|job| Holder::new(read::job(read, *job)?));
                holder.as_mut().and_then(|holder| holder.segment(read, id))
            }
        });
    }
    Page::new(items, count, segments_max, last)
}

/// Targets of a job after one of them; one that only verifies has none.
pub fn list_job_segments(
    read: &dyn Read,
    job: &Job,
    after: SegmentId,
    segments_max: usize,
) -> Page<Segment, SegmentId> {
    if derive::verifies(&job.spec) {
        return Page::new(Vec::new(), 0, segments_max, None);
    }
    let targets = read::job_targets(read, job.id, after, segments_max);
    let (count, last) = (targets.len(), targets.last().map(|(target, _)| *target));
    let segments = Holder::new(job.clone()).map_or_else(Vec::new, |mut holder| {
        targets.into_iter().map(|(target, mapping)| holder.target(read, target, mapping)).collect()
    });
    Page::new(segments, count, segments_max, last)
}

/// Workers after one of them.
pub fn list_workers(read: &dyn Read, after: WorkerId, rows_scanned_max: usize) -> Page<Worker, WorkerId> {
    let to = Key::WorkerName(String::new());
    let rows = read.scan(Bound::Excluded(Key::Worker(after)), &to, rows_scanned_max);
    let workers: Vec<Worker> = rows
        .into_iter()
        .filter_map(|(_, row)| {
            let Row::Worker(worker) = row else { return None };
            Some(*worker)
        })
        .collect();
    let (count, last) = (workers.len(), workers.last().map(|worker| worker.id));
    Page::new(workers, count, rows_scanned_max, last)
}
