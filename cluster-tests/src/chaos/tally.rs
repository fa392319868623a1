//! How often each fault was seen to bite, and whether that is often enough: a run that claims a fault which never bit
//! proves nothing, and so has failed.

use super::nemesis::Nemesis;
use std::collections::BTreeMap;
use std::fmt;

/// Bites that a quarter of an hour must have, of leader kills and of every other fault.
const LEADER_KILLS_PER_QUARTER: f64 = 25.0;
const BITES_PER_QUARTER: f64 = 3.0;
const QUARTER_MINUTES: f64 = 15.0;

/// What came of one fault's attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    bites: u32,
    misses: u32,
    last_miss: Option<String>,
}

/// What came of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally(BTreeMap<Nemesis, (Count, u32)>);

impl Tally {
    /// For a run of so many minutes.
    #[must_use]
    pub fn new(nemeses: &[Nemesis], minutes: f64) -> Self {
        Self(nemeses.iter().map(|nemesis| (*nemesis, (Count::default(), wanted(*nemesis, minutes)))).collect())
    }

    /// Notes what came of an attempt.
    pub fn note(&mut self, nemesis: Nemesis, bite: &Result<String, String>) {
        let (count, _) = self.0.entry(nemesis).or_default();
        match bite {
            Ok(_) => count.bites += 1,
            Err(why) => {
                count.misses += 1;
                count.last_miss = Some(why.clone());
            }
        }
    }

    /// Faults that have not bitten often enough.
    pub fn missing(&self) -> impl Iterator<Item = Nemesis> {
        self.0.iter().filter(|(_, (count, wanted))| count.bites < *wanted).map(|(nemesis, _)| *nemesis)
    }

    /// A sentence for each of those.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let complaint = |nemesis: Nemesis| {
            let (count, wanted) = &self.0[&nemesis];
            let why = count.last_miss.as_ref().map(|why| format!("; last missed for {why}")).unwrap_or_default();
            format!("{nemesis} bit {} times of the {wanted} that the run must have{why}", count.bites)
        };
        self.missing().map(complaint).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:<20} {:>6} {:>7} {:>7}", "fault", "bites", "wanted", "misses")?;
        for (nemesis, (count, wanted)) in &self.0 {
            writeln!(formatter, "{nemesis:<20} {:>6} {wanted:>7} {:>7}", count.bites, count.misses)?;
        }
        Ok(())
    }
}

/// In shorter runs as many as their share, but one at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
fn wanted(nemesis: Nemesis, minutes: f64) -> u32 {
    let per_quarter = if nemesis == Nemesis::KillLeader { LEADER_KILLS_PER_QUARTER } else { BITES_PER_QUARTER };
    (per_quarter * (minutes / QUARTER_MINUTES).min(1.0)).floor().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_never_bit_is_complained_of_by_name() {
        let mut tally = Tally::new(&[Nemesis::Delay, Nemesis::KillLeader], 15.0);
        for _ in 0..25 {
            tally.note(Nemesis::KillLeader, &Ok(String::new()));
        }
        tally.note(Nemesis::Delay, &Err("no packet was late".to_owned()));
        let complaints = tally.complaints();
        assert_eq!(
            complaints,
            ["delay bit 0 times of the 3 that the run must have; last missed for no packet was late"]
        );
    }

    #[test]
    fn short_runs_want_their_share_and_one_of_each_at_least() {
        assert_eq!(wanted(Nemesis::KillLeader, 3.0), 5);
        assert_eq!(wanted(Nemesis::Delay, 3.0), 1);
        assert_eq!(wanted(Nemesis::Delay, 60.0), 3);
    }
}
