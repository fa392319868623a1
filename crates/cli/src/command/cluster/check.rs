//! `ferry cluster check`: every node recounts the invariants of every row, and nodes that are equally far must have
//! equal rows. It succeeds only where every node was asked and nothing was found.

use crate::command::Context;
use crate::connection::{CallOptions, Connection};
use crate::output::{self, note};
use clap::Args;
use ferry_client::Client;
use ferry_proto::v1::{CheckInvariantsRequest, CheckInvariantsResponse, Consistency, GetStatusRequest};
use futures::future::join_all;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How often all nodes are asked until each was compared with another: under load they are rarely equally far.
const ROUNDS_MAX: usize = 10;

/// Have every node recount the invariants of every row, and compare the rows of nodes that are equally far; the exit
/// code is 0 when every node was asked, all invariants hold and no rows differ; how many nodes were never equally
/// far, so that their rows are not compared, is said on stderr.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    call: CallOptions,
}

/// What was found, as JSON writes it.
#[derive(Debug, Serialize)]
struct Report {
    /// The last answer of each node.
    nodes: Vec<Checked>,
    /// Nodes that answered at the same revision as another one.
    compared: BTreeSet<u64>,
    /// A sentence for each revision at which rows differ.
    differences: Vec<String>,
    /// What any node found in its rows, once; empty where all invariants hold.
    violations: BTreeSet<String>,
}

/// What one node answered, of one moment of its rows.
#[derive(Debug, Clone, Serialize)]
struct Checked {
    node_id: u64,
    address: String,
    revision: u64,
    rows_checked: u64,
    rows_digest: String,
    violations: Vec<String>,
    /// Why there is no answer; empty where there is one.
    error: String,
}

struct Node {
    id: u64,
    address: String,
    client: Client,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut nodes = self.nodes(context).await?;
        let mut seen = Seen::default();
        let mut last: BTreeMap<u64, Checked> = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            for checked in join_all(nodes.iter().map(Node::check)).await {
                seen.note(&checked);
                last.insert(checked.node_id, checked);
            }
            // What does not answer once is not waited for again.
            nodes.retain(|node| last[&node.id].error.is_empty());
            if nodes.len() < 2 || nodes.iter().all(|node| seen.compared().contains(&node.id)) {
                break;
            }
        }
        let report = Report::of(last.into_values().collect(), &seen);
        context.output.value(&report, table)?;
        report.verdict()
    }

    /// The members, as any node names them, each with a client of its own: nobody answers for another.
    async fn nodes(&self, context: &Context) -> anyhow::Result<Vec<Node>> {
        let client = context.connection.client(self.call.timeout)?;
        let status = client.get_status(GetStatusRequest { local_only: true }).await?;
        let nodes = status.message.nodes.into_iter().map(|node| {
            let client = Connection { endpoints: vec![node.address.clone()] }.client(self.call.timeout)?;
            Ok(Node { id: node.id, address: node.address, client })
        });
        nodes.collect()
    }
}

impl Node {
    async fn check(&self) -> Checked {
        let mut checked = Checked {
            node_id: self.id,
            address: self.address.clone(),
            revision: 0,
            rows_checked: 0,
            rows_digest: String::new(),
            violations: Vec::new(),
            error: String::new(),
        };
        let request = CheckInvariantsRequest { consistency: Consistency::Stale.into() };
        match self.client.check_invariants(request).await {
            Ok(answer) => {
                checked.revision = answer.revision.unwrap_or(0);
                let CheckInvariantsResponse { violations, rows_checked, rows_digest } = answer.message;
                (checked.violations, checked.rows_checked, checked.rows_digest) =
                    (violations, rows_checked, rows_digest);
            }
            Err(error) => checked.error = error.to_string(),
        }
        checked
    }
}

/// Every digest that was answered: revision -> digest -> nodes.
#[derive(Debug, Default)]
struct Seen(BTreeMap<u64, BTreeMap<String, BTreeSet<u64>>>);

impl Seen {
    fn note(&mut self, checked: &Checked) {
        // A node of an earlier version answers without a digest.
        if checked.error.is_empty() && !checked.rows_digest.is_empty() {
            let digests = self.0.entry(checked.revision).or_default();
            digests.entry(checked.rows_digest.clone()).or_default().insert(checked.node_id);
        }
    }

