//! Failover: how long no write is acknowledged when the leader is killed, and when it hands over, as the client sees it.
//!
//! A node that was killed is started again and has caught up before the next one is killed. A change of the leader that
//! nobody asked for is a needless election, and counted.

use crate::Common;
use crate::cluster::Cluster;
use crate::distribution::Distribution;
use crate::report::{Report, milliseconds};
use crate::writer::Writer;
use anyhow::Context;
use clap::Args;
use std::time::{Duration, Instant};

/// Writes that show that a cluster is back to normal.
const WRITES_BETWEEN: usize = 200;
const NODES: u64 = 3;

/// How long no write is acknowledged when the leader is killed, and when it hands over.
#[derive(Debug, Args)]
pub(crate) struct Failover {
    #[command(flatten)]
    common: Common,
    /// How often the leader is killed.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// How often it hands over.
    #[arg(long, default_value_t = 100)]
    transfers: usize,
    /// How long needless elections are looked for while nothing is done to the cluster.
    #[arg(long, default_value = "30s")]
    steady: humantime::Duration,
}

/// What one phase saw.
#[derive(Debug, Default)]
struct Phase {
    gaps: Vec<Duration>,
    /// Gaps while a killed node came back.
    gaps_of_return: Vec<Duration>,
    needless_elections: u64,
    failures: Vec<String>,
}

impl Failover {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let mut cluster = Cluster::start(NODES, &self.common.binary, &self.common.settings, folder).await?;
        let writer = Writer::start(cluster.client()?);
        writer.another(WRITES_BETWEEN).await?;
        let (steady, writes_per_second) = self.be_steady(&cluster, &writer).await?;
        let kills = self.kill(&mut cluster, &writer).await?;
        let transfers = self.transfer(&cluster, &writer).await?;
        let report = self.report(&steady, writes_per_second, &kills, &transfers);
        report.publish(self.common.document())
    }

    async fn be_steady(&self, cluster: &Cluster, writer: &Writer) -> anyhow::Result<(Phase, f64)> {
        let mut phase = Phase::default();
        let (term, before, began) = (cluster.leader().await?.1, writer.acknowledged(), Instant::now());
        tokio::time::sleep(*self.steady).await;
        let writes = (writer.acknowledged() - before) as f64 / began.elapsed().as_secs_f64();
        phase.needless_elections = cluster.leader().await?.1.saturating_sub(term);
        phase.gaps.push(writer.longest_gap_since(began));
        phase.failures = writer.failures();
        Ok((phase, writes))
    }

    async fn kill(&self, cluster: &mut Cluster, writer: &Writer) -> anyhow::Result<Phase> {
        let mut phase = Phase::default();
        let failed_before = writer.failures().len();
        let (_, mut settled_term) = cluster.leader().await?;
        for round in 1..=self.kills {
            let (leader, term) = cluster.leader().await?;
            phase.needless_elections += term.saturating_sub(settled_term);
            let killed_at = cluster.kill_node(leader)?;
            writer.another(WRITES_BETWEEN).await?;
            let gap = writer.longest_gap_since(killed_at);
            let (_, term_after) = cluster.leader().await?;
            let started_at = Instant::now();
            cluster.start_node(leader)?;
            cluster.caught_up(leader).await?;
            writer.another(WRITES_BETWEEN).await?;
            phase.gaps.push(gap);
            phase.gaps_of_return.push(writer.longest_gap_since(started_at));
            // One term is the election that the kill asks for; ballots that nobody won come on top of it.
            phase.needless_elections += term_after.saturating_sub(term + 1);
            settled_term = term_after;
            eprintln!("failover: kill {round} of {}: node {leader}, term {term} -> {term_after}, {gap:?}", self.kills);
        }
        phase.failures = writer.failures().split_off(failed_before);
        Ok(phase)
    }

    async fn transfer(&self, cluster: &Cluster, writer: &Writer) -> anyhow::Result<Phase> {
        let mut phase = Phase::default();
        let failed_before = writer.failures().len();
        let operator = cluster.client()?;
        for round in 1..=self.transfers {
            let (leader, term) = cluster.leader().await?;
            let asked_at = Instant::now();
            let transferred =
                operator.transfer_leadership(0).await.context("the leadership was not handed over")?.message;
            writer.another(WRITES_BETWEEN).await?;
            let gap = writer.longest_gap_since(asked_at);
            phase.gaps.push(gap);
            phase.needless_elections += cluster.leader().await?.1.saturating_sub(term + 1);
            let to = transferred.leader_id;
            eprintln!("failover: transfer {round} of {}: node {leader} -> {to}, {gap:?}", self.transfers);
        }
        phase.failures = writer.failures().split_off(failed_before);
        Ok(phase)
    }

    fn report(&self, steady: &Phase, writes_per_second: f64, kills: &Phase, transfers: &Phase) -> Report {
        let mut report = Report::new("failover", "Failover", &self.common.settings());
        report.add("steady: writes per second, one client", writes_per_second.round());
        report.add("steady: longest gap, ms", milliseconds(Distribution::of(steady.gaps.clone()).max()));
        for (name, gaps) in [
            ("kill -9 of the leader", &kills.gaps),
            ("return of the killed node", &kills.gaps_of_return),
            ("planned transfer", &transfers.gaps),
        ] {
            let gaps = Distribution::of(gaps.clone());
            report.add(&format!("{name}: times"), gaps.count() as f64);
            report.add(&format!("{name}: gap median, ms"), milliseconds(gaps.percentile(50)));
            report.add(&format!("{name}: gap p99, ms"), milliseconds(gaps.percentile(99)));
            report.add(&format!("{name}: gap maximum, ms"), milliseconds(gaps.max()));
        }
        for (name, phase) in [("steady", steady), ("kills", kills), ("transfers", transfers)] {
            report.add(&format!("{name}: needless elections"), phase.needless_elections as f64);
            report.add(&format!("{name}: writes that failed visibly"), phase.failures.len() as f64);
            for failure in &phase.failures {
                eprintln!("failover: a write failed during {name}: {failure}");
            }
        }
        report
    }
}
