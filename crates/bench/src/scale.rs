//! Cost against size: what a segment costs in jobs of more and more segments; and what a cluster takes that holds millions.

use crate::cluster::Cluster;
use crate::held::Held;
use crate::job::{SLOTS, WORKERS, ferry, start_workers};
use crate::milvus::SEGMENTS_PER_TASK;
use crate::report::{Report, hundredths};
use crate::worker::Worker;
use crate::{Common, jobs, positive};
use clap::Args;
use ferry_client::{Client, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const NODES: u64 = 3;
/// Jobs of more segments are measured once, in the last round.
const SEGMENTS_EVERY_ROUND_MAX: usize = 100_000;
/// The size that the others are compared with.
const SEGMENTS_COMPARED_WITH: usize = 10_000;
const SESSIONS_POLL: Duration = Duration::from_millis(500);

/// What jobs of more and more segments cost, and what a node takes that holds ten million of them.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    #[command(flatten)]
    common: Common,
    /// How often a job of each size is measured; one of more than 100,000 segments only once.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    rounds: usize,
    /// Numbers of segments, a job of each.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000", value_parser = positive)]
    segments: Vec<usize>,
    #[command(flatten)]
    held: Held,
}

/// Where the jobs are measured.
struct Stage<'a> {
    cluster: Cluster,
    folder: &'a Path,
    leader: u64,
    follower: u64,
    submitter: Client,
    reader: Client,
    workers: Vec<Worker>,
}

impl Scale {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let mut report = Report::new("scale", "Cost against size, and of what is held", &self.common.settings());
        self.measure_sizes(&folder.join("sizes"), &mut report).await?;
        self.held.measure(&self.common, &folder.join("held"), &mut report).await?;
        report.publish(self.common.document())
    }

    async fn measure_sizes(&self, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
        let stage = Stage::set(&self.common, folder).await?;
        for round in 1..=self.rounds {
            let mut per_segment_us = BTreeMap::new();
            for segments in self.segments.iter().copied().filter(|segments| self.is_measured(*segments, round)) {
                let took = stage.measure(segments).await?;
                let us = took.as_secs_f64() * 1e6 / segments as f64;
                report.add(&format!("{segments} segments: submit to Completed, s"), hundredths(took.as_secs_f64()));
                report.add(&format!("{segments} segments: for each, us"), hundredths(us));
                stage.add_memory(segments, report)?;
                per_segment_us.insert(segments, us);
                eprintln!("scale: round {round} of {}: {segments} segments: {took:.2?}, {us:.1} us each", self.rounds);
            }
            compare(&per_segment_us, report);
        }
        report.note(&format!(
            "Cost against size: one `SubmitJob` of a snapshot with that many segments, {SEGMENTS_PER_TASK} a task, targets \
             chosen by the allocator, {WORKERS} workers of {SLOTS} slots that claim and report at once, from before the \
             submit until a reader waiting at a follower sees Completed; one job after the other in one cluster, which keeps \
             them all, each when the one before it is settled. Jobs of more than {SEGMENTS_EVERY_ROUND_MAX} segments are \
             measured once, behind the others; a ratio is to the job of {SEGMENTS_COMPARED_WITH} of the same round. The \
             memory is the most that was resident (`VmHWM`) from just before the submit until Completed."
        ));
        Ok(())
    }

    fn is_measured(&self, segments: usize, round: usize) -> bool {
        segments <= SEGMENTS_EVERY_ROUND_MAX || round == self.rounds
    }
}

/// What a segment costs to what it costs in the job that the others are compared with.
fn compare(per_segment_us: &BTreeMap<usize, f64>, report: &mut Report) {
    let Some(compared_with) = per_segment_us.get(&SEGMENTS_COMPARED_WITH) else { return };
    for (segments, us) in per_segment_us.iter().filter(|(segments, _)| **segments != SEGMENTS_COMPARED_WITH) {
        let name = format!("{segments} segments: each to one of {SEGMENTS_COMPARED_WITH}");
        report.add(&name, hundredths(us / compared_with));
        report.set_goal(&name, "at most 1.5");
    }
}

impl<'a> Stage<'a> {
    async fn set(common: &Common, folder: &'a Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let cluster = Cluster::start(NODES, &common.binary, &common.settings, folder).await?;
        let (leader, _) = cluster.leader().await?;
        let follower = cluster.followers().await?[0];
        let patient = Options::default().with_timeout(jobs::PATIENCE);
        Ok(Self {
            folder,
            leader,
            follower,
            submitter: cluster.client_of(leader, patient)?,
            reader: cluster.client_of(follower, Options::default())?,
            workers: start_workers(&cluster.clients_of(&[leader], WORKERS)?).await?,
            cluster,
        })
    }

    /// One job of that size, from the submit until a reader sees Completed; what the one before it left to be settled is not
    /// its cost.
    async fn measure(&self, segments: usize) -> anyhow::Result<Duration> {
        self.cluster.at_rest(self.leader).await?;
        for node in [self.leader, self.follower] {
            self.cluster.reset_memory_peak(node)?;
        }
        tokio::select! {
            took = ferry(&self.submitter, &self.reader, self.folder, segments) => took,
            lost = lost_session(&self.workers) => Err(lost),
        }
    }

    /// The most that nodes took since the last job was measured.
    fn add_memory(&self, segments: usize, report: &mut Report) -> anyhow::Result<()> {
        for (name, node) in [("leader", self.leader), ("follower", self.follower)] {
            let peak = self.cluster.memory(node)?.peak_mebibytes;
            report.add(&format!("{segments} segments: memory of the {name} at most, MiB"), peak.round());
        }
        Ok(())
    }
}

/// Why a worker has lost its session, once one has: the job would be waited for in vain.
async fn lost_session(workers: &[Worker]) -> anyhow::Error {
    loop {
        if let Some(lost) = workers.iter().find_map(|worker| worker.seen().err()) {
            return lost;
        }
        tokio::time::sleep(SESSIONS_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_to_the_job_of_ten_thousand_and_none_without_it() {
        let mut report = Report::new("scale", "Scale", "defaults");
        compare(&BTreeMap::from([(1_000, 90.0), (10_000, 60.0), (100_000, 63.0)]), &mut report);
        compare(&BTreeMap::from([(1_000, 50.0), (100_000, 70.0)]), &mut report);
        assert_eq!(report.values("1000 segments: each to one of 10000"), [1.5]);
        assert_eq!(report.values("100000 segments: each to one of 10000"), [1.05]);
        assert!(report.values("10000 segments: each to one of 10000").is_empty());
    }
}
