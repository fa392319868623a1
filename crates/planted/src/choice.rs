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
}
