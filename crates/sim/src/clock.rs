//! Clocks: every process has its own monotonic one, which drifts, and a wall clock that jumps.

use crate::random::Random;

/// How far a monotonic clock may run wrong, in parts per million; leases have a margin for it.
const DRIFT_PPM_MAX: u64 = 20_000;

/// The clocks of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    offset_ms: u64,
    rate_ppm: u64,
    /// What the wall clock is ahead, from the point of view of one that is a day behind.
    pub(crate) wall_ahead_ms: u64,
}

impl Clock {
    /// One that is as wrong as chance wants.
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            offset_ms: random.between(0, 1_000_000),
            rate_ppm: 1_000_000 + random.between(0, 2 * DRIFT_PPM_MAX) - DRIFT_PPM_MAX,
            wall_ahead_ms: random.between(0, 100_000_000),
        }
    }

    /// What the monotonic clock shows at a true moment.
    pub(crate) fn monotonic_ms(&self, now_ms: u64) -> u64 {
        self.offset_ms + now_ms * self.rate_ppm / 1_000_000
    }

    /// What the wall clock shows at a true moment.
    pub(crate) fn wall_ms(&self, now_ms: u64) -> u64 {
        self.wall_ahead_ms + now_ms
    }
}
