//! The leader's loop: woken by changes, by what becomes due, or by the tick; plan, then propose. No IO, no retry:
//! what did not work is seen again, as it then is, by the next round.

use super::Leadership;
use super::sessions::Silent;
use ferry_machine::command::Command;
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::plan::{Heads, Plan, Policy, plan_on};
use ferry_machine::row::{JobCounts, TaskCounts};
use ferry_machine::view;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::{debug, info};

/// Cluster time is committed at least this often while anything is due, so that a failover loses no more.
const CLOCK_COMMIT_INTERVAL_MS: u64 = 1_000;

/// Lines of the log about where jobs and tasks stand are at least this far apart.
const STATS_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the leadership ends.
pub(super) async fn run(leadership: Arc<Leadership>) {
    let mut changes = leadership.raft.changes();
    let mut heads = Heads::default();
    let mut logged = Logged::default();
    loop {
        changes.borrow_and_update();
        let next = check(&leadership, &mut heads).await;
        log_stats(&leadership, &mut logged);
        tokio::select! {
            () = leadership.wake.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(next) => {}
        }
    }
}

/// One round; says how long the next may wait when nothing wakes it before.
async fn check(leadership: &Arc<Leadership>, heads: &mut Heads) -> Duration {
    let tick_ms = leadership.config.check_interval_ms();
    lose_silent_workers(leadership).await;
    // Without a clock the leadership has ended, and this loop with it.
    let Some(now) = leadership.now() else { return Duration::from_millis(tick_ms) };
    let began = Instant::now();
    leadership.sessions.reconcile_outdated(|| leadership.raft.view());
    let (plan, committed) = {
        let view = leadership.raft.view();
        let connected = leadership.sessions.connected(&view);
        let policy = Policy {
            writes_for_ms: leadership.config.writes_for_ms(),
            late_writes_ms: leadership.config.late_writes_ms(),
            event_retention_ms: leadership.config.event_retention_ms(),
            ..Policy::default()
        };
        (plan_on(heads, &view, now, &policy, &connected), view::cluster(&view).map_or(now, |cluster| cluster.now))
    };
    leadership.metrics.observe_check(began.elapsed());
    let due_in_ms = plan.next_due.map(|due| due.since(now));
    propose_all(leadership, plan).await;
    if due_in_ms.is_some()
        && now.since(committed) >= CLOCK_COMMIT_INTERVAL_MS
        && let Err(error) = leadership.propose(Command::Tick).await
    {
        debug!(%error, "cluster time was not committed");
    }
    let wait_max_ms = if due_in_ms.is_some() { tick_ms.min(CLOCK_COMMIT_INTERVAL_MS) } else { tick_ms };
    Duration::from_millis(due_in_ms.map_or(wait_max_ms, |due| due.clamp(1, wait_max_ms)))
}

/// Proposals of one round are independent of each other, so they share entries and syncs. A refusal is no error: the plan
/// was stale, and the next one will not be.
async fn propose_all(leadership: &Arc<Leadership>, plan: Plan) {
    let assignments = plan.assignments.iter().copied().map(Command::AssignTask);
    let commands: Vec<Command> = plan.commands.into_iter().chain(assignments).collect();
    let others = commands.len() - plan.assignments.len();
    let proposed = leadership.propose_all(&commands).await;
    for error in proposed.iter().filter_map(|proposed| proposed.as_ref().err()) {
        debug!(%error, "a planned command was not applied");
    }
    let mut leased: BTreeMap<WorkerId, Vec<TaskId>> = BTreeMap::new();
    for (lease, proposed) in plan.assignments.iter().zip(proposed.into_iter().skip(others)) {
        if proposed.is_ok() {
            leased.entry(lease.worker).or_default().push(lease.task);
        }
    }
    if !leased.is_empty() {
        leadership.sessions.send_leased(&leased, || leadership.raft.view());
    }
}

/// The lease of a worker that has been silent for its length has ended; this leader granted it one when it began.
async fn lose_silent_workers(leadership: &Leadership) {
    let lease = leadership.config.lease();
    if !leadership.sessions.any_silent_for(lease) {
        return;
    }
    // Whoever says hello meanwhile waits, or it could be welcomed first and declared lost then.
    let _no_registration = leadership.registrations.write().await;
    let silent = leadership.sessions.take_silent_for(lease);
    join_all(silent.into_iter().map(|silent| lose(leadership, silent))).await;
}

/// Its lease has ended, so nothing but its last request may still write.
async fn lose(leadership: &Leadership, silent: Silent) {
    let Silent { worker, incarnation, settled } = silent;
    let writes_for_ms = leadership.config.request_timeout_ms();
    let late_writes_ms = leadership.config.late_writes_ms();
    let lose = Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled };
    match leadership.propose(lose).await {
        Ok(_) => info!(worker_id = worker.0, "worker lost: its lease has ended"),
        Err(error) => {
            debug!(%error, worker_id = worker.0, "a silent worker could not be declared lost");
            leadership.sessions.grant(&leadership.raft.view(), worker);
        }
    }
}

/// What the log last said of jobs and tasks, and when.
#[derive(Default)]
struct Logged(Option<(Instant, JobCounts, TaskCounts)>);

/// Tells the log where jobs and tasks stand when that has changed; a busy leader not at each change. A later round, which
/// the tick brings, tells what this one keeps to itself.
fn log_stats(leadership: &Leadership, logged: &mut Logged) {
    if logged.0.is_some_and(|(at, ..)| at.elapsed() < STATS_LOG_INTERVAL) {
        return;
    }
    let Some(cluster) = view::cluster(&leadership.raft.view()) else { return };
    let (jobs, tasks) = (cluster.jobs, cluster.tasks);
    if logged.0.is_none_or(|(_, jobs_then, tasks_then)| (jobs_then, tasks_then) != (jobs, tasks)) {
        info!(?jobs, ?tasks, "changed");
        logged.0 = Some((Instant::now(), jobs, tasks));
    }
}
