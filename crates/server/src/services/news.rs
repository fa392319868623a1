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

/// Shortest time between two looks of one watch at the rows: the changes between them are told as one.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The changes of one node's rows as one watch sees them.
pub(super) struct News {
    services: Services,
    changes: watch::Receiver<u64>,
    looked_at: Instant,
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
    ) -> Result<(Self, Reading), Status> {
        let place = services.watch_place()?;
        let changes = services.raft.changes();
        let reading = services.reads.open(consistency, metadata).await?;
        let stale = consistency == i32::from(Consistency::Stale);
        let news = Self { services: services.clone(), changes, looked_at: Instant::now(), stale, _place: place };
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
        sleep_until(self.looked_at + LOOK_INTERVAL).await;
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
    fn watch_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.watches.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "this node has {} watches open, its limit: watch on another node, or end some",
                self.config.limits.watches
            ))
        })
    }
}
