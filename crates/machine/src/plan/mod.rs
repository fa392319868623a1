//! The checker: what the leader should propose next, read from indexes alone and bounded, however many jobs there are.
//!
//! A plan has no effect: `apply` checks every command again, so a stale plan is harmless and a lost one is made anew.

mod dispatch;
mod explain;
mod heads;
mod waiting;

use crate::command::{Command, LeaseRef};
use crate::derive;
use crate::id::{EventId, JobId, WorkerId};
use crate::key::{DueItem, Key, Stage};
use crate::limits;
use crate::read;
use crate::row::{Job, JobState, Settle};
use crate::tables::Read;
use crate::time::Time;
use std::ops::Bound;

pub use explain::explain;
pub use heads::Heads;
pub use waiting::{Explanation, PausedBy, WaitingOn};

/// How much one plan takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Jobs of each stage that get pages.
    pub jobs_per_stage_max: usize,
    /// Pages of tasks that one job gets.
    pub pages_per_job_max: usize,
    /// Due things that are looked at.
    pub due_max: usize,
    /// Tasks that are leased.
    pub assignments_max: usize,
    /// Jobs with queued tasks that are looked at.
    pub jobs_dispatched_max: usize,
    /// Longest time an attempt of a lost or replaced worker may still write, in milliseconds: its lease and one
    /// request.
    pub writes_for_ms: u64,
    /// Longest time a remote store may carry out a request after its caller gave it up, in milliseconds.
    pub late_writes_ms: u64,
    /// How long events are kept, in milliseconds; up to `limits::EVENT_RETENTION_SLACK` of it more.
    pub event_retention_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            jobs_per_stage_max: 16,
            pages_per_job_max: 4,
            due_max: 256,
            assignments_max: 256,
            jobs_dispatched_max: 1_000,
            writes_for_ms: 30_000,
            late_writes_ms: 600_000,
            event_retention_ms: 24 * 60 * 60 * 1_000,
        }
    }
}

/// A worker with a session, as the leader knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// Which.
    pub worker: WorkerId,
    /// Which start of it.
    pub incarnation: u64,
    /// Tasks it could take on now; its row is asked as well.
    pub slots_free: u32,
}

/// What the leader should propose next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Everything but assignments, in an order in which they can be proposed.
    pub commands: Vec<Command>,
    /// Each to be proposed as `Command::AssignTask`, and sent to its worker once that is committed.
    pub assignments: Vec<LeaseRef>,
    /// Jobs with queued tasks that got nothing, and why.
    pub waiting: Vec<(JobId, WaitingOn)>,
    /// When the next plan is due unless something changes before; never later than the next due thing.
    pub next_due: Option<Time>,
}

/// Plans the next step. Only connected workers get tasks.
pub fn plan(read: &dyn Read, now: Time, policy: &Policy, connected: &[Connected]) -> Plan {
    plan_on(&mut Heads::default(), read, now, policy, connected)
}

/// The same plan, by someone who plans on and on: `heads` are those of the last plan of the same rows, which have only
/// grown older.
pub fn plan_on(heads: &mut Heads, read: &dyn Read, now: Time, policy: &Policy, connected: &[Connected]) -> Plan {
    let mut plan = Plan::default();
    release_lost_workers(read, policy, &mut plan);
    end_what_is_due(read, now, policy, &mut plan);
    create_tasks(read, policy, &mut plan);
    settle(read, policy, &mut plan);
    collect(read, policy, &mut plan);
    expire_events(read, now, policy, &mut plan);
    dispatch::dispatch(heads, read, now, policy, connected, &mut plan);
    plan
}

impl Plan {
    fn due_at(&mut self, at: Time) {
        self.next_due = Some(self.next_due.map_or(at, |next| next.min(at)));
    }
}

fn release_lost_workers(read: &dyn Read, policy: &Policy, plan: &mut Plan) {
    let from = Bound::Included(Key::LostWorker(WorkerId(i64::MIN)));
    let to = Key::Event(EventId::FIRST);
    for key in read::keys(read, from, &to, policy.jobs_per_stage_max) {
        let Key::LostWorker(worker) = key else { continue };
        let Policy { writes_for_ms, late_writes_ms, .. } = *policy;
        plan.commands.push(Command::ReleaseWorker { worker, writes_for_ms, late_writes_ms });
    }
}

