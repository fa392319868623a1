//! Limits on bytes and requests per second, per job and for the whole worker: whoever copies takes its bytes here first,
//! whoever asks a store its turn, and waits until they are free. A job's are this worker's share of its limits.

use crate::failure::Fault;
use crate::permit::Permit;
use ferry_proto::v1::{Assign, Limit};
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
/// The longest that what passed by an older rate holds up a new one.
const DEBT_MAX: Duration = Duration::from_millis(250);
/// Rates of requests are in thousandths of one.
const REQUEST: u64 = 1_000;

/// This worker's part of a job's limits, over all its attempts of the job; `None`: no limit, 0: nothing passes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) requests_per_1000_s: Option<u64>,
}

impl From<&Assign> for Share {
    fn from(assign: &Assign) -> Share {
        Share {
            bytes_per_second: rate(assign.bandwidth_bytes_per_second, assign.bandwidth_held),
            requests_per_1000_s: rate(assign.requests_per_1000_s, assign.requests_held),
        }
    }
}

impl From<&Limit> for Share {
    fn from(limit: &Limit) -> Share {
        Share {
            bytes_per_second: rate(limit.bandwidth_bytes_per_second, limit.bandwidth_held),
            requests_per_1000_s: rate(limit.requests_per_1000_s, limit.requests_held),
        }
    }
}

/// An assignment that has not begun begins with a share that came after it.
pub(crate) fn adopt(assign: &mut Assign, limit: &Limit) {
    assign.bandwidth_bytes_per_second = limit.bandwidth_bytes_per_second;
    assign.bandwidth_held = limit.bandwidth_held;
    assign.requests_per_1000_s = limit.requests_per_1000_s;
    assign.requests_held = limit.requests_held;
}

/// Where 0 means no limit.
fn rate(per_second: u64, held: bool) -> Option<u64> {
    if held { Some(0) } else { (per_second > 0).then_some(per_second) }
}

/// One limit: so much in a second.
#[derive(Debug)]
struct Rate {
    state: Mutex<State>,
    /// Wakes those who wait by the old limit.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// As in [`Share`].
    per_second: Option<u64>,
    free_at: Option<Instant>,
}

impl Rate {
    fn new(per_second: Option<u64>) -> Rate {
        Rate { state: Mutex::new(State { per_second, free_at: None }), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, per_second: Option<u64>, now: Instant) {
        let mut state = self.state();
        if state.per_second != per_second {
            // What was booked at the old limit does not hold up the new one, but limits that change often pass no more for it.
            let free_at = state.free_at.map(|at| at.min(now + DEBT_MAX));
            *state = State { per_second, free_at };
            self.changed.notify_waiters();
        }
    }

    /// Books an amount and tells how long to wait before it may pass; `None`: nothing is booked, nothing passes for now.
    fn reserve(&self, amount: u64, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        let per_second = match state.per_second {
            None => return Some(Duration::ZERO),
            Some(0) => return None,
            Some(per_second) => per_second,
        };
        let start = state.free_at.map_or(now, |free_at| free_at.max(now));
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
        state.free_at = Some(start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4)));
        Some(start - now)
    }

    fn per_second(&self) -> Option<u64> {
        self.state().per_second
    }

    fn chunk_bytes(&self) -> u64 {
        match self.per_second() {
            None => CHUNK_BYTES_MAX,
            Some(limit) => (limit / CHUNKS_PER_SECOND).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX),
        }
    }

    /// Waits until so much may pass, and until `also_until`; a new limit counts from when it is set, for what waits as well.
    async fn take(&self, amount: u64, also_until: Instant, permit: &Permit) -> Result<(), Fault> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let Some(wait) = self.reserve(amount, now) else {
                permit.unless_ended(changed).await?;
                continue;
            };
            let wait = wait.max(also_until.saturating_duration_since(now));
            if wait.is_zero() {
                return permit.check();
            }
            tokio::select! {
                waited = permit.unless_ended(tokio::time::sleep(wait)) => {
                    waited?;
                    return permit.check();
                }
                () = changed => {}
            }
        }
    }
}

/// The limits of one job on this worker.
#[derive(Debug)]
struct JobLimits {
    bytes: Rate,
    requests: Rate,
}

impl JobLimits {
    fn set(&self, share: Share) {
        let now = Instant::now();
        self.bytes.set(share.bytes_per_second, now);
        self.requests.set(share.requests_per_1000_s, now);
    }
}

/// The limits of a worker and of the jobs that run on it.
#[derive(Debug)]
pub(crate) struct Bandwidths {
    worker: Arc<Rate>,
    jobs: Mutex<BTreeMap<i64, Weak<JobLimits>>>,
}

