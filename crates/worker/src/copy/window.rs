//! How many parts of one object are in flight. A line is no faster for more of them: where each takes long, fewer go at
//! once, so that none is cut off by the time limit on one request.

use std::time::Duration;

/// At first.
const PARTS_FIRST: usize = 4;
/// At most.
pub(super) const PARTS_MAX: usize = 8;
/// One more part goes at once while each is answered within this share of the limit.
const FAST_DIVISOR: u32 = 8;
/// Half as many go at once when one takes longer than this share.
const SLOW_DIVISOR: u32 = 4;

/// Pure: durations are given.
#[derive(Debug)]
pub(super) struct Window {
    parts: usize,
    limit: Duration,
}

impl Window {
    /// For requests that may take as long as `limit`.
    pub(super) fn new(limit: Duration) -> Window {
        Window { parts: PARTS_FIRST, limit }
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// A part was answered after so long.
    pub(super) fn answered(&mut self, after: Duration) {
        if after > self.limit / SLOW_DIVISOR {
            self.parts = (self.parts / 2).max(1);
        } else if after < self.limit / FAST_DIVISOR {
            self.parts = (self.parts + 1).min(PARTS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that a part takes on a line of so many bytes a second, shared by those in flight.
    fn part_on_line(bytes_per_second: u64, in_flight: usize) -> Duration {
        Duration::from_secs_f64((8 << 20) as f64 * in_flight as f64 / bytes_per_second as f64)
    }

    #[test]
    fn a_fast_line_takes_as_many_parts_as_there_may_be() {
        let mut window = Window::new(Duration::from_secs(30));
        for _ in 0..100 {
            window.answered(part_on_line(100 << 20, window.parts()));
        }
        assert_eq!(window.parts(), PARTS_MAX);
    }

    #[test]
    fn a_slow_line_takes_so_many_that_none_comes_near_the_limit() {
        let limit = Duration::from_secs(30);
        let mut window = Window::new(limit);
        for _ in 0..100 {
            let took = part_on_line(1 << 20, window.parts());
            window.answered(took);
            assert!(took < limit / 2 || window.parts() < PARTS_FIRST, "{took:?}");
        }
        assert!(part_on_line(1 << 20, window.parts()) < limit / 2, "{window:?}");
        for _ in 0..100 {
            window.answered(limit);
        }
        assert_eq!(window.parts(), 1, "one always goes");
    }
}
