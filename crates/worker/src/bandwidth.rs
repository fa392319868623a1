//! Limits on bytes per second, per job and for the whole worker: whoever copies takes its bytes here first, and waits
//! until they are free.

use crate::failure::Fault;
use crate::permit::Permit;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How much is copied at once; a stop takes effect between two chunks.
pub(crate) const CHUNK_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The smallest chunk, however low the limit.
const CHUNK_BYTES_MIN: u64 = 64 * 1024;
/// Under a limit, a chunk is what may pass in this part of a second.
const CHUNKS_PER_SECOND: u64 = 4;

/// One limit; 0 bytes per second is none.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    state: Mutex<State>,
    /// Wakes those who wait by the old limit.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    bytes_per_second: u64,
    free_at: Option<Instant>,
}

impl Bandwidth {
    pub(crate) fn new(bytes_per_second: u64) -> Bandwidth {
        Bandwidth { state: Mutex::new(State { bytes_per_second, free_at: None }), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, bytes_per_second: u64) {
        let mut state = self.state();
        if state.bytes_per_second != bytes_per_second {
            // What was booked at the old limit does not hold up the new one.
            *state = State { bytes_per_second, free_at: None };
            self.changed.notify_waiters();
        }
    }

    /// Books `bytes` and tells how long to wait before they may pass.
    fn reserve(&self, bytes: u64, now: Instant) -> Duration {
        let mut state = self.state();
        if state.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let start = state.free_at.map_or(now, |free_at| free_at.max(now));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(state.bytes_per_second);
        state.free_at = Some(start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4)));
        start - now
    }

    fn is_none(&self) -> bool {
        self.state().bytes_per_second == 0
    }

    fn chunk_bytes(&self) -> u64 {
        match self.state().bytes_per_second {
            0 => CHUNK_BYTES_MAX,
            limit => (limit / CHUNKS_PER_SECOND).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
        }
    }
}

/// The limits of a worker and of the jobs that run on it.
#[derive(Debug)]
pub(crate) struct Bandwidths {
    worker: Arc<Bandwidth>,
    jobs: Mutex<BTreeMap<i64, Weak<Bandwidth>>>,
}

impl Bandwidths {
    pub(crate) fn new(bytes_per_second: u64) -> Bandwidths {
        Bandwidths { worker: Arc::new(Bandwidth::new(bytes_per_second)), jobs: Mutex::new(BTreeMap::new()) }
    }

    /// The limits for an attempt of this job; its attempts share one, and the latest value counts for all of them.
    pub(crate) fn of_job(&self, job_id: i64, bytes_per_second: u64) -> Limits {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, limit| limit.strong_count() > 0);
        let job = jobs.get(&job_id).and_then(Weak::upgrade).unwrap_or_else(|| Arc::new(Bandwidth::new(0)));
        job.set(bytes_per_second);
        jobs.insert(job_id, Arc::downgrade(&job));
        Limits { job, worker: Arc::clone(&self.worker) }
    }

    /// The limit of a job has changed; nothing where none of its attempts is left.
    pub(crate) fn change(&self, job_id: i64, bytes_per_second: u64) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&job_id).and_then(Weak::upgrade) {
            job.set(bytes_per_second);
        }
    }
}

/// What one attempt has to keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    job: Arc<Bandwidth>,
    worker: Arc<Bandwidth>,
}

impl Limits {
    /// How much to copy at once so that progress and stops stay prompt under a low limit.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.job.chunk_bytes().min(self.worker.chunk_bytes())
    }

    /// Whether everything may pass at once.
    pub(crate) fn are_none(&self) -> bool {
        self.job.is_none() && self.worker.is_none()
    }

    /// Waits until `bytes` may pass; a new limit of the job counts from when it is set, for what waits as well.
    pub(crate) async fn take(&self, bytes: u64, permit: &Permit) -> Result<(), Fault> {
        let began = Instant::now();
        let worker_at = began + self.worker.reserve(bytes, began);
        loop {
            let mut changed = pin!(self.job.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let wait = self.job.reserve(bytes, now).max(worker_at.saturating_duration_since(now));
            if wait.is_zero() {
                return permit.check();
            }
            tokio::select! {
                waited = permit.unless_ended(tokio::time::sleep(wait)) => return waited,
                () = changed => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_limit_and_no_faster() {
        let bandwidth = Bandwidth::new(1_000);
        let start = Instant::now();
        assert_eq!(bandwidth.reserve(500, start), Duration::ZERO);
        assert_eq!(bandwidth.reserve(500, start), Duration::from_millis(500));
        assert_eq!(bandwidth.reserve(1, start + Duration::from_secs(5)), Duration::ZERO, "unused time is not saved up");
    }

    #[test]
    fn no_limit_never_waits() {
        let bandwidth = Bandwidth::new(0);
        let start = Instant::now();
        assert_eq!(bandwidth.reserve(u64::MAX, start), Duration::ZERO);
        assert_eq!(bandwidth.reserve(u64::MAX, start), Duration::ZERO);
    }

    #[test]
    fn attempts_of_one_job_share_its_limit() {
        let limits = Bandwidths::new(0);
        let (one, two) = (limits.of_job(7, 1_000), limits.of_job(7, 1_000));
        let other = limits.of_job(8, 1_000);
        let now = Instant::now();
        assert_eq!(one.job.reserve(1_000, now), Duration::ZERO);
        assert_eq!(two.job.reserve(1_000, now), Duration::from_secs(1));
        assert_eq!(other.job.reserve(1_000, now), Duration::ZERO);
    }

    #[test]
    fn a_new_limit_counts_at_once() {
        let limits = Bandwidths::new(0);
        let attempt = limits.of_job(7, 1);
        let now = Instant::now();
        attempt.job.reserve(1_000_000, now);
        limits.of_job(7, 1_000);
        assert_eq!(attempt.job.reserve(1, now), Duration::ZERO);
    }

    #[test]
    fn chunks_shrink_with_the_limit_but_stay_useful() {
        assert_eq!(Bandwidth::new(0).chunk_bytes(), CHUNK_BYTES_MAX);
        assert_eq!(Bandwidth::new(1).chunk_bytes(), CHUNK_BYTES_MIN);
        assert_eq!(Bandwidth::new(4_000_000).chunk_bytes(), 1_000_000);
    }
}
