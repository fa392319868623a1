//! How much traffic there was: by kind and outcome, and by node. A run whose traffic was too thin proves nothing.

use super::history::{Kind, Operation, Outcome};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Calls that each node must have answered.
const NODE_MINIMUM: u64 = 20;
/// Operations a minute that were answered, below which a run has not looked.
const MINIMUMS_PER_MINUTE: [(Kind, u64); 17] = [
    (Kind::Submit, 25),
    (Kind::Cancel, 4),
    (Kind::Pause, 8),
    (Kind::Resume, 8),
    (Kind::Update, 8),
    (Kind::Allocate, 60),
    (Kind::GetJob, 250),
    (Kind::GetJobs, 60),
    (Kind::ListJobs, 40),
    (Kind::GetSegment, 40),
    (Kind::ListSegments, 80),
    (Kind::ListTasks, 60),
    (Kind::GetTask, 30),
    (Kind::Watch, 30),
    (Kind::Wait, 4),
    (Kind::Status, 60),
    (Kind::Check, 6),
];

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

    /// Which kinds were answered too seldom for a run of this length, and which nodes hardly at all; a sentence each.
    #[must_use]
    pub fn too_thin(&self, run: Duration) -> Vec<String> {
        let answered = |outcomes: Option<&Outcomes>| outcomes.map_or(0, |outcomes| outcomes.ok + outcomes.refused);
        let kinds = MINIMUMS_PER_MINUTE.iter().filter_map(|(kind, per_minute)| {
            let (found, wanted) = (answered(self.kinds.get(kind)), per_minute * run.as_secs() / 60);
            (found < wanted).then(|| format!("{found} of at least {wanted} {kind:?} were answered"))
        });
        let nodes = self.nodes.iter().filter_map(|(node, outcomes)| {
            let found = answered(Some(outcomes));
            (found < NODE_MINIMUM).then(|| format!("node {node} answered {found} calls in all"))
        });
        kinds.chain(nodes).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_that_lacks_a_kind_or_a_node_is_too_thin() {
        let plenty = Outcomes { ok: 1_000, refused: 0, unknown: 0 };
        let kinds = MINIMUMS_PER_MINUTE.iter().map(|(kind, _)| (*kind, plenty)).collect();
        let mut counts = Counts { kinds, nodes: BTreeMap::from([(1, plenty)]) };
        let minute = Duration::from_secs(60);
        assert_eq!(counts.too_thin(minute), Vec::<String>::new());
        counts.kinds.insert(Kind::Cancel, Outcomes { ok: 1, refused: 2, unknown: 900 });
        counts.nodes.insert(2, Outcomes { ok: 1, refused: 0, unknown: 900 });
        let complaints = ["3 of at least 4 Cancel were answered", "node 2 answered 1 calls in all"];
        assert_eq!(counts.too_thin(minute), complaints);
    }
}
