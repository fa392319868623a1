//! Rows of a backup become those of a new cluster: nothing of the old one counts any more, and no id comes twice.
//!
//! Every founder of the new cluster does the same with the same rows, so what is done here depends on nothing else.

use crate::command::{Command, LeaseRef};
use crate::id::{SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::limits;
use crate::outcome::Rejection;
use crate::read;
use crate::row::{CleanUp, Lease, Row, TaskOutcome, WorkerState};
use crate::tables::Tables;
use crate::time::Stamp;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What the new cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// Its id.
    pub cluster_id: u64,
    /// Ids left out, because the old cluster may have given them out after the backup.
    pub id_margin: i64,
    /// Log index of the restore, behind all of the backup's.
    pub revision: u64,
    /// Shown as the time at which what ran in the backup was ended.
    pub wall_ms: u64,
}

/// How far a restore has come; each step is a page of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The cluster's own row.
    Cluster,
    /// Workers after this one lose what they had.
    Workers(WorkerId),
    /// Tasks after this one count their attempts from further on.
    Tasks(TaskId),
}

/// A task of the old cluster may have had a few more attempts after the backup: theirs never get the number of one of
/// the new cluster.
const ATTEMPTS_LEFT_OUT: u32 = 1_000;
/// A worker of the old cluster may still write for this long; clean-ups wait for it.
const WRITES_FOR_MS: u64 = 60_000;
/// A remote store may carry out what a worker of the old cluster gave up for this long after that: as `late-writes` is by
/// default. The backup does not say what it was set to.
const LATE_WRITES_MS: u64 = 600_000;
/// Tasks of one step.
const TASKS_PER_STEP: usize = limits::ROWS_PER_COMMAND_MAX;

/// Rows that cannot become those of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// There is no cluster in them.
    #[error("the rows name no cluster: the backup was made before its cluster had begun, so begin a new one instead")]
    NoCluster,
    /// No ids are left.
    #[error("the ids end before {next_id} and {id_margin} more: choose a smaller margin")]
    Ids {
        /// The next one in the backup.
        next_id: i64,
        /// How many were to be left out.
        id_margin: i64,
    },
    /// A worker is said to have a task that it does not have.
    #[error(
        "the rows do not fit together: task {0} is assigned, and has no lease; restore another backup, and report this one"
    )]
    NoLease(TaskId),
    /// The machine refused.
    #[error("the rows do not fit together: {0}; restore another backup, and report this one")]
    Rejected(#[from] Rejection),
}

/// Does a step and names the next one.
pub fn restore(tables: &mut impl Tables, new: &Restore, step: Step) -> Result<Option<Step>, RestoreError> {
    match step {
        Step::Cluster => {
            begin(tables, new)?;
            Ok(Some(Step::Workers(WorkerId(i64::MIN))))
        }
        Step::Workers(after) => lose_next_worker(tables, new, after),
        Step::Tasks(after) => Ok(leave_out_attempts(tables, after)),
    }
}

fn begin(tables: &mut impl Tables, new: &Restore) -> Result<(), RestoreError> {
    let mut cluster = read::cluster(tables).ok_or(RestoreError::NoCluster)?;
    let (next_id, id_margin) = (cluster.next_id, new.id_margin);
    cluster.next_id = next_id.checked_add(id_margin).ok_or(RestoreError::Ids { next_id, id_margin })?;
    cluster.cluster_id = new.cluster_id;
    tables.put(Key::Cluster, Row::Cluster(cluster));
    Ok(())
}

/// The lease of every worker has ended. What it had is queued again as if it had been given back, so that a restore uses
/// up no attempt; clean-ups wait as they do for any lost worker.
fn lose_next_worker(tables: &mut impl Tables, new: &Restore, after: WorkerId) -> Result<Option<Step>, RestoreError> {
    let end = Key::WorkerName(String::new());
    let next = tables.scan(Bound::Excluded(Key::Worker(after)), &end, 1).into_iter().next();
    let Some((_, Row::Worker(worker))) = next else { return Ok(Some(Step::Tasks(TaskId(i64::MIN)))) };
    let at = read::cluster(tables).ok_or(RestoreError::NoCluster)?.now;
    let now = Stamp { at, wall_ms: new.wall_ms };
    let id = worker.id;
    let assigned = read::assignments(tables, id, limits::RELEASES_PER_PAGE);
    if !assigned.is_empty() {
        for task in assigned {
            give_back(tables, task, now, new.revision)?;
        }
        // Again from here: what it had may be more than a page.
        return Ok(Some(Step::Workers(after)));
    }
    if worker.state != WorkerState::Lost {
        let (incarnation, writes_for_ms, late_writes_ms) = (worker.incarnation, WRITES_FOR_MS, LATE_WRITES_MS);
        // It has nothing any more.
        let settled = BTreeMap::new();
        let lost = Command::LoseWorker { worker: id, incarnation, writes_for_ms, late_writes_ms, settled };
        crate::apply(tables, &lost, now, new.revision)?;
    }
    Ok(Some(Step::Workers(id)))
}

fn give_back(tables: &mut impl Tables, task: TaskId, now: Stamp, revision: u64) -> Result<(), RestoreError> {
    let stray = RestoreError::NoLease(task);
    let Some(Row::Task(task)) = tables.get(&Key::Task(task)) else { return Err(stray) };
    let (Some(held), Some(Row::Job(mut job))) = (task.lease, tables.get(&Key::Job(task.job))) else {
        return Err(stray);
    };
    // No index has this moment while an attempt of the job runs.
    job.quiet_at = job.quiet_at.max(now.at.plus(WRITES_FOR_MS));
    tables.put(Key::Job(task.job), Row::Job(job));
    let Lease { worker, incarnation, attempt, .. } = held;
    let lease = LeaseRef { task: task.id, attempt, worker, incarnation };
    crate::apply(
        tables,
        &Command::ReleaseTask { lease, writes_for_ms: WRITES_FOR_MS + LATE_WRITES_MS },
        now,
        revision,
    )?;
    Ok(())
}

fn leave_out_attempts(tables: &mut impl Tables, after: TaskId) -> Option<Step> {
    let end = Key::Targets(SegmentId(i64::MIN));
    let page = tables.scan(Bound::Excluded(Key::Task(after)), &end, TASKS_PER_STEP);
    let mut last = None;
    for (key, row) in page {
        let Row::Task(mut task) = row else { continue };
        last = Some(Step::Tasks(task.id));
        if task.outcome == TaskOutcome::Open || task.clean_up == CleanUp::Due {
            task.attempt = task.attempt.saturating_add(ATTEMPTS_LEFT_OUT);
            tables.put(key, Row::Task(task));
        }
    }
    last
}
