//! Which bug this process has: chosen by name, once, before anything else begins.

use crate::Bug;
use std::sync::OnceLock;

/// The variable of the environment that names the bug.
pub const VARIABLE: &str = "FERRY_PLANTED_BUG";

static PLANTED: OnceLock<Bug> = OnceLock::new();

/// A name that is no bug's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}: there is no bug {name:?}; choose one of {}", names().join(", "))]
pub struct UnknownBug {
    name: String,
}

/// Plants the bug of this name in this process.
///
/// # Errors
/// When there is none.
pub fn plant(name: &str) -> Result<Bug, UnknownBug> {
    let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    let bug = bug.ok_or_else(|| UnknownBug { name: name.to_owned() })?;
    Ok(*PLANTED.get_or_init(|| bug))
}

/// The bug that this process has.
#[must_use]
pub fn planted() -> Option<Bug> {
    PLANTED.get().copied()
}

/// Whether this process has the bug.
#[must_use]
pub fn is(bug: Bug) -> bool {
    planted() == Some(bug)
}

fn names() -> Vec<&'static str> {
    Bug::ALL.iter().map(|bug| bug.name()).collect()
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
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
            Self::CheckpointLosesRow => "checkpoint-loses-row",
            Self::WatchMissesEnd => "watch-misses-end",
            Self::TargetLockIgnored => "target-lock-ignored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_bug_that_it_was_given_and_no_other() {
        let unknown = plant("no-such-bug").expect_err("it is none");
        assert!(unknown.to_string().contains("vote-not-synced, log-not-synced"), "{unknown}");
        assert_eq!(planted(), None);
        assert_eq!(plant("early-publication"), Ok(Bug::EarlyPublication));
        assert!(is(Bug::EarlyPublication) && !is(Bug::LogNotSynced));
    }

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Bug::ALL.len());
    }
}