impl Bandwidths {
    /// The worker's own limit over all jobs; 0: none.
    pub(crate) fn new(bytes_per_second: u64) -> Bandwidths {
        Bandwidths { worker: Arc::new(Rate::new(rate(bytes_per_second, false))), jobs: Mutex::new(BTreeMap::new()) }
    }

    /// The limits for an attempt of this job; its attempts share one, and the latest value counts for all of them.
    pub(crate) fn of_job(&self, job_id: i64, share: Share) -> Limits {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, limits| limits.strong_count() > 0);
        let new = || Arc::new(JobLimits { bytes: Rate::new(None), requests: Rate::new(None) });
        let job = jobs.get(&job_id).and_then(Weak::upgrade).unwrap_or_else(new);
        job.set(share);
        jobs.insert(job_id, Arc::downgrade(&job));
        Limits { job, worker: Arc::clone(&self.worker) }
    }

    /// The share of a job has changed; nothing where none of its attempts is left.
    pub(crate) fn change(&self, job_id: i64, share: Share) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(&job_id).and_then(Weak::upgrade) {
            job.set(share);
        }
    }
}

/// What one attempt has to keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    job: Arc<JobLimits>,
    worker: Arc<Rate>,
}

impl Limits {
    /// How much to copy at once so that progress and stops stay prompt under a low limit.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.job.bytes.chunk_bytes().min(self.worker.chunk_bytes())
    }

    /// Whether all bytes may pass at once.
    pub(crate) fn are_none(&self) -> bool {
        self.bytes_per_second().is_none()
    }

    /// The lower of the two limits; `None`: there is none.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        [self.job.bytes.per_second(), self.worker.per_second()].into_iter().flatten().min()
    }

    /// Waits until `bytes` may pass.
    pub(crate) async fn take(&self, bytes: u64, permit: &Permit) -> Result<(), Fault> {
        let now = Instant::now();
        let worker_at = now + self.worker.reserve(bytes, now).unwrap_or_default();
        self.job.bytes.take(bytes, worker_at, permit).await
    }

    /// The turns of the requests that an attempt sends.
    pub(crate) fn turns(&self, permit: &Permit) -> Turns {
        Turns { job: Arc::clone(&self.job), permit: permit.clone() }
    }
}

/// Turns of requests, by the limit of a job, as long as an attempt of it has its permission.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    job: Arc<JobLimits>,
    permit: Permit,
}

