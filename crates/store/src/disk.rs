//! Which writes and syncs are under way that others wait for, and since when: a disk that no longer answers is seen by
//! one who does not touch it. A thread that waits for such a disk can be neither stopped nor asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The action in which a vote is saved, on which elections wait.
pub const SAVING_THE_VOTE: &str = "saving the vote";

/// What the disk of one node is doing; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    running: BTreeMap<u64, (&'static str, Instant)>,
}

/// A write or sync that has not come back yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// What is done.
    pub action: &'static str,
    /// For how long it has been under way.
    pub elapsed: Duration,
}

impl Disk {
    /// Does something that the disk must answer.
    pub(crate) fn during<T>(&self, action: &'static str, act: impl FnOnce() -> T) -> T {
        let number = {
            let mut state = self.lock();
            state.begun += 1;
            let number = state.begun;
            state.running.insert(number, (action, Instant::now()));
            number
        };
        let _running = Running { disk: self, number };
        act()
    }

    /// What has been under way longest.
    #[must_use]
    pub fn longest(&self) -> Option<Pending> {
        let state = self.lock();
        // Numbers grow with time.
        let (action, began) = state.running.first_key_value()?.1;
        Some(Pending { action, elapsed: began.elapsed() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the action, however that ends.
struct Running<'a> {
    disk: &'a Disk,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.disk.lock().running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::Disk;

    #[test]
    fn the_action_that_began_first_is_the_longest_until_it_comes_back() {
        let disk = Disk::default();
        assert_eq!(disk.longest(), None);
        disk.during("write", || {
            disk.during("sync", || {
                assert_eq!(disk.longest().map(|pending| pending.action), Some("write"));
            });
        });
        assert_eq!(disk.longest(), None);
    }
}
