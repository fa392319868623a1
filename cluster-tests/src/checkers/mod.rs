//! Reads the history of a run and says what contradicts the promises.
//!
//! Invariant: a checker is a function of the history alone (and, in the end, of the files), and never complains about
//! one that a correct cluster could have made; what a client did not learn may have happened or not.

mod ending;
mod existence;
mod files;
mod ids;
mod jobs;
mod linearizability;
mod live;
mod nodes;
mod options;
mod order;
mod parts;
mod phases;
#[cfg(test)]
mod samples;
mod targets;
mod trace;
mod violation;
mod watches;

pub use ending::Ending;
pub use files::FilesSeen;
pub use violation::Violation;

use crate::traffic::{Counts, History};
use ending::Closing;
use std::collections::BTreeMap;
use std::fmt;
use trace::Trace;

/// What the checkers say of a run.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Contradictions, the earliest first.
    pub violations: Vec<Violation>,
    /// How much traffic there was, the closing reads included.
    pub counts: Counts,
    /// Jobs by the last state that anybody saw.
    pub ends: BTreeMap<&'static str, u64>,
    /// What was found on disk.
    pub files: FilesSeen,
    /// Jobs for which the second opinion found an order.
    pub explained: usize,
    /// Jobs for which it gave up.
    pub undecided: usize,
    /// The nodes told digests of their rows, so that equal counts are not all that was compared.
    pub digests: bool,
}

/// Waits until the healed cluster has come to rest, and checks everything.
pub async fn verify(history: &History, ending: &Ending) -> Verdict {
    let mut unhealed = Closing::new(history, ending).run(history).await;
    unhealed.extend(ending::fetch(ending.places.clone()).await);
    let operations = history.operations();
    let trace = Trace::of(&operations);
    let (of_files, files) = files::check(&trace);
    let opinion = linearizability::check(&trace);
    let mut violations = replay(&trace);
    violations.extend(opinion.violations);
    violations.extend(of_files);
    violations.extend(unhealed);
    violations.sort_by_key(|violation| violation.at_us);
    Verdict {
        violations,
        counts: history.counts(),
        ends: ending::ends(&trace),
        files,
        explained: opinion.explained,
        undecided: opinion.undecided,
        digests: ending::compared(&trace),
    }
}

/// What contradicts itself already in a history that is still being recorded, the earliest first.
#[must_use]
pub fn contradictions(history: &History) -> Vec<Violation> {
    let operations = live::settled(history);
    let mut violations = replay(&Trace::of(&operations));
    violations.sort_by_key(|violation| violation.at_us);
    violations
}

/// Every checker that needs nothing but the history.
fn replay(trace: &Trace<'_>) -> Vec<Violation> {
    let checkers: [fn(&Trace<'_>) -> Vec<Violation>; 11] = [
        order::check,
        jobs::check,
        existence::check,
        phases::check,
        options::check,
        parts::check,
        ids::check,
        targets::check,
        nodes::terms,
        nodes::rows,
        watches::check,
    ];
    checkers.into_iter().flat_map(|check| check(trace)).collect()
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.violations.first() {
            None => writeln!(formatter, "no contradiction")?,
            Some(first) => writeln!(formatter, "{} contradictions; the first: {first}", self.violations.len())?,
        }
        writeln!(formatter, "{} operations; jobs: {:?}", self.counts.total(), self.ends)?;
        writeln!(
            formatter,
            "{} copies equal their sources, {} places are clean; a second opinion explained {} jobs, gave up on {}",
            self.files.copies, self.files.cleaned, self.explained, self.undecided
        )?;
        write!(formatter, "{}", self.counts)
    }
}
