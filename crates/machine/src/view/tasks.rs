//! Tasks as users see them: what is still open in a failed or canceled job has failed with it.

use crate::command::IdMapping;
use crate::derive;
use crate::id::{TaskId, WorkerId};
use crate::limits;
use crate::read;
use crate::row::{Job, Task, TaskOutcome, TaskSegment, Work};
use crate::tables::Read;
use crate::time::{Stamp, Time};

/// States of a task, as users know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// It waits for a worker.
    Pending,
    /// A worker has it.
    InProgress,
    /// Every segment is copied and verified.
    Completed,
    /// It failed, or its job did.
    Failed,
}

/// A task as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its state.
    pub state: TaskState,
    /// Why it failed or, while it is not done, why its last attempt did; empty otherwise.
    pub reason: String,
    /// Who has it; none once the task has ended, whatever still runs to clean it up.
    pub worker: Option<WorkerId>,
    /// When it ended.
    pub ended: Option<Stamp>,
}

/// A task with its job, unless the job is hidden.
pub fn task(read: &dyn Read, id: TaskId) -> Option<(Job, Task)> {
    let task = read::task(read, id)?;
    let job = super::job(read, task.job)?;
    Some((job, task))
}

/// A task's effective state.
#[must_use]
pub fn task_status(job: &Job, task: &Task) -> TaskStatus {
    let over = derive::ended(job).filter(|_| task.outcome == TaskOutcome::Open);
    let worker = task.lease.map(|lease| lease.worker);
    if let Some(ended) = over {
        let (state, reason) = (TaskState::Failed, super::reason(job));
        return TaskStatus { state, reason, worker: None, ended: Some(ended) };
    }
    match &task.outcome {
        TaskOutcome::Open => {
            let state = if worker.is_some() { TaskState::InProgress } else { TaskState::Pending };
            TaskStatus { state, reason: task.last_error.clone(), worker, ended: None }
        }
        TaskOutcome::Completed { ended } => {
            TaskStatus { state: TaskState::Completed, reason: String::new(), worker: None, ended: Some(*ended) }
        }
        TaskOutcome::Failed { ended, reason } => {
            // A task that was settled with its job keeps no reason of its own.
            let reason = if reason.is_empty() { super::reason(job) } else { reason.clone() };
            TaskStatus { state: TaskState::Failed, reason, worker: None, ended: Some(*ended) }
        }
    }
}

/// What an attempt of a task does as the task stands.
#[must_use]
pub fn work(task: &Task) -> Work {
    derive::work_of(task)
}

/// What a task copies, in the order of target ids; nothing for the publication.
pub fn task_mappings(task: &Task) -> impl Iterator<Item = IdMapping> {
    let mapping = |TaskSegment { target, mapping, .. }: &TaskSegment| IdMapping {
        source: mapping.source,
        target: *target,
        partition_id: mapping.partition_id,
    };
    task.segments.iter().map(mapping)
}

/// What a worker has leased, in the order of task ids.
pub fn assigned_tasks(read: &dyn Read, worker: WorkerId) -> Vec<Task> {
    let leased_max = limits::SLOTS_PER_WORKER_MAX as usize;
    read::assignments(read, worker, leased_max).into_iter().filter_map(|task| read::task(read, task)).collect()
}

/// Tasks with these ids.
pub fn tasks_by_id(read: &dyn Read, ids: &[TaskId]) -> Vec<Task> {
    ids.iter().filter_map(|id| read::task(read, *id)).collect()
}

/// Tasks of a job that wait, with the time from which each may be leased, the earliest first.
pub fn queued_tasks(read: &dyn Read, job: &Job, rows_max: usize) -> Vec<(Time, TaskId)> {
    read::queue(read, job.id, Time(0), rows_max)
}
