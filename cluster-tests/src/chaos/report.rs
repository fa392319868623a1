//! What a run was, and whether it passed.

use super::settings::Settings;
use super::tally::Tally;
use crate::checkers::Verdict;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The end of a run.
pub struct Report {
    pub(super) settings: Settings,
    pub(super) tally: Tally,
    pub(super) verdict: Verdict,
    pub(super) violations: Vec<String>,
    /// Nodes that were there from the first call to the last.
    pub(super) residents: BTreeSet<u64>,
}

impl Report {
    /// Whether everything that must hold held, and enough was tried.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.contradictions() == 0 && self.gaps().is_empty()
    }

    fn contradictions(&self) -> usize {
        self.violations.len() + self.verdict.violations.len()
    }

    /// Why the run does not prove what it claims.
    fn gaps(&self) -> Vec<String> {
        let mut gaps = self.tally.complaints();
        let mut counts = self.verdict.counts.clone();
        // Nodes that came or went in between had less to answer.
        counts.nodes.retain(|node, _| self.residents.contains(node));
        let lasted = Duration::from_secs_f64(self.settings.minutes * 60.0);
        gaps.extend(counts.too_thin(lasted).into_iter().map(|thin| format!("traffic was too thin: {thin}")));
        gaps
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "\n{}", self.tally)?;
        writeln!(formatter, "{}", self.verdict)?;
        for violation in self.verdict.violations.iter().skip(1) {
            writeln!(formatter, "VIOLATION  {violation}")?;
        }
        for sentence in &self.violations {
            writeln!(formatter, "VIOLATION  {sentence}")?;
        }
        for gap in self.gaps() {
            writeln!(formatter, "GAP        {gap}")?;
        }
        let Settings { minutes, seed, nodes, folder, .. } = &self.settings;
        let what = format!("chaos: {minutes} minutes, seed {seed}, {nodes} nodes");
        if self.passed() {
            return writeln!(formatter, "{what}: passed");
        }
        writeln!(
            formatter,
            "{what}: FAILED with {} contradictions and {} gaps; histories, logs and disks are in {}",
            self.contradictions(),
            self.gaps().len(),
            folder.display()
        )
    }
}
