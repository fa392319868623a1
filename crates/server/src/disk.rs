//! The watch over a node's disk: a leader whose disk hangs gives way to another, and a node whose disk stays so ends.
//!
//! Invariant: nothing here touches the disk or waits for what does, so that it works when nothing else does.

use crate::config::{Config, milliseconds};
use crate::node::Node;
use ferry_raft::{Raft, Role};
use ferry_store::disk::{Disk, Pending, SAVING_THE_VOTE};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::sleep;
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

/// Watches from a thread of its own, for every thread of the runtime may be waiting for the disk, and answers once
/// something has been asked of it for as long as `storage.stall-timeout` without an answer. Ends with the receiver, and
/// holds nothing that would keep the node's files open.
///
/// # Errors
/// When no thread can be had.
pub(crate) fn watch(disk: Disk, stall_timeout: Duration) -> io::Result<oneshot::Receiver<Pending>> {
    let (told, stalled) = oneshot::channel();
    let watch = move || {
        let mut looks = Looks::new(disk);
        while !told.is_closed() {
            std::thread::sleep(LOOK_INTERVAL);
            if let Some(pending) = looks.longest().filter(|pending| pending.elapsed >= stall_timeout) {
                // Whoever does not wait for it any more ends anyway.
                let _ = told.send(pending);
                return;
            }
        }
    };
    std::thread::Builder::new().name("disk-watch".to_owned()).spawn(watch)?;
    Ok(stalled)
}

/// Gives way while the disk does not answer, as long as the runtime still moves, and warns of votes that take too long.
pub(crate) async fn give_way(disk: Disk, node: Arc<Node>) {
    let give_way_after = node.config.storage.stall_timeout / GIVE_WAY_PART;
    let mut looks = Looks::new(disk);
    let mut warned = false;
    loop {
        sleep(LOOK_INTERVAL).await;
        match looks.longest() {
            Some(pending) if pending.elapsed >= give_way_after => {
                let seconds = pending.elapsed.as_secs_f64();
                warn!(action = pending.action, seconds, "the disk does not answer");
                hand_over(&node.raft).await;
                sleep(HAND_OVER_PAUSE).await;
                looks.went_on();
            }
            Some(pending) if pending.action == SAVING_THE_VOTE => {
                warned = warned || warn_of_slow_votes(&pending, &node.config);
            }
            Some(_) | None => warned = false,
        }
    }
}

/// Looks at the disk, one after the other. What a pause of the whole process adds to the time of an action is no fault of
/// the disk.
struct Looks {
    disk: Disk,
    last: Instant,
    awake_since: Instant,
}

impl Looks {
    fn new(disk: Disk) -> Self {
        let now = Instant::now();
        Self { disk, last: now, awake_since: now }
    }

    /// Whoever looks was at something else, not paused.
    fn went_on(&mut self) {
        self.last = Instant::now();
    }

    fn longest(&mut self) -> Option<Pending> {
        let now = Instant::now();
        if now.duration_since(self.last) > PAUSED_AFTER {
            self.awake_since = now;
        }
        self.last = now;
        let awake = now.duration_since(self.awake_since);
        self.disk.longest().map(|pending| Pending { elapsed: pending.elapsed.min(awake), ..pending })
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
    match raft.transfer_leader(successor, tokio::time::Instant::now() + HAND_OVER_TIMEOUT).await {
        Ok(()) => info!(successor, "leadership handed over"),
        Err(error) => warn!(successor, %error, "leadership was not handed over; the others will elect"),
    }
}
