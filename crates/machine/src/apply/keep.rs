//! The desk at which one command works: rows go out and come back here alone, so that every index entry and every
//! counter stays a function of the rows it is derived from.

use super::overlay::Overlay;
use crate::derive;
use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::outcome::Rejection;
use crate::read;
use crate::row::{Cluster, Job, Mapping, Request, Row, Targets, Task, Worker, WorkerState};
use crate::tables::Tables;
use crate::time::Stamp;
use crate::transition;

/// What one command reads and changes.
pub(super) struct Desk<'a> {
    /// The rows, with this command's changes.
    pub(super) rows: Overlay<'a>,
    /// The cluster's row, written back at the end.
    pub(super) cluster: Cluster,
    /// When the command happens; cluster time never goes back.
    pub(super) now: Stamp,
    /// The log index of the command's entry; it never goes back either.
    pub(super) revision: u64,
}

impl Desk<'_> {
    /// Writes everything that the command changed.
    pub(super) fn commit(self) {
        let Self { mut rows, cluster, .. } = self;
        rows.put(Key::Cluster, Row::Cluster(cluster));
        rows.flush();
    }

    /// A job that users see.
    pub(super) fn job(&self, id: JobId) -> Result<Job, Rejection> {
        read::job(&self.rows, id).filter(|job| !derive::hidden(job)).ok_or(Rejection::JobNotFound(id))
    }

    /// A task.
    pub(super) fn task(&self, id: TaskId) -> Result<Task, Rejection> {
        read::task(&self.rows, id).ok_or(Rejection::TaskNotFound(id))
    }

    /// A worker.
    pub(super) fn worker(&self, id: WorkerId) -> Result<Worker, Rejection> {
        read::worker(&self.rows, id).ok_or(Rejection::WorkerNotFound(id))
    }

    /// Takes consecutive ids that nobody has.
    pub(super) fn take_ids(&mut self, count: u64) -> Result<i64, Rejection> {
        let first = self.cluster.next_id;
        let next = i64::try_from(count).ok().and_then(|count| first.checked_add(count));
        self.cluster.next_id = next.ok_or(Rejection::LimitReached {
            what: "ids",
            max: i64::MAX.unsigned_abs(),
            next_step: "this cluster has used up its ids; start another one",
        })?;
        Ok(first)
    }

    /// Writes a job: its row, its index entries, what it counts for in the cluster, and what users are told.
    pub(super) fn put_job(&mut self, old: Option<&Job>, mut new: Job) {
        let dispatched = old.and_then(derive::dispatch_of).is_some();
        if !dispatched && derive::dispatch_of(&new).is_some() {
            // A job that had nothing to run must not make up for it now, or it would have all the workers for a while.
            new.pass = new.pass.max(self.cluster.pass);
        }
        self.count_job(old, Some(&new));
        self.tell(old, Some(&new));
        self.reindex(&old.map(derive::job_indexes).unwrap_or_default(), &derive::job_indexes(&new));
        self.rows.put(Key::Job(new.id), Row::Job(Box::new(new)));
    }

    /// Removes a job's row with its index entries.
    pub(super) fn delete_job(&mut self, old: &Job) {
        self.count_job(Some(old), None);
        self.tell(Some(old), None);
        self.reindex(&derive::job_indexes(old), &[]);
        self.rows.delete(&Key::Job(old.id));
    }

    /// Writes a task with its index entries, and moves its job's counters; the job is still to be put.
    pub(super) fn put_task(&mut self, old: Option<&Task>, new: Task, job: &mut Job) {
        job.counts =
            derive::totals_moved(job.counts, old.map(derive::totals_of).unwrap_or_default(), derive::totals_of(&new));
        let (remaining, left_over) = old.map(derive::clean_ups_of).unwrap_or_default();
        let (remaining_now, left_over_now) = derive::clean_ups_of(&new);
        job.clean_up_remaining = (job.clean_up_remaining + remaining_now).saturating_sub(remaining);
        job.clean_up_left_over = (job.clean_up_left_over + left_over_now).saturating_sub(left_over);
        debug_assert!(
            new.queued_at.is_none()
                || new.queued_at == old.and_then(|old| old.queued_at)
                || new.queued_at >= Some(self.now.at),
            "who plans on looks for nothing before the present: {new:?}"
        );
        let holder = |task: &Task| task.lease.map(|lease| lease.worker);
        let (held_by, holds) = (old.and_then(holder), holder(&new));
        if held_by != holds {
            self.count_lease(held_by, false);
            self.count_lease(holds, true);
        }
        self.reindex(&old.map(derive::task_indexes).unwrap_or_default(), &derive::task_indexes(&new));
        self.rows.put(Key::Task(new.id), Row::Task(Box::new(new)));
    }

    /// Gives a job some consecutive targets that nobody holds, unless there are none; one that only verifies lists them.
    pub(super) fn put_run(&mut self, job: &Job, last: SegmentId, mappings: Vec<Mapping>) {
        if mappings.is_empty() {
            return;
        }
        if !derive::verifies(&job.spec) {
            let targets = Targets { job: job.id, first: read::first_of(last, mappings.len()), published: None };
            self.rows.put(Key::Targets(last), Row::Targets(targets));
        }
        self.rows.put(Key::JobTargets(job.id, last), Row::Mappings(mappings));
    }

    /// Takes the lock on a target from a job that gave it up, which keeps those on the rest of the run up to `last`.
    pub(super) fn take_over(&mut self, target: SegmentId, last: SegmentId, held: Targets) {
        self.rows.delete(&Key::Targets(last));
        if target < last {
            let behind = Targets { first: read::next_target(target), ..held.clone() };
            self.rows.put(Key::Targets(last), Row::Targets(behind));
        }
        if held.first < target {
            self.rows.put(Key::Targets(SegmentId(target.0 - 1)), Row::Targets(held));
        }
    }

    /// Writes a worker with its index entries.
    pub(super) fn put_worker(&mut self, old: Option<&Worker>, new: Worker) {
        self.reindex(&old.map(derive::worker_indexes).unwrap_or_default(), &derive::worker_indexes(&new));
        self.rows.put(Key::Worker(new.id), Row::Worker(Box::new(new)));
    }

    /// Writes, or with `None` removes, what a request id stands for.
    pub(super) fn put_request(&mut self, id: &str, new: Option<Request>) {
        let indexes = |request: &Request| derive::request_indexes(id, request);
        let old = read::request(&self.rows, id);
        self.reindex(&old.as_ref().map(indexes).unwrap_or_default(), &new.as_ref().map(indexes).unwrap_or_default());
        match new {
            Some(request) => self.rows.put(Key::Request(id.to_owned()), Row::Request(request)),
            None => self.rows.delete(&Key::Request(id.to_owned())),
        }
    }

    /// Writes an event for each transition of a job.
    fn tell(&mut self, old: Option<&Job>, new: Option<&Job>) {
        for event in transition::events(old, new, self.now) {
            let events = &mut self.cluster.events;
            let first_of_revision = events.last.revision < self.revision;
            events.last = if first_of_revision { EventId::at(self.revision) } else { events.last.next() };
            events.kept = events.kept.saturating_add(1);
            self.rows.put(Key::Event(events.last), Row::Event(Box::new(event)));
        }
    }

    fn count_job(&mut self, old: Option<&Job>, new: Option<&Job>) {
        let jobs = |job: Option<&Job>| job.map(derive::counts_of).unwrap_or_default();
        let tasks = |job: Option<&Job>| job.map(derive::task_counts_of).unwrap_or_default();
        self.cluster.jobs = derive::jobs_moved(self.cluster.jobs, jobs(old), jobs(new));
        self.cluster.tasks = derive::tasks_moved(self.cluster.tasks, tasks(old), tasks(new));
    }

    fn count_lease(&mut self, worker: Option<WorkerId>, more: bool) {
        let Some(old) = worker.and_then(|id| read::worker(&self.rows, id)) else { return };
        let mut new = old.clone();
        new.leased = if more { old.leased.saturating_add(1) } else { old.leased.saturating_sub(1) };
        if new.leased == 0 && new.state == WorkerState::Returning {
            new.state = WorkerState::Active;
        }
        self.put_worker(Some(&old), new);
    }

    fn reindex(&mut self, old: &[Key], new: &[Key]) {
        old.iter().filter(|key| !new.contains(key)).for_each(|key| self.rows.delete(key));
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.rows.put(key.clone(), Row::Index);
        }
    }
}

/// Writes nothing but the clock: what a rejected command leaves.
pub(super) fn put_clock(tables: &mut dyn Tables, cluster: Cluster) {
    tables.put(Key::Cluster, Row::Cluster(cluster));
}
