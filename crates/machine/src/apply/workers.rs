//! Workers: they register, drain, get lost and come back; what a lost one had is released in pages.

use super::attempt::{self, Ending};
use super::keep::Desk;
use super::validate::{self, invalid};
use crate::id::{TaskId, WorkerId};
use crate::key::Key;
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::{Row, Task, Worker, WorkerState};
use crate::tables::Tables;
use std::collections::BTreeMap;

/// What a worker says of itself.
pub(super) struct Registration<'a> {
    /// Unique in the cluster.
    pub(super) name: &'a str,
    /// New at each start.
    pub(super) incarnation: u64,
    /// Tasks it runs at once.
    pub(super) slots: u32,
    /// For people and filters.
    pub(super) labels: &'a BTreeMap<String, String>,
}

/// How long what a worker had may still write once it is released.
pub(super) struct Wait<'a> {
    /// Longest time its attempts may still send requests, in milliseconds.
    pub(super) writes_for_ms: u64,
    /// Longest time a remote store may carry one out after that, in milliseconds.
    pub(super) late_writes_ms: u64,
    /// Attempts of which a store has nothing to carry out.
    pub(super) settled: &'a BTreeMap<TaskId, u32>,
}

impl Wait<'_> {
    /// How long a store may carry out what the attempt that `task` has leased gave up.
    fn late_ms(&self, task: &Task) -> u64 {
        let attempt = task.lease.map(|lease| lease.attempt);
        let settled = attempt.is_some() && self.settled.get(&task.id).copied() == attempt;
        if settled { 0 } else { self.late_writes_ms }
    }
}

/// A worker is here. A new incarnation, or one that was lost, starts with nothing: what it had is released first.
pub(super) fn register(
    desk: &mut Desk<'_>,
    registration: &Registration<'_>,
    wait: &Wait<'_>,
) -> Result<Outcome, Rejection> {
    validate_registration(registration)?;
    let Some(id) = read::worker_named(&desk.rows, registration.name) else { return add(desk, registration) };
    let old = desk.worker(id)?;
    let mut worker = old.clone();
    worker.slots = registration.slots;
    worker.labels.clone_from(registration.labels);
    if old.incarnation != registration.incarnation || old.state == WorkerState::Lost {
        worker.incarnation = registration.incarnation;
        worker.registered = desk.now;
        worker.state = if old.leased == 0 { WorkerState::Active } else { WorkerState::Returning };
    }
    let returning = worker.state == WorkerState::Returning;
    desk.put_worker(Some(&old), worker);
    if returning {
        release_page(desk, id, &old.name, wait)?;
    }
    Ok(Outcome::Worker(id))
}

fn validate_registration(registration: &Registration<'_>) -> Result<(), Rejection> {
    if registration.name.is_empty() {
        return Err(invalid("name", "is empty: name the worker, so that its next start is known as the same"));
    }
    validate::bytes_at_most("name", registration.name, limits::NAME_BYTES_MAX)?;
    validate::labels("labels", registration.labels)?;
    if registration.slots == 0 || registration.slots > limits::SLOTS_PER_WORKER_MAX {
        let reason = format!("are {}: choose 1 to {}", registration.slots, limits::SLOTS_PER_WORKER_MAX);
        return Err(invalid("slots", reason));
    }
    Ok(())
}

fn add(desk: &mut Desk<'_>, registration: &Registration<'_>) -> Result<Outcome, Rejection> {
    if desk.cluster.workers >= limits::WORKERS_MAX {
        return Err(Rejection::LimitReached {
            what: "workers",
            max: limits::WORKERS_MAX,
            next_step: "start workers under the names of those that are gone",
        });
    }
    let id = WorkerId(desk.take_ids(1)?);
    desk.cluster.workers += 1;
    let worker = Worker {
        id,
        name: registration.name.to_owned(),
        incarnation: registration.incarnation,
        slots: registration.slots,
        leased: 0,
        labels: registration.labels.clone(),
        state: WorkerState::Active,
        draining: false,
        registered: desk.now,
    };
    desk.rows.put(Key::WorkerName(registration.name.to_owned()), Row::WorkerName(id));
    desk.put_worker(None, worker);
    Ok(Outcome::Worker(id))
}

/// A worker's lease ended.
pub(super) fn lose(desk: &mut Desk<'_>, id: WorkerId, incarnation: u64, wait: &Wait<'_>) -> Result<Outcome, Rejection> {
    let old = desk.worker(id)?;
    if old.incarnation != incarnation {
        return Err(Rejection::Stale("the worker was started anew"));
    }
    if old.state == WorkerState::Lost {
        return Ok(Outcome::Worker(id));
    }
    let worker = Worker { state: WorkerState::Lost, ..old.clone() };
    desk.put_worker(Some(&old), worker);
    release_page(desk, id, &old.name, wait)?;
    Ok(Outcome::Worker(id))
}

/// Releases the next page of what a lost or returning worker had.
pub(super) fn release(desk: &mut Desk<'_>, id: WorkerId, wait: &Wait<'_>) -> Result<Outcome, Rejection> {
    let worker = desk.worker(id)?;
    if worker.state == WorkerState::Active {
        return Err(Rejection::Stale("the worker is there and keeps what it has"));
    }
    if worker.leased == 0 {
        return Err(Rejection::Stale("everything was released already"));
    }
    release_page(desk, id, &worker.name, wait)?;
    Ok(Outcome::Worker(id))
}

fn release_page(desk: &mut Desk<'_>, id: WorkerId, name: &str, wait: &Wait<'_>) -> Result<(), Rejection> {
    for task in read::assignments(&desk.rows, id, limits::RELEASES_PER_PAGE) {
        let task = desk.task(task)?;
        attempt::end(desk, &task, &Ending::Lost { writes_for_ms: wait.writes_for_ms, name }, wait.late_ms(&task))?;
    }
    Ok(())
}

/// A draining worker finishes what it has and gets nothing new.
pub(super) fn drain(desk: &mut Desk<'_>, id: WorkerId, draining: bool) -> Result<Outcome, Rejection> {
    let old = desk.worker(id)?;
    let worker = Worker { draining, ..old.clone() };
    desk.put_worker(Some(&old), worker);
    Ok(Outcome::Worker(id))
}
