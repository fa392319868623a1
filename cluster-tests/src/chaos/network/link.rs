//! One direction between two hosts: what is done to its packets, and how many it was done to.
//!
//! Invariant: a packet is counted for what really happened to it, so a count above zero proves that a fault bit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is done to packets; the default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rules {
    /// None gets through.
    pub cut: bool,
    /// Of a thousand, so many are lost.
    pub lost_permille: u32,
    /// Of a thousand, so many arrive twice.
    pub doubled_permille: u32,
    /// Of a thousand, so many are held back while later ones pass.
    pub held_permille: u32,
    /// Every packet is late by this.
    pub delay: Duration,
    /// And by up to this.
    pub jitter: Duration,
}

/// Packets by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Passed on, whether late or not.
    pub passed: u64,
    /// Dropped by a cut.
    pub dropped: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Late on purpose.
    pub delayed: u64,
    /// Sent twice.
    pub doubled: u64,
    /// Passed a packet that was sent before them.
    pub overtook: u64,
}

/// What is to be done with one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not at all.
    Drop,
    /// Not at all, by chance.
    Lose,
    /// Send it at once.
    Pass,
    /// Send it then.
    At(Instant),
    /// Send it at once and again then.
    Twice(Instant),
}

/// A held packet is late by this much.
const HELD_MS: std::ops::Range<u64> = 5..40;
/// The second of a pair comes this much later.
const DOUBLED_MS: std::ops::Range<u64> = 0..20;

/// A link.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Whether there are rules at all, to be seen without a lock.
    ruled: AtomicBool,
    state: Mutex<State>,
    passed: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    delayed: AtomicU64,
    doubled: AtomicU64,
    overtook: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    rules: Rules,
    /// Packets that are only late keep their order: none leaves before the one before it.
    last_leaves_at: Option<Instant>,
    /// When the packets that are held back leave.
    held_until: Vec<Instant>,
}

impl Link {
    /// Changes the rules; several faults may have a hand in them, each in fields of its own.
    pub(super) fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state.rules);
        self.ruled.store(state.rules != Rules::default(), Ordering::Release);
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            passed: read(&self.passed),
            dropped: read(&self.dropped),
            lost: read(&self.lost),
            delayed: read(&self.delayed),
            doubled: read(&self.doubled),
            overtook: read(&self.overtook),
        }
    }

    /// Decides about one packet; `draw` gives numbers below its argument.
    pub(super) fn decide(&self, now: Instant, draw: &mut impl FnMut(u64) -> u64) -> Fate {
        if !self.ruled.load(Ordering::Acquire) {
            return self.count(Fate::Pass);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = state.decide(now, draw);
        if state.is_overtaken(now, fate) {
            self.overtook.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        self.count(fate)
    }

    fn count(&self, fate: Fate) -> Fate {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        match fate {
            Fate::Drop => add(&self.dropped),
            Fate::Lose => add(&self.lost),
            Fate::Pass => add(&self.passed),
            Fate::At(_) => add(&self.passed) + add(&self.delayed),
            Fate::Twice(_) => add(&self.passed) + add(&self.doubled),
        };
        fate
    }
}

impl State {
    fn decide(&mut self, now: Instant, draw: &mut impl FnMut(u64) -> u64) -> Fate {
        let Rules { cut, lost_permille, doubled_permille, held_permille, delay, jitter } = self.rules;
        let mut hits = |permille: u32| permille > 0 && draw(1_000) < u64::from(permille);
        if cut {
            return Fate::Drop;
        }
        if hits(lost_permille) {
            return Fate::Lose;
        }
        let (held, doubled) = (hits(held_permille), hits(doubled_permille));
        if held {
            let leaves_at = now + milliseconds(HELD_MS, draw);
            self.held_until.push(leaves_at);
            return Fate::At(leaves_at);
        }
        if doubled {
            return Fate::Twice(now + milliseconds(DOUBLED_MS, draw));
        }
        if delay.is_zero() && jitter.is_zero() {
            return Fate::Pass;
        }
        let jitter_us = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX).max(1);
        let leaves_at = now + delay + Duration::from_micros(draw(jitter_us));
        let leaves_at = self.last_leaves_at.map_or(leaves_at, |last| last.max(leaves_at));
        self.last_leaves_at = Some(leaves_at);
        Fate::At(leaves_at)
    }

    /// Whether a packet that leaves now passes one that is still held.
    fn is_overtaken(&mut self, now: Instant, fate: Fate) -> bool {
        self.held_until.retain(|until| *until > now);
        match fate {
            Fate::Pass | Fate::Twice(_) => !self.held_until.is_empty(),
            Fate::Drop | Fate::Lose | Fate::At(_) => false,
        }
    }
}

fn milliseconds(range: std::ops::Range<u64>, draw: &mut impl FnMut(u64) -> u64) -> Duration {
    Duration::from_millis(range.start + draw(range.end - range.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every draw hits, and is the lowest.
    fn lowest(_: u64) -> u64 {
        0
    }

    fn ruled(rules: Rules) -> Link {
        let link = Link::default();
        link.change(|own| *own = rules);
        link
    }

    #[test]
    fn a_link_without_rules_passes_everything_at_once() {
        let link = Link::default();
        assert_eq!(link.decide(Instant::now(), &mut lowest), Fate::Pass);
        assert_eq!(link.counts(), Counts { passed: 1, ..Counts::default() });
    }

    #[test]
    fn a_cut_link_drops_everything_until_it_is_mended() {
        let link = ruled(Rules { cut: true, ..Rules::default() });
        assert_eq!(link.decide(Instant::now(), &mut lowest), Fate::Drop);
        link.change(|own| *own = Rules::default());
        assert_eq!(link.decide(Instant::now(), &mut lowest), Fate::Pass);
        assert_eq!(link.counts(), Counts { passed: 1, dropped: 1, ..Counts::default() });
    }

    #[test]
    fn packets_that_are_only_late_keep_their_order() {
        let link =
            ruled(Rules { delay: Duration::from_millis(5), jitter: Duration::from_millis(5), ..Rules::default() });
        let now = Instant::now();
        let first = link.decide(now, &mut |below| below - 1);
        let second = link.decide(now, &mut lowest);
        assert_eq!(first, second, "the second would have left before the first");
        assert_eq!(link.counts().delayed, 2);
    }

    #[test]
    fn reordering_counts_only_when_a_later_packet_passed() {
        let link = ruled(Rules { held_permille: 500, ..Rules::default() });
        let now = Instant::now();
        assert!(matches!(link.decide(now, &mut lowest), Fate::At(_)));
        assert_eq!(link.counts().overtook, 0, "held, and nothing has passed it");
        assert_eq!(link.decide(now, &mut |below| below - 1), Fate::Pass);
        assert_eq!(link.counts().overtook, 1);
    }

    #[test]
    fn a_doubled_packet_leaves_twice() {
        let link = ruled(Rules { doubled_permille: 1_000, ..Rules::default() });
        assert!(matches!(link.decide(Instant::now(), &mut lowest), Fate::Twice(_)));
        assert_eq!(link.counts(), Counts { passed: 1, doubled: 1, ..Counts::default() });
    }
}
