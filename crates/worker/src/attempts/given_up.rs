//! Attempts that were said to be dropped: the lease of each may be released at any moment from then on.

use crate::attempt::Key;
use std::collections::BTreeMap;

/// Tasks that are remembered; their ids grow, so the oldest are forgotten first.
const TASKS_MAX: usize = 10_000;

/// The last attempt of each task that was said to be dropped. It never begins again, not even when the leader has yet to
/// hear of it and assigns it once more.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    last: BTreeMap<i64, Last>,
}

#[derive(Debug, Default)]
struct Last {
    attempt: u32,
    /// As in `Dropped`, of `workers.proto`.
    writes_for_ms: u64,
}

impl GivenUp {
    /// Whether this attempt, or a later one of its task, was given up.
    pub(super) fn has(&self, key: Key) -> bool {
        self.last.get(&key.task_id).is_some_and(|last| last.attempt >= key.attempt)
    }

    /// Gives an attempt up, which the store may have something left to carry out of. One that was given up before left what
    /// it left then, however often that is told.
    pub(super) fn add(&mut self, key: Key, writes_for_ms: u64) -> u64 {
        let last = self.last.entry(key.task_id).or_default();
        if key.attempt > last.attempt {
            *last = Last { attempt: key.attempt, writes_for_ms };
        } else {
            last.writes_for_ms = last.writes_for_ms.max(writes_for_ms);
        }
        let told_ms = last.writes_for_ms;
        if self.last.len() > TASKS_MAX {
            self.last.pop_first();
        }
        told_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task_id: i64, attempt: u32) -> Key {
        Key { task_id, attempt }
    }

    #[test]
    fn what_an_attempt_left_behind_is_told_again_and_a_later_attempt_has_its_own() {
        let mut given_up = GivenUp::default();
        assert_eq!(given_up.add(key(7, 1), 60_000), 60_000);
        assert!(given_up.has(key(7, 1)) && !given_up.has(key(7, 2)) && !given_up.has(key(8, 1)));
        assert_eq!(given_up.add(key(7, 1), 0), 60_000, "the leader asks once more");
        assert_eq!(given_up.add(key(7, 2), 0), 0);
        assert!(given_up.has(key(7, 1)));
    }
}
