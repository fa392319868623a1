//! What a simulated cluster is configured with, and how large the simulation of a seed is.

use crate::random::mixed;

/// A worker's lease as the leader counts it.
pub(crate) const LEASE_MS: u64 = 9_000;
/// What the worker uses of it, by its own clock.
pub(crate) const LEASE_USED_MS: u64 = LEASE_MS - LEASE_MS / 5;
/// How often a worker says that it is there.
pub(crate) const HEARTBEAT_MS: u64 = 3_000;
/// Longest time that a write may be in flight, as the leader takes it; the workers' own limit is shorter.
pub(crate) const REQUEST_TIMEOUT_MS: u64 = 2_000;
/// Longest time that a write is in flight.
pub(crate) const WRITE_MS_MAX: u64 = 1_800;
/// Longest time that a remote store may carry out a write after its worker gave it up, as leader and workers take it.
pub(crate) const LATE_WRITES_MS: u64 = 20_000;
/// Longest time after it was sent that a remote store carries one out.
pub(crate) const LATE_WRITE_MS_MAX: u64 = 18_000;
/// How often the leader's loop comes round when nothing wakes it.
pub(crate) const CHECK_INTERVAL_MS: u64 = 2_000;
/// A drop is told again when it was not answered for this long.
pub(crate) const DROP_REPEAT_MS: u64 = 2_000;
/// How long events are kept: through all of a simulation, and not over the day after, at whose end none may be left.
pub(crate) const EVENT_RETENTION_MS: u64 = 60 * 60_000;
/// Where the cluster's own ids begin.
pub(crate) const ID_START: i64 = 1_000_000;
/// Everything must have healed this long after the faults ended.
pub(crate) const HEALING_MS_MAX: u64 = 20 * 60_000;

/// How large a simulation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Submits.
    pub submits: u64,
    /// Workers.
    pub workers: usize,
    /// Replicas.
    pub nodes: usize,
    /// How long faults go on.
    pub faults_ms: u64,
    /// One fault in this time, at the least.
    pub calm_ms: u64,
}

impl Scale {
    /// A small one, to be read.
    pub const STORY: Self = Self { submits: 1, workers: 1, nodes: 3, faults_ms: 3_000, calm_ms: 2_500 };

    /// That of a seed: clusters of one to three workers on three or five nodes.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let chance = mixed(seed);
        Self {
            submits: 3 + chance % 4,
            workers: 1 + usize::from(chance.is_multiple_of(3)) + usize::from(chance.is_multiple_of(2)),
            nodes: if chance.is_multiple_of(8) { 5 } else { 3 },
            faults_ms: 15_000 + chance % 25_000,
            calm_ms: 800 + chance % 4_000,
        }
    }
}
