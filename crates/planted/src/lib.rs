//! Bugs for the chaos suite to catch: a checker that never caught one proves nothing.
//!
//! Invariant: without the feature `planted-bugs`, which no default build has, [`is`] is the constant `false` and no site of
//! a bug is in the program. With it, a process has one bug at most, chosen once, at its start.

#[cfg(feature = "planted-bugs")]
mod choice;

#[cfg(feature = "planted-bugs")]
pub use choice::{UnknownBug, VARIABLE, is, plant, planted};

/// A bug: what breaks; what lets it bite; what must catch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A vote is answered seconds before it is written. A death soon after an election, of all nodes best; a node's term goes
    /// back, or a term has two leaders.
    VoteNotSynced,
    /// An entry counts as durable before it is synced. Power loss on all nodes; what was acknowledged is gone (revision
    /// replay, lost ids and jobs).
    LogNotSynced,
    /// How far the log is applied is kept beside the rows, not in their batch: a restart replays nothing, though the rows are
    /// those of the last flush. Kill -9 and a restart; the rows of the nodes differ, the machine's `check`.
    AppliedBesideRows,
    /// A linearizable read answers with the rows as they are, without a read index. A follower that lags; the revision
    /// replay's real-time order, the linearizability check.
    StaleReadAsLinearizable,
    /// A leader confirms reads and leases by itself, without a quorum. A leader that is paused or cut off; the revision
    /// replay's real-time order, the linearizability check.
    LeaderReadsUnconfirmed,
    /// `ferry-min-revision` is ignored by stale reads. A follower that lags; a client's revisions go back.
    MinRevisionIgnored,
    /// A new leader goes on with the window of ids before its own. Any change of the leader; two callers have one id.
    IdWindowReused,
    /// A result counts although its job was canceled: the job completes. Cancels among running copies; a terminal state
    /// changes (revision replay, watches).
    LateResultAccepted,
    /// Settling leaves the last run of segments of each page unpublished. None needed; the machine's `check`.
    SettleForgetsSegment,
    /// A target is visible as soon as its task is completed. None needed; a target Flushed whose job is not Completed.
    EarlyPublication,
    /// A request id is forgotten once its job has ended. A leader that dies before it answers a submit; two jobs of one request
    /// id, or a retry that is refused.
    RequestIdForgotten,
    /// Cluster time is the leader's wall clock. A clock that jumps; jobs time out before their time.
    WallClockIsTime,
    /// A worker leaves out the last file of a task. None needed; a file of a Completed job is missing.
    LastFileSkipped,
    /// A clean-up leaves the first file of a task. Cancels among running copies; a file of a Canceled job is left.
    CleanUpForgetsFile,
    /// A clean-up is done although a store may still carry out what an attempt gave up. A remote store that
    /// is slow or away; an object of a job whose clean-up is done.
    LateWritesIgnored,
    /// An installed checkpoint lacks its last segment. A follower that lags behind the log, or is wiped; the rows of the nodes
    /// differ.
    CheckpointLosesRow,
    /// A watch and a wait end without the job's final state. None needed; a wait that answers with a job that runs.
    WatchMissesEnd,
    /// A target that a live job holds is given to another one. Submits that share targets; the machine's `check`, two live
    /// jobs with one target.
    TargetLockIgnored,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::VoteNotSynced,
        Self::LogNotSynced,
        Self::AppliedBesideRows,
        Self::StaleReadAsLinearizable,
        Self::LeaderReadsUnconfirmed,
        Self::MinRevisionIgnored,
        Self::IdWindowReused,
        Self::LateResultAccepted,
        Self::SettleForgetsSegment,
        Self::EarlyPublication,
        Self::RequestIdForgotten,
        Self::WallClockIsTime,
        Self::LastFileSkipped,
        Self::CleanUpForgetsFile,
        Self::LateWritesIgnored,
        Self::CheckpointLosesRow,
        Self::WatchMissesEnd,
        Self::TargetLockIgnored,
    ];

    /// The name it is chosen by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VoteNotSynced => "vote-not-synced",
            Self::LogNotSynced => "log-not-synced",
            Self::AppliedBesideRows => "applied-beside-rows",
            Self::StaleReadAsLinearizable => "stale-read-as-linearizable",
            Self::LeaderReadsUnconfirmed => "leader-reads-unconfirmed",
            Self::MinRevisionIgnored => "min-revision-ignored",
            Self::IdWindowReused => "id-window-reused",
            Self::LateResultAccepted => "late-result-accepted",
            Self::SettleForgetsSegment => "settle-forgets-segment",
            Self::EarlyPublication => "early-publication",
            Self::RequestIdForgotten => "request-id-forgotten",
            Self::WallClockIsTime => "wall-clock-is-time",
            Self::LastFileSkipped => "last-file-skipped",
            Self::CleanUpForgetsFile => "clean-up-forgets-file",
            Self::LateWritesIgnored => "late-writes-ignored",
            Self::CheckpointLosesRow => "checkpoint-loses-row",
            Self::WatchMissesEnd => "watch-misses-end",
            Self::TargetLockIgnored => "target-lock-ignored",
        }
    }
}

/// Whether this process has the bug: without the feature, never.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let mut names = Bug::ALL.map(Bug::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
