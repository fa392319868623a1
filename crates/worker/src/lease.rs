//! The worker's own view of its lease: it is counted from when a heartbeat was SENT, by the monotonic clock, and ends
//! here before it can have ended on the leader.
//!
//! Pure: every instant is given. A lease that ended and is renewed later is a new term; what was started under the old
//! one stays stopped, because the leader may have given it away in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The share of the lease that is given up, so that a write in flight when it ends is over before the leader's view of
/// the lease ends.
const MARGIN_DIVISOR: u32 = 5;
/// Heartbeats that wait for their answer; older ones are forgotten.
const UNANSWERED_MAX: usize = 64;

/// One uninterrupted period in which the worker may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// Counts the periods.
    pub(crate) number: u64,
    /// When it ends unless it is renewed before.
    pub(crate) ends_at: Instant,
}

/// The lease of this worker.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    usable: Duration,
    term: Option<Term>,
    unanswered: BTreeMap<u64, Instant>,
    last_sequence: u64,
}

impl Lease {
    /// A session is open whose renewals last `duration`; a leader that grants shorter ones shortens what is left too.
    pub(crate) fn welcome(&mut self, duration: Duration, hello_sent_at: Instant) {
        self.usable = duration - duration / MARGIN_DIVISOR;
        self.unanswered.clear();
        if let Some(term) = &mut self.term {
            term.ends_at = term.ends_at.min(hello_sent_at + self.usable);
        }
    }

    /// A heartbeat is sent now; the answer has its number.
    pub(crate) fn heartbeat(&mut self, now: Instant) -> u64 {
        self.last_sequence += 1;
        self.unanswered.insert(self.last_sequence, now);
        if self.unanswered.len() > UNANSWERED_MAX {
            self.unanswered.pop_first();
        }
        self.last_sequence
    }

    /// The leader renewed the lease in answer to this heartbeat. Unknown numbers, such as those of an earlier session,
    /// renew nothing.
    pub(crate) fn renewed(&mut self, sequence: u64, now: Instant) {
        let Some(sent_at) = self.unanswered.remove(&sequence) else { return };
        self.unanswered = self.unanswered.split_off(&sequence);
        let ends_at = sent_at + self.usable;
        match &mut self.term {
            Some(term) if now < term.ends_at => term.ends_at = term.ends_at.max(ends_at),
            term if now < ends_at => {
                let number = term.map_or(1, |ended| ended.number + 1);
                *term = Some(Term { number, ends_at });
            }
            _ => {}
        }
    }

    /// The last term, which may have ended.
    pub(crate) fn term(&self) -> Option<Term> {
        self.term
    }

    /// The term in which the worker may write now.
    pub(crate) fn term_at(&self, now: Instant) -> Option<Term> {
        self.term.filter(|term| now < term.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn welcomed(start: Instant) -> Lease {
        let mut lease = Lease::default();
        lease.welcome(LEASE, start);
        lease
    }

    #[test]
    fn there_is_no_lease_before_the_first_renewal() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        assert_eq!(lease.term_at(start), None);
        lease.heartbeat(start);
        assert_eq!(lease.term_at(start), None);
    }

    #[test]
    fn a_lease_counts_from_when_the_heartbeat_was_sent_and_ends_before_the_leaders() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let sequence = lease.heartbeat(start);
        lease.renewed(sequence, start + seconds(3));
        assert!(lease.term_at(start + seconds(7)).is_some());
        assert_eq!(lease.term_at(start + seconds(8)), None, "the leader's own lease ends two seconds later");
    }

    #[test]
    fn renewals_in_time_keep_one_term() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        for second in 0..30 {
            let sequence = lease.heartbeat(start + seconds(second));
            lease.renewed(sequence, start + seconds(second));
        }
        assert_eq!(lease.term_at(start + seconds(36)).map(|term| term.number), Some(1));
    }

    #[test]
    fn answers_out_of_order_never_shorten_a_lease() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let first = lease.heartbeat(start);
        let second = lease.heartbeat(start + seconds(2));
        lease.renewed(second, start + seconds(3));
        lease.renewed(first, start + seconds(4));
        assert_eq!(lease.term().map(|term| term.ends_at), Some(start + seconds(10)));
    }

    #[test]
    fn an_answer_that_comes_after_its_lease_ended_renews_nothing() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let sequence = lease.heartbeat(start);
        lease.renewed(sequence, start + seconds(8));
        assert_eq!(lease.term_at(start + seconds(8)), None);
    }

    #[test]
    fn a_renewal_after_the_end_begins_another_term() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let first = lease.heartbeat(start);
        lease.renewed(first, start);
        let second = lease.heartbeat(start + seconds(9));
        lease.renewed(second, start + seconds(9));
        assert_eq!(lease.term_at(start + seconds(9)).map(|term| term.number), Some(2));
    }

    #[test]
    fn heartbeats_of_an_earlier_session_renew_nothing() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let sequence = lease.heartbeat(start);
        lease.welcome(LEASE, start + seconds(1));
        lease.renewed(sequence, start + seconds(1));
        assert_eq!(lease.term(), None);
    }

    #[test]
    fn a_leader_with_shorter_leases_shortens_what_is_left() {
        let start = Instant::now();
        let mut lease = welcomed(start);
        let sequence = lease.heartbeat(start);
        lease.renewed(sequence, start);
        lease.welcome(seconds(5), start + seconds(1));
        assert_eq!(lease.term().map(|term| term.ends_at), Some(start + seconds(5)));
    }
}
