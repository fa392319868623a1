//! Rows by their types, hidden ones included; a row of another kind than its key's counts as absent.

use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::row::{Cluster, Copied, Event, Job, Mapping, Request, Row, Segment, Task, TaskSegment, Worker};
use crate::tables::Read;
use crate::time::Time;
use std::ops::Bound;

/// The cluster's row.
pub(crate) fn cluster(read: &dyn Read) -> Option<Cluster> {
    let Some(Row::Cluster(cluster)) = read.get(&Key::Cluster) else { return None };
    Some(cluster)
}

/// A job's row, whatever its state.
pub(crate) fn job(read: &dyn Read, id: JobId) -> Option<Job> {
    let Some(Row::Job(job)) = read.get(&Key::Job(id)) else { return None };
    Some(*job)
}

/// A task's row.
pub(crate) fn task(read: &dyn Read, id: TaskId) -> Option<Task> {
    let Some(Row::Task(task)) = read.get(&Key::Task(id)) else { return None };
    Some(*task)
}

/// A segment's row.
pub(crate) fn segment(read: &dyn Read, id: SegmentId) -> Option<Segment> {
    let Some(Row::Segment(segment)) = read.get(&Key::Segment(id)) else { return None };
    Some(segment)
}

/// A request id's row.
pub(crate) fn request(read: &dyn Read, id: &str) -> Option<Request> {
    let Some(Row::Request(request)) = read.get(&Key::Request(id.to_owned())) else { return None };
    Some(request)
}

/// A worker's row.
pub(crate) fn worker(read: &dyn Read, id: WorkerId) -> Option<Worker> {
    let Some(Row::Worker(worker)) = read.get(&Key::Worker(id)) else { return None };
    Some(*worker)
}

/// The worker that has a name.
pub(crate) fn worker_named(read: &dyn Read, name: &str) -> Option<WorkerId> {
    let Some(Row::WorkerName(id)) = read.get(&Key::WorkerName(name.to_owned())) else { return None };
    Some(id)
}

/// Targets of a job after one of them, in order.
pub(crate) fn job_segments(
    read: &dyn Read,
    job: JobId,
    after: SegmentId,
    rows_max: usize,
) -> Vec<(SegmentId, Mapping)> {
    let from = Bound::Excluded(Key::JobSegment(job, after));
    let to = Key::JobSegment(JobId(job.0.saturating_add(1)), SegmentId(i64::MIN));
    let rows = read.scan(from, &to, rows_max);
    rows.into_iter()
        .filter_map(|entry| {
            let (Key::JobSegment(_, target), Row::Mapping(mapping)) = entry else { return None };
            Some((target, mapping))
        })
        .collect()
}

/// Says what was copied to targets of a job. One is looked for where the last one was found, then in the task behind that
/// one, then in all: targets in their order cost one read of each task.
pub(crate) struct TasksOfTargets {
    first: TaskId,
    end: TaskId,
    /// The last target that may have been copied: none behind it has a task.
    last: SegmentId,
    task: Option<Task>,
}

impl TasksOfTargets {
    pub(crate) fn new(job: &Job) -> Self {
        let last = if job.counts.segments_copied == 0 { SegmentId(0) } else { job.task_cursor };
        Self { first: job.first_task, end: tasks_end(job), last, task: None }
    }

    /// What was copied to a target; `None` before its task completed.
    pub(crate) fn copied(&mut self, read: &dyn Read, target: SegmentId) -> Option<Copied> {
        if target > self.last {
            return None;
        }
        if self.here(target).is_none() {
            let next = self.task.as_ref().map(|task| TaskId(task.id.0 + 1)).filter(|next| *next < self.end);
            self.task = next.and_then(|next| task(read, next));
        }
        if self.here(target).is_none() {
            self.task = self.search(read, target);
        }
        self.here(target)?.copied
    }

    fn here(&self, target: SegmentId) -> Option<&TaskSegment> {
        let segments = &self.task.as_ref()?.segments;
        let place = segments.binary_search_by_key(&target, |segment| segment.target).ok()?;
        segments.get(place)
    }

    /// The last task that begins at a target or before it: tasks lie in the order of their targets.
    fn search(&self, read: &dyn Read, target: SegmentId) -> Option<Task> {
        let (mut low, mut high) = (self.first.0, self.end.0);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let begins = |task: &Task| task.segments.first().is_some_and(|segment| segment.target <= target);
            match task(read, TaskId(middle)).filter(begins) {
                Some(task) => (low, found) = (middle + 1, Some(task)),
                None => high = middle,
            }
        }
        found
    }
}

/// The id behind the last task of a job that exists.
pub(crate) fn tasks_end(job: &Job) -> TaskId {
    TaskId(job.first_task.0.saturating_add_unsigned(job.counts.tasks_created))
}

/// Tasks from one id to another, the latter not included.
pub(crate) fn tasks(read: &dyn Read, from: TaskId, to: TaskId, rows_max: usize) -> Vec<Task> {
    let rows = read.scan(Bound::Included(Key::Task(from)), &Key::Task(to), rows_max);
    rows.into_iter()
        .filter_map(|(_, row)| {
            let Row::Task(task) = row else { return None };
            Some(*task)
        })
        .collect()
}

/// The queue of a job from a moment on: from when each task may be leased, the earliest first.
pub(crate) fn queue(read: &dyn Read, job: JobId, from: Time, rows_max: usize) -> Vec<(Time, TaskId)> {
    let from = Bound::Included(Key::Queue(job, from, TaskId(i64::MIN)));
    let to = Key::Queue(JobId(job.0.saturating_add(1)), Time(0), TaskId(i64::MIN));
    keys(read, from, &to, rows_max)
        .into_iter()
        .filter_map(|key| {
            let Key::Queue(_, at, task) = key else { return None };
            Some((at, task))
        })
        .collect()
}

/// Events from one on, in order.
pub(crate) fn events(read: &dyn Read, from: EventId, rows_max: usize) -> Vec<(EventId, Event)> {
    let rows = read.scan(Bound::Included(Key::Event(from)), &Key::Event(EventId::END), rows_max);
    rows.into_iter()
        .filter_map(|entry| {
            let (Key::Event(id), Row::Event(event)) = entry else { return None };
            Some((id, *event))
        })
        .collect()
}

/// What a worker has leased, in the order of task ids.
pub(crate) fn assignments(read: &dyn Read, worker: WorkerId, rows_max: usize) -> Vec<TaskId> {
    let from = Bound::Included(Key::Assignment(worker, TaskId(i64::MIN)));
    let to = Key::Assignment(WorkerId(worker.0.saturating_add(1)), TaskId(i64::MIN));
    keys(read, from, &to, rows_max)
        .into_iter()
        .filter_map(|key| {
            let Key::Assignment(_, task) = key else { return None };
            Some(task)
        })
        .collect()
}

/// Keys of a range.
pub(crate) fn keys(read: &dyn Read, from: Bound<Key>, to: &Key, rows_max: usize) -> Vec<Key> {
    read.scan(from, to, rows_max).into_iter().map(|(key, _)| key).collect()
}