impl Turns {
    /// Waits for the next turn. With it the attempt still has its permission, however long that took.
    pub(crate) async fn next(&self) -> Result<(), Fault> {
        self.job.requests.take(REQUEST, Instant::now(), &self.permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Side;
    use crate::lease::Term;
    use crate::place::Place;
    use ferry_objects::Stores;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    fn bytes(bytes_per_second: u64) -> Share {
        Share { bytes_per_second: Some(bytes_per_second), requests_per_1000_s: None }
    }

    fn millis(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn bytes_pass_at_the_limit_and_no_faster() {
        let rate = Rate::new(Some(1_000));
        let start = Instant::now();
        assert_eq!(rate.reserve(500, start), millis(0));
        assert_eq!(rate.reserve(500, start), millis(500));
        assert_eq!(rate.reserve(1, start + Duration::from_secs(5)), millis(0), "unused time is not saved up");
    }

    #[test]
    fn no_limit_never_waits() {
        let rate = Rate::new(None);
        let start = Instant::now();
        assert_eq!(rate.reserve(u64::MAX, start), millis(0));
        assert_eq!(rate.reserve(u64::MAX, start), millis(0));
    }

    #[test]
    fn attempts_of_one_job_share_its_limit() {
        let limits = Bandwidths::new(0);
        let (one, two) = (limits.of_job(7, bytes(1_000)), limits.of_job(7, bytes(1_000)));
        let other = limits.of_job(8, bytes(1_000));
        let now = Instant::now();
        assert_eq!(one.job.bytes.reserve(1_000, now), millis(0));
        assert_eq!(two.job.bytes.reserve(1_000, now), millis(1_000));
        assert_eq!(other.job.bytes.reserve(1_000, now), millis(0));
    }

    #[test]
    fn a_new_limit_counts_soon_whatever_was_booked_at_the_old_one() {
        let limits = Bandwidths::new(0);
        let attempt = limits.of_job(7, bytes(1));
        attempt.job.bytes.reserve(1_000_000, Instant::now());
        limits.change(7, bytes(1_000));
        let wait = attempt.job.bytes.reserve(1, Instant::now()).unwrap();
        assert!(wait <= DEBT_MAX, "{wait:?}");
    }

    #[test]
    fn limits_that_change_all_the_time_let_no_more_pass() {
        let rate = Rate::new(Some(1_000));
        let start = Instant::now();
        let mut passed = 0;
        for step in 0..1_000 {
            let now = start + Duration::from_millis(step);
            rate.set(Some(1_000 + step % 2), now);
            passed += u64::from(rate.reserve(250, now) == millis(0)) * 250;
        }
        assert!(passed <= 1_250, "{passed} bytes in a second");
    }

    #[test]
    fn chunks_shrink_with_the_limit_but_stay_useful() {
        assert_eq!(Rate::new(None).chunk_bytes(), CHUNK_BYTES_MAX);
        assert_eq!(Rate::new(Some(0)).chunk_bytes(), CHUNK_BYTES_MIN);
        assert_eq!(Rate::new(Some(4_000_000)).chunk_bytes(), 1_000_000);
    }

    #[test]
    fn a_share_of_nothing_is_told_apart_from_no_limit() {
        let none = Share::from(&Limit { job_id: 7, ..Limit::default() });
        assert_eq!(none, Share::default());
        let held = Share::from(&Assign { requests_held: true, bandwidth_bytes_per_second: 5, ..Assign::default() });
        assert_eq!(held, Share { bytes_per_second: Some(5), requests_per_1000_s: Some(0) });
    }

    #[test]
    fn an_assignment_that_waits_begins_with_the_share_that_came_last() {
        let held = Limit { bandwidth_bytes_per_second: 1, bandwidth_held: true, ..Limit::default() };
        let some = Limit { bandwidth_bytes_per_second: 45, requests_per_1000_s: 3_300, ..Limit::default() };
        let none = Limit::default();
        let no_request = Limit { requests_per_1000_s: 1, requests_held: true, ..Limit::default() };
        for first in [&held, &some, &none, &no_request] {
            for last in [&held, &some, &none, &no_request] {
                let mut assign = Assign::default();
                adopt(&mut assign, first);
                adopt(&mut assign, last);
                assert_eq!(Share::from(&assign), Share::from(last), "{first:?}, {last:?}");
            }
        }
    }

    fn permit() -> (Permit, CancellationToken, watch::Sender<Option<Term>>) {
        let term = Term { number: 1, ends_at: Instant::now() + Duration::from_secs(60) };
        let (sender, receiver) = watch::channel(Some(term));
        let stop = CancellationToken::new();
        (Permit::new(term, receiver, stop.clone()), stop, sender)
    }

    #[tokio::test]
    async fn a_request_waits_while_the_share_is_nothing_and_goes_on_with_the_next_one() {
        let (permit, _stop, _lease) = permit();
        let limits = Bandwidths::new(0);
        let attempt = limits.of_job(7, Share { bytes_per_second: None, requests_per_1000_s: Some(0) });
        let turns = attempt.turns(&permit);
        let mut waits = tokio::spawn(async move { turns.next().await });
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut waits).is_pending());
        limits.change(7, Share { bytes_per_second: None, requests_per_1000_s: Some(5_000) });
        assert_eq!(waits.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_place_asks_its_store_nothing_while_the_share_is_nothing() {
        let (permit, _stop, _lease) = permit();
        let limits = Bandwidths::new(0);
        let attempt = limits.of_job(7, Share { bytes_per_second: None, requests_per_1000_s: Some(0) });
        let location = Stores::new().open("memory:///target").unwrap();
        let place = Place::new(location, Side::Target, Duration::from_secs(30)).paced_by(attempt.turns(&permit));
        let mut looks = tokio::spawn(async move { (place.head("a").await, place.delete("a").await) });
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut looks).is_pending());
        limits.change(7, Share::default());
        let (found, deleted) = looks.await.unwrap();
        assert!(found.unwrap().is_none() && deleted.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_waits_for_its_turn_is_given_up_with_its_attempt() {
        let (permit, stop, _lease) = permit();
        let attempt = Bandwidths::new(0).of_job(7, Share { bytes_per_second: None, requests_per_1000_s: Some(1) });
        let turns = attempt.turns(&permit);
        assert_eq!(turns.next().await, Ok(()), "the first one has its turn at once");
        let waits = tokio::spawn(async move { turns.next().await });
        tokio::task::yield_now().await;
        stop.cancel();
        assert_eq!(waits.await.unwrap(), Err(Fault::Stopped));
    }
}