fn end_what_is_due(read: &dyn Read, now: Time, policy: &Policy, plan: &mut Plan) {
    let from = Bound::Included(Key::Due(Time(0), DueItem::Job(JobId(i64::MIN))));
    let to = Key::Dispatch(0, JobId(i64::MIN));
    let mut request_ids = Vec::new();
    for key in read::keys(read, from, &to, policy.due_max.max(1)) {
        let Key::Due(at, item) = key else { continue };
        if at > now {
            plan.due_at(at);
            break;
        }
        match item {
            DueItem::Job(id) => plan.commands.extend(read::job(read, id).as_ref().and_then(end_due_job)),
            DueItem::Request(id) => request_ids.push(id),
        }
    }
    for request_ids in request_ids.chunks(limits::REQUESTS_PER_PAGE) {
        plan.commands.push(Command::ExpireRequests { request_ids: request_ids.to_vec() });
    }
}

/// What the passing of time means for a job.
fn end_due_job(job: &Job) -> Option<Command> {
    match job.state {
        JobState::Draft { .. } => Some(Command::DropDraft { job: job.id }),
        JobState::Pending | JobState::Executing => Some(Command::FailJob { job: job.id, reason: "timeout".to_owned() }),
        JobState::Failed { .. } if job.settle == Settle::Kept => Some(Command::CleanUpJob { job: job.id }),
        JobState::Completed { .. } | JobState::Failed { .. } | JobState::Canceled { .. } => {
            Some(Command::CollectJob { job: job.id })
        }
        JobState::Collecting => None,
    }
}

fn jobs_at(read: &dyn Read, stage: Stage, policy: &Policy) -> Vec<Job> {
    let from = Bound::Included(Key::Stage(stage, JobId(i64::MIN)));
    let to = match stage {
        Stage::CreatingTasks => Key::Stage(Stage::Settling, JobId(i64::MIN)),
        Stage::Settling => Key::Stage(Stage::Collecting, JobId(i64::MIN)),
        Stage::Collecting => Key::Due(Time(0), DueItem::Job(JobId(i64::MIN))),
    };
    read::keys(read, from, &to, policy.jobs_per_stage_max)
        .into_iter()
        .filter_map(|key| {
            let Key::Stage(_, id) = key else { return None };
            read::job(read, id)
        })
        .collect()
}

/// Several pages of each job: how many tasks a page creates is known before.
fn create_tasks(read: &dyn Read, policy: &Policy, plan: &mut Plan) {
    for job in jobs_at(read, Stage::CreatingTasks, policy) {
        let page = limits::tasks_per_page(job.spec.options.segments_per_task_max);
        let missing = (job.counts.tasks_created..derive::copies_planned(&job.spec)).step_by(page);
        for tasks_created in missing.take(policy.pages_per_job_max) {
            plan.commands.push(Command::CreateTasks { job: job.id, tasks_created });
        }
    }
}

fn settle(read: &dyn Read, policy: &Policy, plan: &mut Plan) {
    for job in jobs_at(read, Stage::Settling, policy) {
        plan.commands.push(Command::SettleJob { job: job.id, settle: job.settle });
    }
}

fn collect(read: &dyn Read, policy: &Policy, plan: &mut Plan) {
    for job in jobs_at(read, Stage::Collecting, policy) {
        plan.commands.push(Command::CollectJob { job: job.id });
    }
}

/// Nothing becomes due by this: events that go a little later do no harm, and an idle leader is not to wake for them.
fn expire_events(read: &dyn Read, now: Time, policy: &Policy, plan: &mut Plan) {
    let Some(events) = read::cluster(read).map(|cluster| cluster.events) else { return };
    let retention_ms = policy.event_retention_ms;
    let slack_ms = retention_ms / limits::EVENT_RETENTION_SLACK;
    let outlived = |at: Time| at.plus(retention_ms).plus(slack_ms) < now;
    let too_many = events.kept >= limits::EVENTS_KEPT_MAX.saturating_add(limits::EVENTS_PER_PAGE as u64);
    let oldest = read::events(read, events.first, 1);
    if too_many || oldest.first().is_some_and(|(_, event)| outlived(event.at.at)) {
        plan.commands.push(Command::ExpireEvents { before: Time(now.since(Time(retention_ms))) });
    }
}
