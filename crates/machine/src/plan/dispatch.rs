//! Which task next, and to whom: jobs by their pass, tasks by their time in the queue, workers by their free slots.

use super::heads::Heads;
use super::{Connected, Plan, Policy, WaitingOn};
use crate::apply::stride;
use crate::command::LeaseRef;
use crate::derive;
use crate::id::{JobId, TaskId, WorkerId};
use crate::read;
use crate::row::{Cluster, Job, Task, WorkerState};
use crate::tables::Read;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Leases what can be leased now, and says of the other jobs with queued tasks why they wait.
pub(super) fn dispatch(
    heads: &mut Heads,
    read: &dyn Read,
    now: Time,
    policy: &Policy,
    connected: &[Connected],
    plan: &mut Plan,
) {
    let Some(cluster) = read::cluster(read) else { return };
    let mut order = heads.dispatch_order(read, &cluster, policy.jobs_dispatched_max);
    let mut look = Look { read, cluster, heads };
    if order.is_empty() {
        return;
    }
    let mut workers = Workers::new(read, connected);
    let free: usize = connected.iter().map(|one| one.slots_free as usize).sum();
    let assignments_max = policy.assignments_max.min(free);
    // One more shows whether a job has tasks left that could be leased.
    let entries_max = (assignments_max.saturating_add(1), policy.assignments_max.saturating_add(1));
    let mut queues: BTreeMap<JobId, Queue> = BTreeMap::new();
    while plan.assignments.len() < assignments_max && workers.any_free() {
        let Some((pass, id)) = order.pop_first() else { return };
        let queue = match queues.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let Some(job) = read::job(read, id) else { continue };
                place.insert(Queue::new(&mut look, job, now, entries_max))
            }
        };
        match queue.assign_next(&mut look, &mut workers) {
            Ok(lease) => {
                plan.assignments.push(lease);
                order.insert((pass.saturating_add(stride(&queue.job)), id));
            }
            Err(reason) => queue.give_up(id, reason, plan),
        }
    }
    let mut ready = |id: &JobId| match queues.get(id) {
        Some(queue) => !queue.ready.is_empty(),
        None => look.heads.can_begin(read, &look.cluster, *id, now),
    };
    let next = order.iter().map(|(_, id)| *id).find(|id| ready(id));
    for (_, id) in order.into_iter().filter(|(_, id)| !queues.contains_key(id)) {
        let behind = next.filter(|next| *next != id);
        let reason = if workers.any_free() { WaitingOn::Turn { behind } } else { workers.none_free(behind) };
        plan.waiting.push((id, reason));
    }
}

/// The queues, as they are read.
struct Look<'a> {
    read: &'a dyn Read,
    cluster: Cluster,
    heads: &'a mut Heads,
}

/// What a job has in its queue, as far as a plan looks.
struct Queue {
    job: Job,
    now: Time,
    ready: VecDeque<TaskId>,
    /// The first task that is not ready, and when it will be.
    until: Option<(Time, TaskId)>,
    /// Entries that were read.
    seen: usize,
    /// Entries that are read at first, and where those do not do.
    entries_max: (usize, usize),
    /// Tasks of the job that were leased by this plan.
    leased: u64,
}

impl Queue {
    fn new(look: &mut Look<'_>, job: Job, now: Time, entries_max: (usize, usize)) -> Self {
        let mut queue = Self { job, now, ready: VecDeque::new(), until: None, seen: 0, entries_max, leased: 0 };
        queue.read_on(look, entries_max.0);
        queue
    }

    fn read_on(&mut self, look: &mut Look<'_>, entries_max: usize) {
        let entries = look.heads.queue(look.read, &look.cluster, self.job.id, entries_max);
        for (at, task) in entries.into_iter().skip(self.seen) {
            self.seen += 1;
            if at <= self.now {
                self.ready.push_back(task);
            } else if self.until.is_none() {
                self.until = Some((at, task));
            }
        }
    }

    /// The next task that could be leased.
    fn next(&mut self, look: &mut Look<'_>) -> Option<Task> {
        // Tasks that want another worker than the free ones may stand before others.
        if self.ready.is_empty() && self.seen == self.entries_max.0 {
            self.read_on(look, self.entries_max.1);
        }
        self.ready.pop_front().and_then(|id| read::task(look.read, id))
    }

    /// Leases the job's next task for which there is a worker.
    fn assign_next(&mut self, look: &mut Look<'_>, workers: &mut Workers<'_>) -> Result<LeaseRef, WaitingOn> {
        if derive::attempts_free(&self.job).is_some_and(|free| free <= self.leased) {
            let running = self.job.counts.tasks_leased + self.leased;
            return Err(WaitingOn::AttemptsAtOnce { running, limit: self.job.spec.options.attempts_at_once_max });
        }
        let mut reason = None;
        while let Some(task) = self.next(look) {
            match workers.take(&task) {
                Ok((worker, incarnation)) => {
                    self.leased += 1;
                    let attempt = task.attempt.saturating_add(1);
                    return Ok(LeaseRef { task: task.id, attempt, worker, incarnation });
                }
                Err(why) => reason = Some(why),
            }
        }
        let waits = self.until.map(|(until, task)| WaitingOn::Backoff { until, task });
        Err(reason.or(waits).unwrap_or(WaitingOn::Turn { behind: None }))
    }

