//! An event's row: one transition of a job, as users are told it; never changed, expires.

use crate::id::{EventId, JobId};
use crate::time::Stamp;
use crate::view::State;

/// One transition of a job. It says all there is to tell, for its job may be gone when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The job.
    pub job: JobId,
    /// What happened.
    pub transition: Transition,
    /// Where the job stands since then; for one that was collected, where it stood last.
    pub state: State,
    /// When.
    pub at: Stamp,
    /// The job's name.
    pub name: String,
    /// The collection its targets belong to.
    pub collection_id: i64,
    /// Why the job ended as it did; empty while it lives.
    pub reason: String,
}

/// What can happen to a job in the eyes of its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transition {
    /// Its last page is in: from now on it can be seen.
    Submitted,
    /// All its tasks exist: workers copy.
    Executing,
    /// Every target became visible.
    Completed,
    /// It failed; no target was or will be visible.
    Failed,
    /// Its user ended it; no target was or will be visible.
    Canceled,
    /// Its user, its submit, or a task that failed for good or used up its attempts paused it.
    Paused,
    /// Its user resumed it.
    Resumed,
    /// It failed or was canceled, and no file of it is left.
    CleanedUp,
    /// It failed or was canceled, and the clean-up of some files was given up.
    LeftOver,
    /// Its retention is over: it cannot be seen any more.
    Collected,
}

/// Which events there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventLog {
    /// How many are kept.
    pub kept: u64,
    /// From here on all are kept; what was before has expired.
    pub first: EventId,
    /// The last one that ever happened; `EventId::FIRST` before any did.
    pub last: EventId,
    /// What the receiver of the webhook has taken: everything before this.
    pub delivered: EventId,
}