    fn compared(&self) -> BTreeSet<u64> {
        let nodes_of = |digests: &BTreeMap<String, BTreeSet<u64>>| -> BTreeSet<u64> {
            digests.values().flatten().copied().collect()
        };
        self.0.values().map(nodes_of).filter(|nodes| nodes.len() > 1).flatten().collect()
    }

    fn differences(&self) -> Vec<String> {
        let differing = self.0.iter().filter(|(_, digests)| digests.len() > 1);
        differing
            .map(|(revision, digests)| {
                let groups = digests.iter().map(|(digest, nodes)| {
                    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
                    format!("{} on node {}", &digest[..digest.len().min(16)], nodes.join(", "))
                });
                format!("rows differ at revision {revision}: {}", groups.collect::<Vec<_>>().join("; "))
            })
            .collect()
    }
}

impl Report {
    fn of(nodes: Vec<Checked>, seen: &Seen) -> Self {
        let violations = nodes.iter().flat_map(|node| node.violations.iter().cloned()).collect();
        Self { nodes, compared: seen.compared(), differences: seen.differences(), violations }
    }

    fn verdict(&self) -> anyhow::Result<()> {
        let answered = self.nodes.iter().filter(|node| node.error.is_empty()).count();
        if answered > 1 && self.compared.len() < answered {
            note(&format!(
                "{} of {answered} nodes never answered at the same revision as another, so their rows are not \
                 compared: repeat the command when fewer changes go on",
                answered - self.compared.len()
            ));
        }
        if let Some(difference) = self.differences.first() {
            anyhow::bail!("{difference}; keep the data directories of all nodes and report it");
        }
        if !self.violations.is_empty() {
            let violations = self.violations.len();
            anyhow::bail!("{violations} invariants do not hold; keep the data directories of the nodes and report it");
        }
        match self.nodes.iter().find(|node| !node.error.is_empty()) {
            None => Ok(()),
            Some(node) => {
                anyhow::bail!("node {} was not checked: {}; repeat the command once it runs", node.node_id, node.error)
            }
        }
    }
}

fn table(report: &Report) -> comfy_table::Table {
    let row = |node: &Checked| {
        let found = match (node.error.as_str(), node.violations.as_slice()) {
            ("", []) => "none".to_owned(),
            ("", violations) => violations.join("\n"),
            (error, _) => error.to_owned(),
        };
        let digest = node.rows_digest.chars().take(16).collect();
        vec![
            node.node_id.to_string(),
            node.address.clone(),
            node.revision.to_string(),
            node.rows_checked.to_string(),
            digest,
            found,
        ]
    };
    output::grid(
        &["NODE", "ADDRESS", "REVISION", "ROWS", "DIGEST", "VIOLATIONS"],
        report.nodes.iter().map(row).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Checked, Report, Seen};

    fn checked(node_id: u64, revision: u64, digest: &str) -> Checked {
        Checked {
            node_id,
            address: format!("n{node_id}:7401"),
            revision,
            rows_checked: 5,
            rows_digest: digest.to_owned(),
            violations: Vec::new(),
            error: String::new(),
        }
    }

    fn verdict(nodes: Vec<Checked>) -> Result<(), String> {
        let mut seen = Seen::default();
        nodes.iter().for_each(|node| seen.note(node));
        Report::of(nodes, &seen).verdict().map_err(|error| error.to_string())
    }

    #[test]
    fn different_rows_at_one_revision_fail_and_different_revisions_do_not() {
        assert!(verdict(vec![checked(1, 7, "aa"), checked(2, 7, "aa"), checked(3, 8, "bb")]).is_ok());
        let error = verdict(vec![checked(1, 7, "aa"), checked(2, 7, "bb"), checked(3, 8, "bb")]).unwrap_err();
        assert!(error.starts_with("rows differ at revision 7: aa on node 1; bb on node 2"), "{error}");
    }

    #[test]
    fn a_violation_or_a_node_that_was_not_asked_fails() {
        let violated = Checked { violations: vec!["row 3 is wrong".to_owned()], ..checked(2, 7, "aa") };
        assert!(verdict(vec![checked(1, 7, "aa"), violated]).unwrap_err().contains("1 invariants"));
        let silent = Checked { error: "no answer".to_owned(), ..checked(3, 0, "") };
        assert!(verdict(vec![checked(1, 7, "aa"), silent]).unwrap_err().contains("node 3 was not checked"));
    }
}
