//! Cluster time: it advances only through the log, so it is the same on every replica.

/// A moment of cluster time, in milliseconds since the cluster began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `duration_ms` more, or the end of time where that does not fit.
    #[must_use]
    pub fn plus(self, duration_ms: u64) -> Self {
        Self(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this moment, zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When something happened: cluster time for every decision, the leader's wall clock for display only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp {
    /// Cluster time.
    pub at: Time,
    /// The leader's wall clock, in milliseconds since the Unix epoch; never compared with anything.
    pub wall_ms: u64,
}
