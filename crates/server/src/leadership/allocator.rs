//! Ids from a window that the log reserved; only grow, and a window dies with its leadership.

use super::Leadership;
use ferry_machine::command::Command;
use ferry_machine::outcome::Outcome;
use ferry_machine::view;
use ferry_planted::Bug;
use ferry_raft::ProposeError;
use tokio::sync::Mutex;

/// Ids that are reserved and not handed out yet: `next .. end`.
#[derive(Default)]
pub(super) struct Allocator {
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    next: i64,
    end: i64,
}

/// Why no ids were handed out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AllocateError {
    /// The reservation did not land.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The machine answered a reservation with something else.
    #[error("the reservation of ids was answered with {0:?}: this is a bug in Ferry, please report it")]
    Unexpected(Outcome),
}

impl Allocator {
    /// Hands out `count` consecutive ids. A window that is too short is left behind: ids need not be dense.
    pub(super) async fn allocate(&self, leadership: &Leadership, count: u32) -> Result<i64, AllocateError> {
        let mut window = self.window.lock().await;
        if window.end == 0 && ferry_planted::is(Bug::IdWindowReused) {
            *window = window_before(leadership);
        }
        if window.end - window.next < i64::from(count) {
            *window = reserve(leadership, count.max(leadership.config.allocator_window)).await?;
        }
        let first = window.next;
        window.next += i64::from(count);
        Ok(first)
    }
}

/// What a planted bug takes for a reservation: the ids that were given away last, by whomever.
fn window_before(leadership: &Leadership) -> Window {
    let cluster = view::cluster(&leadership.raft.view()).unwrap_or_default();
    let next = cluster.next_id - i64::from(leadership.config.allocator_window);
    Window { next: next.max(cluster.id_start), end: cluster.next_id }
}

async fn reserve(leadership: &Leadership, count: u32) -> Result<Window, AllocateError> {
    match leadership.propose(Command::ReserveIds { count }).await?.outcome {
        Outcome::Ids { first, count } => Ok(Window { next: first, end: first + i64::from(count) }),
        other => Err(AllocateError::Unexpected(other)),
    }
}
