//! Rows by their types, hidden ones included; a row of another kind than its key's counts as absent.

use crate::derive;
use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::limits::TARGETS_PER_RUN_MAX;
use crate::row::{
    Cluster, Copied, Event, Job, Mapping, Published, PublishedSegment, Request, Row, Targets, Task, TaskSegment, Worker,
};
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

/// Rows of runs that are read at once.
const RUNS_AT_ONCE: usize = 128;

/// The first of some consecutive targets, of which the last is known.
pub(crate) fn first_of(last: SegmentId, count: usize) -> SegmentId {
    SegmentId(last.0.saturating_sub_unsigned(count as u64).saturating_add(1))
}

/// The targets of a run of mappings, of which the last is known, with where each comes from.
pub(crate) fn targets_of_run(
    last: SegmentId,
    mappings: Vec<Mapping>,
) -> impl Iterator<Item = (SegmentId, Mapping)> + use<> {
    let first = first_of(last, mappings.len());
    (first.0..).map(SegmentId).zip(mappings)
}

/// The target behind one.
pub(crate) fn next_target(target: SegmentId) -> SegmentId {
    SegmentId(target.0.saturating_add(1))
}

/// Runs of targets that jobs hold or published, each with its last target: those that share a target with the range from
/// `first` to `last`.
pub(crate) fn targets_between(
    read: &dyn Read,
    first: SegmentId,
    last: SegmentId,
    rows_max: usize,
) -> Vec<(SegmentId, Targets)> {
    let to = Key::Targets(SegmentId(last.0.saturating_add_unsigned(TARGETS_PER_RUN_MAX as u64)));
    let rows = read.scan(Bound::Included(Key::Targets(first)), &to, rows_max);
    rows.into_iter()
        .filter_map(|entry| {
            let (Key::Targets(end), Row::Targets(targets)) = entry else { return None };
            (targets.first <= last).then_some((end, targets))
        })
        .collect()
}

/// The run that a target is in, with its last target.
pub(crate) fn targets_with(read: &dyn Read, target: SegmentId) -> Option<(SegmentId, Targets)> {
    targets_between(read, target, target, 1).pop()
}

/// Runs of targets over all jobs that reach beyond a target, in order, until they have so many targets behind it.
pub(crate) fn targets_after(read: &dyn Read, after: SegmentId, targets_max: usize) -> Vec<(SegmentId, Targets)> {
    let to = Key::JobTargets(JobId(i64::MIN), SegmentId(i64::MIN));
    runs(read, Key::Targets(next_target(after)), &to, after, targets_max)
        .into_iter()
        .filter_map(|entry| {
            let (Key::Targets(last), Row::Targets(targets)) = entry else { return None };
            Some((last, targets))
        })
        .collect()
}

/// Runs of a job's mappings, each with its last target, that reach beyond a target, in order, until they have so many
/// targets behind it.
fn job_runs_after(read: &dyn Read, job: JobId, after: SegmentId, targets_max: usize) -> Vec<(SegmentId, Vec<Mapping>)> {
    let to = Key::JobTargets(JobId(job.0.saturating_add(1)), SegmentId(i64::MIN));
    runs(read, Key::JobTargets(job, next_target(after)), &to, after, targets_max)
        .into_iter()
        .filter_map(|entry| {
            let (Key::JobTargets(_, last), Row::Mappings(mappings)) = entry else { return None };
            Some((last, mappings))
        })
        .collect()
}

/// Rows of runs, in order, until these have so many targets behind one. At first as many rows are read as are needed if
/// each has as many targets as it can, then more at a time.
fn runs(read: &dyn Read, from: Key, to: &Key, after: SegmentId, targets_max: usize) -> Vec<(Key, Row)> {
    let mut found = Vec::new();
    let (mut from, mut targets, mut rows_max) = (Bound::Included(from), 0, 0);
    while targets < targets_max {
        let left = targets_max - targets;
        rows_max = left.div_ceil(TARGETS_PER_RUN_MAX).max(2 * rows_max).min(left).min(RUNS_AT_ONCE);
        let rows = read.scan(from, to, rows_max);
        let at_end = rows.len() < rows_max;
        targets += rows.iter().map(|entry| targets_behind(after, entry)).sum::<usize>();
        found.extend(rows);
        match found.last() {
            Some((last, _)) if !at_end => from = Bound::Excluded(last.clone()),
            _ => break,
        }
    }
    found
}

fn targets_behind(after: SegmentId, (key, row): &(Key, Row)) -> usize {
    let (Key::Targets(last) | Key::JobTargets(_, last)) = key else { return 0 };
    let first = match row {
        Row::Targets(targets) => targets.first,
        Row::Mappings(mappings) => first_of(*last, mappings.len()),
        Row::Cluster(_)
        | Row::Job(_)
        | Row::Task(_)
        | Row::Request(_)
        | Row::Worker(_)
        | Row::WorkerName(_)
        | Row::Index
        | Row::Event(_) => return 0,
    };
    let first = first.max(next_target(after));
    usize::try_from(last.0.saturating_sub(first.0).saturating_add(1)).unwrap_or_default()
}

/// Targets of a job after one of them, in order.
pub(crate) fn job_targets(
    read: &dyn Read,
    job: JobId,
    after: SegmentId,
    targets_max: usize,
) -> Vec<(SegmentId, Mapping)> {
    let runs = job_runs_after(read, job, after, targets_max);
    let each = runs.into_iter().flat_map(|(last, mappings)| targets_of_run(last, mappings));
    each.filter(|(target, _)| *target > after).take(targets_max).collect()
}

/// Runs of a job's mappings behind the end of one of them, each with its last target: as many whole ones as have so many
/// targets, which must be those of one run at least, and whether these are the last ones.
pub(crate) fn job_runs(
    read: &dyn Read,
    job: JobId,
    after: SegmentId,
    targets_max: usize,
) -> (Vec<(SegmentId, Vec<Mapping>)>, bool) {
    let mut runs = job_runs_after(read, job, after, targets_max);
    let count = |runs: &[(SegmentId, Vec<Mapping>)]| runs.iter().map(|(_, mappings)| mappings.len()).sum::<usize>();
    let last = count(&runs) < targets_max;
    while count(&runs) > targets_max {
        runs.pop();
    }
    (runs, last)
}

/// The first run of a job's mappings that reaches to a target, with its last target: the one that the target is in, if the
/// job lists it.
pub(crate) fn job_run_to(read: &dyn Read, job: JobId, target: SegmentId) -> Option<(SegmentId, Vec<Mapping>)> {
    job_runs_after(read, job, SegmentId(target.0.saturating_sub(1)), 1).pop()
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
        // The publication behind them has no targets.
        let end = tasks_end(job).min(derive::publication_of(job));
        Self { first: job.first_task, end, last, task: None }
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

    /// What users see of a run of targets of a job that completed.
    pub(crate) fn published(
        &mut self,
        read: &dyn Read,
        job: &Job,
        first: SegmentId,
        mappings: &[Mapping],
    ) -> Published {
        let segment = |(target, mapping): (SegmentId, &Mapping)| {
            let copied = self.copied(read, target).unwrap_or(Copied::nothing(*mapping));
            PublishedSegment { source: mapping.source, copied }
        };
        let segments = (first.0..).map(SegmentId).zip(mappings).map(segment).collect();
        Published { collection_id: job.spec.collection_id, segments }
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