    fn give_up(&self, id: JobId, reason: WaitingOn, plan: &mut Plan) {
        if let Some((until, _)) = self.until {
            plan.due_at(until);
        }
        if self.leased == 0 {
            plan.waiting.push((id, reason));
        }
    }
}

/// The connected workers by free slots; what their rows say is looked up when they are about to get a task, or when
/// tasks are about to wait for them.
pub(super) struct Workers<'a> {
    read: &'a dyn Read,
    connected: BTreeMap<WorkerId, Connected>,
    free: BTreeSet<(Reverse<u32>, WorkerId)>,
    /// Workers whose row was asked.
    known: BTreeSet<WorkerId>,
    /// Workers that take tasks, free or not, as far as is known.
    takers: BTreeSet<WorkerId>,
    /// Of those whose row was asked, the ones that drain.
    draining: u64,
}

impl<'a> Workers<'a> {
    pub(super) fn new(read: &'a dyn Read, connected: &[Connected]) -> Self {
        let free = connected.iter().filter(|one| one.slots_free > 0);
        Self {
            read,
            connected: connected.iter().map(|one| (one.worker, *one)).collect(),
            free: free.map(|one| (Reverse(one.slots_free), one.worker)).collect(),
            known: BTreeSet::new(),
            takers: connected.iter().map(|one| one.worker).collect(),
            draining: 0,
        }
    }

    /// Whether a task could go somewhere; asks the rows of workers until one can take it.
    pub(super) fn any_free(&mut self) -> bool {
        self.next_free(None).is_some()
    }

    /// Whether this worker alone has free slots while others, which are busy, could take a task too.
    pub(super) fn only_free(&mut self, worker: Option<WorkerId>) -> bool {
        self.next_free(worker).is_none() && self.any_taker(worker)
    }

    /// Why there is no free slot, for a job that another one may go before.
    pub(super) fn none_free(&mut self, behind: Option<JobId>) -> WaitingOn {
        if self.any_taker(None) {
            return WaitingOn::NoFreeSlot { behind };
        }
        // Every row was asked to find no taker.
        WaitingOn::NoWorker { draining: self.draining }
    }

    /// Takes a slot for a task: not of the worker that was refused access for it, as long as there is another one.
    fn take(&mut self, task: &Task) -> Result<(WorkerId, u64), WaitingOn> {
        let another = self.next_free(task.refused_by);
        let chosen = match (another, task.refused_by) {
            (Some(another), _) => another,
            (None, None) => return Err(self.none_free(None)),
            (None, Some(_)) if self.any_taker(task.refused_by) => {
                return Err(WaitingOn::AnotherWorker { task: task.id });
            }
            (None, Some(_)) => match self.next_free(None) {
                Some(refused) => refused,
                None => return Err(self.none_free(None)),
            },
        };
        let (Reverse(slots), worker) = chosen;
        self.free.remove(&chosen);
        if slots > 1 {
            self.free.insert((Reverse(slots - 1), worker));
        }
        let incarnation = self.connected.get(&worker).map(|one| one.incarnation).unwrap_or_default();
        Ok((worker, incarnation))
    }

    /// The worker with the most free slots, but not this one.
    fn next_free(&mut self, but: Option<WorkerId>) -> Option<(Reverse<u32>, WorkerId)> {
        loop {
            let next = self.free.iter().find(|(_, worker)| Some(*worker) != but).copied()?;
            if self.known.contains(&next.1) {
                return Some(next);
            }
            self.ask(next.1);
        }
    }

    /// Whether there is a worker, but not this one, that takes tasks once it has a free slot: one that drains does not.
    fn any_taker(&mut self, but: Option<WorkerId>) -> bool {
        while let Some(taker) = self.takers.iter().copied().find(|worker| Some(*worker) != but) {
            if self.known.contains(&taker) {
                return true;
            }
            self.ask(taker);
        }
        false
    }

    fn ask(&mut self, id: WorkerId) {
        self.known.insert(id);
        let Some(one) = self.connected.get(&id) else { return };
        self.free.remove(&(Reverse(one.slots_free), id));
        let row = read::worker(self.read, id)
            .filter(|worker| worker.state == WorkerState::Active && worker.incarnation == one.incarnation);
        self.draining += u64::from(row.as_ref().is_some_and(|worker| worker.draining));
        let Some(worker) = row.filter(|worker| !worker.draining) else {
            self.takers.remove(&id);
            return;
        };
        let free = one.slots_free.min(worker.slots.saturating_sub(worker.leased));
        if free > 0 {
            self.free.insert((Reverse(free), id));
        }
    }
}
