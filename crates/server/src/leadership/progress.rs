//! Progress of running attempts is kept in the leader's memory and committed coarsely, so that a failover shows
//! nearly what was shown before, and the log does not carry every block copied.

use super::Leadership;
use ferry_machine::command::{Command, LeaseRef};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the progress of an attempt is committed, at most.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until the leadership ends.
pub(super) async fn run(leadership: Arc<Leadership>) {
    let mut ticks = interval(COMMIT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let commands = uncommitted(&leadership);
        // A refusal says that the attempt has ended, and its result tells more than its progress did.
        join_all(commands.into_iter().map(|command| leadership.propose(command))).await;
    }
}

fn uncommitted(leadership: &Leadership) -> Vec<Command> {
    let mut commands = Vec::new();
    leadership.sessions.for_each_run(|worker, incarnation, task, run| {
        if run.live_bytes > run.committed_bytes {
            let lease = LeaseRef { task, attempt: run.attempt, worker, incarnation };
            commands.push(Command::ReportProgress { lease, bytes_copied: run.live_bytes });
            run.committed_bytes = run.live_bytes;
        }
    });
    commands
}
