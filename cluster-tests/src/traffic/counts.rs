//! How much traffic there was: by kind and outcome, and by node. A run whose traffic was too thin proves nothing.

use super::history::{Kind, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What came of some operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Done.
    pub ok: u64,
    /// Refused, and nothing changed.
    pub refused: u64,
    /// Not known.
    pub unknown: u64,
}

/// Counts of a history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// By kind.
    pub kinds: BTreeMap<Kind, Outcomes>,
    /// By the node that was asked.
    pub nodes: BTreeMap<u64, Outcomes>,
}

impl Counts {
    /// Of these.
    #[must_use]
    pub fn of(operations: &[Arc<Operation>]) -> Self {
        let mut counts = Self::default();
        for operation in operations {
            let of_kind = counts.kinds.entry(operation.request.kind()).or_default();
            of_kind.add(&operation.outcome);
            counts.nodes.entry(operation.node).or_default().add(&operation.outcome);
        }
        counts
    }

    /// All operations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|outcomes| outcomes.ok + outcomes.refused + outcomes.unknown).sum()
    }

    /// Operations of a kind that were done.
    #[must_use]
    pub fn ok(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).map_or(0, |outcomes| outcomes.ok)
    }
}

impl Outcomes {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Refused(..) => self.refused += 1,
            Outcome::Unknown(..) => self.unknown += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, outcomes) in &self.kinds {
            writeln!(formatter, "{:<16} {outcomes}", format!("{kind:?}"))?;
        }
        for (node, outcomes) in &self.nodes {
            writeln!(formatter, "{:<16} {outcomes}", format!("node {node}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>7} ok {:>6} refused {:>6} unknown", self.ok, self.refused, self.unknown)
    }
}
