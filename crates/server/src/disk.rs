//! The watch over a node's disk: a leader whose disk hangs gives way to another, and a node whose disk stays so ends.
//!
//! Invariant: nothing here touches the disk or waits for what does, so that it works when nothing else does.

use crate::config::{Config, milliseconds};
use ferry_raft::{Raft, Role};
use ferry_store::disk::{Disk, Pending, SAVING_THE_VOTE};
use std::io;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
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
/// something has been asked of it for as long as `storage.stall-timeout` without an answer. Ends with the receiver.
///
/// # Errors
/// When no thread can be had.
pub(crate) fn watch(disk: Disk, raft: Raft, config: &Config) -> io::Result<oneshot::Receiver<Pending>> {
    let (told, stalled) = oneshot::channel();
    let stall_timeout = config.storage.stall_timeout;
    let watch = Watch { disk, stall_timeout, patience: config.raft.election_timeout_min, giver: Giver::new(raft) };
    std::thread::Builder::new().name("disk-watch".to_owned()).spawn(move || watch.run(told))?;
    Ok(stalled)
}

struct Watch {
    disk: Disk,
    stall_timeout: Duration,
    /// How long a candidate waits for a vote, at least.
    patience: Duration,
    giver: Giver,
}

impl Watch {
    fn run(mut self, told: oneshot::Sender<Pending>) {
        let mut warned = false;
        let mut awake_since = Instant::now();
        while !told.is_closed() {
            let slept_from = Instant::now();
            std::thread::sleep(LOOK_INTERVAL);
            if slept_from.elapsed() > PAUSED_AFTER {
                awake_since = Instant::now();
            }
            let awake = awake_since.elapsed();
            match self.disk.longest().map(|pending| Pending { elapsed: pending.elapsed.min(awake), ..pending }) {
                Some(pending) if pending.elapsed >= self.stall_timeout => {
                    // Whoever does not wait for it any more ends anyway.
                    let _ = told.send(pending);
                    return;
                }
                Some(pending) if pending.elapsed >= self.stall_timeout / GIVE_WAY_PART => self.giver.give_way(&pending),
                Some(pending) if pending.action == SAVING_THE_VOTE => {
                    warned = warned || warn_of_slow_votes(&pending, self.patience);
                }
                Some(_) | None => warned = false,
            }
        }
    }
}

/// Gives way on the runtime, as long as that still moves, and never twice at once.
struct Giver {
    raft: Raft,
    runtime: Handle,
    under_way: Option<JoinHandle<()>>,
}

impl Giver {
    fn new(raft: Raft) -> Self {
        Self { raft, runtime: Handle::current(), under_way: None }
    }

    fn give_way(&mut self, pending: &Pending) {
        if self.under_way.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let seconds = pending.elapsed.as_secs_f64();
        warn!(action = pending.action, seconds, "the disk does not answer");
        let raft = self.raft.clone();
        self.under_way = Some(self.runtime.spawn(async move {
            hand_over(&raft).await;
            sleep(HAND_OVER_PAUSE).await;
        }));
    }
}

/// A candidate waits for a vote no longer than the shortest election timeout, and a vote counts once it is saved: on a
/// disk that takes longer no leader is ever elected.
fn warn_of_slow_votes(pending: &Pending, patience: Duration) -> bool {
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
