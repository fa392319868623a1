//! How the limits of a job are divided among the workers that run attempts of it: pure arithmetic. `sessions::division`
//! says who they are, and tells them.
//!
//! Invariant: the shares of a job's workers, with what those keep that cannot be told, are never more than its limit
//! together, unless what these keep is more by itself.

use ferry_machine::row::JobOptions;

/// Rates of requests are in thousandths of one, so that many workers can share a low limit.
const REQUEST: u64 = 1_000;

/// Rates over all attempts of a worker, or of a whole job; `None`: no limit, 0: nothing for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bytes_per_second: Option<u64>,
    pub(super) requests_per_1000_s: Option<u64>,
}

impl Share {
    /// No limit at all.
    pub(super) const UNLIMITED: Self = Self { bytes_per_second: None, requests_per_1000_s: None };

    /// The limits of a job.
    pub(super) fn of_job(options: &JobOptions) -> Self {
        let (bytes, requests) = (options.bandwidth_bytes_per_second, u64::from(options.requests_per_second));
        Self {
            bytes_per_second: (bytes > 0).then_some(bytes),
            requests_per_1000_s: (requests > 0).then_some(requests * REQUEST),
        }
    }

    /// Nothing of what is limited here.
    pub(super) fn nothing(self) -> Self {
        self.each(|_| 0)
    }

    /// The lower of the two, rate by rate.
    pub(super) fn lower(self, other: Self) -> Self {
        Self {
            bytes_per_second: lower(self.bytes_per_second, other.bytes_per_second),
            requests_per_1000_s: lower(self.requests_per_1000_s, other.requests_per_1000_s),
        }
    }

    fn each(self, rate: impl Fn(u64) -> u64) -> Self {
        Self {
            bytes_per_second: self.bytes_per_second.map(&rate),
            requests_per_1000_s: self.requests_per_1000_s.map(&rate),
        }
    }
}

fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What a worker keeps to as far as the leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It runs nothing of the job yet.
    Nothing,
    /// It runs attempts by a share that another leader told, or that may not have reached it.
    Unknown,
    /// The last that it was told.
    Share(Share),
}

/// A worker that runs attempts of a job, or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) told: Told,
    /// Whether it can be told a new share.
    pub(super) connected: bool,
}

/// The share of each member, in their order; `None`: it is left with what it has. With `others`, workers that run attempts
/// of the job by an unknown share are not among them.
pub(super) fn divide(limit: Share, members: &[Member], others: bool) -> Vec<Option<Share>> {
    let unknown = |member: &Member| !member.connected && member.told == Told::Unknown;
    if limit != Share::UNLIMITED && (others || members.iter().any(unknown)) {
        return members.iter().map(|member| of_frozen(limit, member)).collect();
    }
    let bytes = parts(limit.bytes_per_second, members, |share| share.bytes_per_second);
    let requests = parts(limit.requests_per_1000_s, members, |share| share.requests_per_1000_s);
    let share = |((bytes_per_second, requests_per_1000_s), member): ((_, _), &Member)| {
        member.connected.then_some(Share { bytes_per_second, requests_per_1000_s })
    };
    bytes.into_iter().zip(requests).zip(members).map(share).collect()
}

/// While nobody knows how much of the limit is taken, nobody gets more than he has.
fn of_frozen(limit: Share, member: &Member) -> Option<Share> {
    match member.told {
        _ if !member.connected => None,
        Told::Nothing => Some(limit.nothing()),
        Told::Unknown => None,
        Told::Share(share) => Some(share.lower(limit)),
    }
}

