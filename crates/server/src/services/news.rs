//! What every watch waits for: changes of the rows of its node, several of them as one, and reasons to wait no more.
//!
//! Invariant: a watch that is linearizable ends when its node hears of no changes any more; a client that went away
//! keeps nothing.

use super::Services;
use crate::reads::Reading;
use ferry_proto::v1::Consistency;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// Longest of the shortest times between two looks of one watch at the rows: the changes between them are told as one.
const LOOK_INTERVAL_MAX: Duration = Duration::from_millis(20);
/// Whoever waits for one change alone looks sooner, but all that look at a node's rows together not more often than this.
const LOOK_INTERVAL_PER_WATCH: Duration = Duration::from_micros(200);
/// More often, nobody looks.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What a watch tells its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    /// One change after the other.
    Changes,
    /// One thing, once.
    TheEnd,
}

impl Tells {
    /// Shortest time between two looks, where so many watches are open.
    fn look_interval(self, watches: usize) -> Duration {
        match self {
            Self::Changes => LOOK_INTERVAL_MAX,
            Self::TheEnd => {
                let fair = LOOK_INTERVAL_PER_WATCH.saturating_mul(u32::try_from(watches).unwrap_or(u32::MAX));
                fair.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX)
            }
        }
    }
}

/// The changes of one node's rows as one watch sees them.
pub(super) struct News {
    services: Services,
    changes: watch::Receiver<u64>,
    looked_at: Instant,
    tells: Tells,
    /// Its client wants to know what the node has, however old that is.
    stale: bool,
    /// A place among the node's watches, given back with the watch.
    _place: OwnedSemaphorePermit,
}

impl News {
    /// The rows as they are, and what will tell of every change after that.
    pub(super) async fn open(
        services: &Services,
        metadata: &MetadataMap,
        consistency: i32,
        tells: Tells,
    ) -> Result<(Self, Reading), Status> {
        let place = services.watch_place()?;
        let changes = services.raft.changes();
        let reading = services.reads.open(consistency, metadata).await?;
        let stale = consistency == i32::from(Consistency::Stale);
        let news = Self { services: services.clone(), changes, looked_at: Instant::now(), tells, stale, _place: place };
        Ok((news, reading))
    }

    /// Waits for a change and reads the rows after it; `None` once there are no more. A call that is given up forgets
    /// no change as long as `look` follows.
    pub(super) async fn next(&mut self) -> Option<Result<Reading, Status>> {
        let ended = tokio::select! {
            changed = self.changes.changed() => {
                changed.ok()?;
                None
            }
            () = self.services.stopping.cancelled() => Some("this node is stopping: watch on another node"),
            () = self.services.reads.out_of_touch(), if !self.stale => {
                Some("this node hears of no leader and of no changes any more: watch on another node")
            }
        };
        if let Some(reason) = ended {
            return Some(Err(Status::unavailable(reason)));
        }
        sleep_until(self.looked_at + self.tells.look_interval(self.services.watches_open())).await;
        Some(Ok(self.look()))
    }

    /// The rows as they are now.
    pub(super) fn look(&mut self) -> Reading {
        self.changes.borrow_and_update();
        self.looked_at = Instant::now();
        self.services.reads.after_write()
    }
}

impl Services {
    fn watches_open(&self) -> usize {
        let places = usize::try_from(self.config.limits.watches).unwrap_or(usize::MAX);
        places.saturating_sub(self.watches.available_permits())
    }

    fn watch_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.watches.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "this node has {} watches open, its limit: watch on another node, or end some",
                self.config.limits.watches
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_looks_at_once_on_a_quiet_node_and_no_more_often_than_a_stream_where_there_are_many() {
        let of_wait = |watches| Tells::TheEnd.look_interval(watches).as_micros();
        assert_eq!([0, 1, 5, 6, 50, 100, 10_000].map(of_wait), [1_000, 1_000, 1_000, 1_200, 10_000, 20_000, 20_000]);
        assert_eq!(Tells::Changes.look_interval(1), LOOK_INTERVAL_MAX);
    }
}
