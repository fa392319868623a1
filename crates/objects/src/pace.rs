//! How fast one store is asked. A store that wants fewer requests halves the rate, each answer raises it a little (additive
//! increase, multiplicative decrease, as in RFC 5681), and everything of a process that uses the store keeps to it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A store that still refuses is asked this often.
const RATE_MIN: f64 = 1.0;
/// A rate that has grown to this is no limit any more.
const RATE_FREE: f64 = 5_000.0;
/// What a second of good answers adds to the rate.
const INCREASE_PER_SECOND: f64 = 5.0;
/// The rate is halved at most once in this time: refusals of requests that were sent together are one.
const DECREASE_EVERY: Duration = Duration::from_secs(1);
/// How long the rate is measured before it is first limited.
const MEASURED_OVER: Duration = Duration::from_secs(1);

/// The pace of one store.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    rate_max: Option<f64>,
}

#[derive(Debug)]
struct State {
    /// Requests a second; none: as they come.
    rate: Option<f64>,
    /// When the next request may be sent.
    next: Instant,
    decreased: Option<Instant>,
    /// Requests since `counted_from`.
    counted: u32,
    counted_from: Instant,
    /// Requests a second in the time measured before.
    measured: f64,
}

impl Pace {
    /// Never faster than `rate_max` requests a second.
    pub(crate) fn new(rate_max: Option<u32>, now: Instant) -> Self {
        let rate_max = rate_max.map(f64::from);
        let state = State { rate: rate_max, next: now, decreased: None, counted: 0, counted_from: now, measured: 0.0 };
        Self { state: Mutex::new(state), rate_max }
    }

    /// When the next request may be sent; its turn is taken.
    pub(crate) fn turn(&self, now: Instant) -> Instant {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count(now);
        let Some(rate) = state.rate else { return now };
        let at = state.next.max(now);
        state.next = at + Duration::from_secs_f64(1.0 / rate);
        at
    }

    /// The store wants fewer requests: the rate from now on, where this has changed it.
    pub(crate) fn slow_down(&self, now: Instant) -> Option<f64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.decreased.is_some_and(|last| now.saturating_duration_since(last) < DECREASE_EVERY) {
            return None;
        }
        let was = state.rate.unwrap_or_else(|| state.rate_now(now));
        let rate = (was / 2.0).max(RATE_MIN);
        (state.rate, state.decreased) = (Some(rate), Some(now));
        Some(rate)
    }

    /// The store has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = state.rate {
            let raised = rate + INCREASE_PER_SECOND / rate;
            state.rate = match self.rate_max {
                Some(rate_max) => Some(raised.min(rate_max)),
                None => (raised < RATE_FREE).then_some(raised),
            };
        }
    }
}

impl State {
    fn count(&mut self, now: Instant) {
        let over = now.saturating_duration_since(self.counted_from);
        if over >= MEASURED_OVER {
            self.measured = f64::from(self.counted) / over.as_secs_f64();
            (self.counted, self.counted_from) = (0, now);
        }
        self.counted += 1;
    }

    /// The faster of the last second and of what has come since.
    fn rate_now(&self, now: Instant) -> f64 {
        let over = now.saturating_duration_since(self.counted_from).max(MEASURED_OVER);
        self.measured.max(f64::from(self.counted) / over.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// When each of `count` requests is sent that want to be sent at once.
    fn turns(pace: &Pace, now: Instant, count: usize) -> Vec<Duration> {
        (0..count).map(|_| pace.turn(now).saturating_duration_since(now)).collect()
    }

    #[test]
    fn nothing_waits_until_the_store_wants_fewer_requests() {
        let now = Instant::now();
        let pace = Pace::new(None, now);
        assert!(turns(&pace, now, 1_000).iter().all(Duration::is_zero));
        assert_eq!(pace.slow_down(now + MILLISECOND), Some(500.0), "half of what was sent");
        assert_eq!(pace.slow_down(now + 2 * MILLISECOND), None, "refused together");
        let waits = turns(&pace, now + 3 * MILLISECOND, 3);
        assert_eq!(waits, [0, 2, 4].map(Duration::from_millis));
    }

    #[test]
    fn a_store_that_refuses_on_is_still_asked_once_a_second() {
        let mut now = Instant::now();
        let pace = Pace::new(None, now);
        for _ in 0..20 {
            now += DECREASE_EVERY;
            pace.slow_down(now);
        }
        assert_eq!(turns(&pace, now, 2), [Duration::ZERO, Duration::from_secs(1)]);
    }

    #[test]
    fn answers_raise_the_rate_until_it_is_free() {
        let now = Instant::now();
        let pace = Pace::new(None, now);
        turns(&pace, now, 100);
        assert_eq!(pace.slow_down(now), Some(50.0));
        for _ in 0..50 {
            pace.answered();
        }
        let rate = pace.state.lock().unwrap().rate.unwrap();
        assert!((54.0..56.0).contains(&rate), "a second of answers adds five: {rate}");
        for _ in 0..3_000_000 {
            pace.answered();
        }
        assert_eq!(pace.state.lock().unwrap().rate, None);
    }

    #[test]
    fn a_rate_that_settings_name_is_never_passed() {
        let now = Instant::now();
        let pace = Pace::new(Some(10), now);
        assert_eq!(turns(&pace, now, 3), [0, 100, 200].map(Duration::from_millis));
        assert_eq!(pace.slow_down(now), Some(5.0));
        for _ in 0..10_000 {
            pace.answered();
        }
        assert_eq!(pace.state.lock().unwrap().rate, Some(10.0));
    }
}