/// Equal parts of what those leave that cannot be told; the first ones get what does not divide.
fn parts(limit: Option<u64>, members: &[Member], rate: impl Fn(Share) -> Option<u64>) -> Vec<Option<u64>> {
    let Some(limit) = limit else { return vec![None; members.len()] };
    let kept = |member: &Member| match member.told {
        Told::Share(share) if !member.connected => rate(share).unwrap_or(limit),
        Told::Share(_) | Told::Nothing | Told::Unknown => 0,
    };
    let left = members.iter().map(kept).fold(limit, u64::saturating_sub);
    let connected = members.iter().filter(|member| member.connected).count().max(1) as u64;
    let (part, mut rest) = (left / connected, left % connected);
    let next = |member: &Member| {
        let one_more = u64::from(member.connected && rest > 0);
        rest -= one_more;
        Some(part + one_more)
    };
    members.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes_per_second: u64) -> Share {
        Share { bytes_per_second: Some(bytes_per_second), requests_per_1000_s: None }
    }

    fn member(told: Told, connected: bool) -> Member {
        Member { told, connected }
    }

    fn connected(count: usize) -> Vec<Member> {
        vec![member(Told::Nothing, true); count]
    }

    /// What the members may pass together once they were told, in bytes a second.
    fn total(shares: &[Option<Share>], members: &[Member]) -> u64 {
        let of = |(share, member): (&Option<Share>, &Member)| match (*share, member.told) {
            (Some(share), _) | (None, Told::Share(share)) => share.bytes_per_second.unwrap(),
            (None, Told::Nothing | Told::Unknown) => 0,
        };
        shares.iter().zip(members).map(of).sum()
    }

    #[test]
    fn workers_have_equal_parts_and_the_whole_limit_together() {
        assert_eq!(divide(bytes(100), &connected(3), false), [34, 33, 33].map(|part| Some(bytes(part))));
        let both = Share { bytes_per_second: Some(7), requests_per_1000_s: Some(1_000) };
        let half =
            |bytes_per_second| Share { bytes_per_second: Some(bytes_per_second), requests_per_1000_s: Some(500) };
        assert_eq!(divide(both, &connected(2), false), [Some(half(4)), Some(half(3))]);
        assert_eq!(divide(Share::UNLIMITED, &connected(2), false), [Some(Share::UNLIMITED); 2]);
    }

    #[test]
    fn a_worker_that_cannot_be_told_keeps_its_share_and_the_others_have_the_rest() {
        let members = [member(Told::Share(bytes(50)), false), member(Told::Nothing, true), member(Told::Unknown, true)];
        assert_eq!(divide(bytes(100), &members, false), [None, Some(bytes(25)), Some(bytes(25))]);
        let unlimited = [member(Told::Share(Share::UNLIMITED), false), member(Told::Nothing, true)];
        assert_eq!(divide(bytes(100), &unlimited, false), [None, Some(bytes(0))], "it may take all of a new limit");
    }

    #[test]
    fn nobody_gets_more_while_nobody_knows_how_much_is_taken() {
        let known = [member(Told::Share(bytes(30)), true), member(Told::Unknown, true), member(Told::Nothing, true)];
        let kept = [Some(bytes(30)), None, Some(bytes(0))];
        assert_eq!(divide(bytes(100), &known, true), kept);
        let away = [known.as_slice(), &[member(Told::Unknown, false)]].concat();
        assert_eq!(divide(bytes(100), &away, false), [kept.as_slice(), &[None]].concat());
        assert_eq!(divide(Share::UNLIMITED, &known, true), [Some(Share::UNLIMITED); 3], "no limit, no division");
    }

    #[test]
    fn shares_are_never_more_than_the_limit_together_and_none_is_empty_that_need_not_be() {
        let mut number: u64 = 1;
        let mut next = move |below: u64| {
            // A linear congruential generator: the same cases in every run.
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) % below
        };
        for _ in 0..20_000 {
            let limit = next(200) + 1;
            let count = next(12) + 1;
            let mut taken = limit;
            let members: Vec<Member> = (0..count)
                .map(|_| {
                    // What was told keeps to the limit, as this function saw to.
                    let share = next(taken + 1);
                    taken -= share;
                    let told = match next(4) {
                        0 => Told::Nothing,
                        1 => Told::Unknown,
                        _ => Told::Share(bytes(share)),
                    };
                    member(told, next(4) > 0)
                })
                .collect();
            let others = next(5) == 0;
            let shares = divide(bytes(limit), &members, others);
            assert!(total(&shares, &members) <= limit, "{limit} among {members:?}: {shares:?}");
            let frozen = others || members.contains(&member(Told::Unknown, false));
            let there = members.iter().filter(|member| member.connected).count() as u64;
            let away = members.iter().filter(|member| !member.connected);
            let kept: u64 = away
                .map(|member| if let Told::Share(share) = member.told { share.bytes_per_second.unwrap() } else { 0 })
                .sum();
            if !frozen && there > 0 && limit - kept >= there {
                assert_eq!(total(&shares, &members), limit, "{members:?}: {shares:?}");
                assert!(
                    shares.iter().flatten().all(|share| share.bytes_per_second > Some(0)),
                    "{members:?}: {shares:?}"
                );
            }
        }
    }
}
