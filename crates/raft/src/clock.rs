//! Cluster time as its leader makes it: the last committed time plus the leader's own monotonic clock since it began
//! to lead. A wall clock is read for display alone, so one that jumps changes nothing.

use ferry_machine::time::{Stamp, Time};
use ferry_planted::Bug;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The clock of one leadership; it dies with it.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Time,
    began: Instant,
}

impl Clock {
    /// A clock that goes on from `base`, the last committed time.
    pub(crate) fn starting_at(base: Time) -> Self {
        Self { base, began: Instant::now() }
    }

    /// The stamp of an entry that is proposed now; never earlier than one given before.
    pub(crate) fn stamp(&self) -> Stamp {
        if ferry_planted::is(Bug::WallClockIsTime) {
            return Stamp { at: Time(wall_ms()), wall_ms: wall_ms() };
        }
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Stamp { at: self.base.plus(elapsed_ms), wall_ms: wall_ms() }
    }
}

/// The wall clock, for display.
pub(crate) fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_from_its_base_and_never_back() {
        let clock = Clock::starting_at(Time(5_000));
        let first = clock.stamp();
        let second = clock.stamp();
        assert!(first.at >= Time(5_000));
        assert!(second.at >= first.at);
    }
}
