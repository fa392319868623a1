//! The watch over a node's disk: a leader whose disk hangs gives way to another, and a node whose disk stays so ends.
//!
//! Invariant: nothing here touches the disk, so that it works when nothing else does.

use crate::config::{Config, milliseconds};
use ferry_raft::{Raft, Role};
use ferry_store::disk::{Disk, Pending, SAVING_THE_VOTE};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How often the disk is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Looks further apart than this say that the whole process was paused, not that the disk took so long.
const PAUSED_AFTER: Duration = Duration::from_secs(1);
/// A leader gives way after this part of the time after which the node ends.
const GIVE_WAY_PART: u32 = 5;
/// Before it is tried again.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(500);
/// How long a leader waits for its successor.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until something has been asked of the disk for as long as `stall_timeout` without an answer.
pub(crate) async fn stalled(disk: &Disk, raft: &Raft, config: &Config) -> Pending {
    let stall_timeout = config.storage.stall_timeout;
    let mut warned = false;
    let mut awake_since = Instant::now();
    loop {
        let slept_from = Instant::now();
        sleep(LOOK_INTERVAL).await;
        if slept_from.elapsed() > PAUSED_AFTER {
            awake_since = Instant::now();
        }
        let longest =
            disk.longest().map(|pending| Pending { elapsed: pending.elapsed.min(awake_since.elapsed()), ..pending });
        match longest {
            Some(pending) if pending.elapsed >= stall_timeout => return pending,
            Some(pending) if pending.elapsed >= stall_timeout / GIVE_WAY_PART => {
                let seconds = pending.elapsed.as_secs_f64();
                warn!(action = pending.action, seconds, "the disk does not answer");
                hand_over(raft).await;
                sleep(HAND_OVER_PAUSE).await;
            }
            Some(pending) if pending.action == SAVING_THE_VOTE => {
                warned = warned || warn_of_slow_votes(&pending, config);
            }
            Some(_) | None => warned = false,
        }
    }
}

/// A candidate waits for a vote no longer than the shortest election timeout, and a vote counts once it is saved: on a
/// disk that takes longer no leader is ever elected.
fn warn_of_slow_votes(pending: &Pending, config: &Config) -> bool {
    let patience = config.raft.election_timeout_min;
    let slow = pending.elapsed >= patience;
    if slow {
        warn!(
            elapsed_ms = milliseconds(pending.elapsed),
            election_timeout_min_ms = milliseconds(patience),
            "the disk is too slow for elections: saving a vote takes longer than a candidate waits for it; raise \
             raft.election-timeout-min and raft.election-timeout-max on every node, or give this one a faster disk"
        );
    }
    slow
}

/// A leader that stops, or cannot write, names its successor, so that nobody has to notice its silence first.
pub(crate) async fn hand_over(raft: &Raft) {
    if raft.status().role != Role::Leader {
        return;
    }
    let Some(successor) = raft.successor() else { return };
    match raft.transfer_leader(successor, Instant::now() + HAND_OVER_TIMEOUT).await {
        Ok(()) => info!(successor, "leadership handed over"),
        Err(error) => warn!(successor, %error, "leadership was not handed over; the others will elect"),
    }
}
