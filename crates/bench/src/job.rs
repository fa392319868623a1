//! One job's metadata from submit to Completed, with workers that report at once: in Ferry, and in etcd in two ways.

use crate::cluster::Cluster;
use crate::etcd::{Etcd, Peer};
use crate::load::CONNECTIONS;
use crate::milvus;
use crate::report::{Report, hundredths};
use crate::worker::Worker;
use crate::{Common, positive};
use crate::{jobs, milvus::SEGMENTS_PER_TASK};
use clap::Args;
use ferry_client::Client;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const NODES: u64 = 3;
/// Workers, and the attempts each runs at once: together as many as Milvus and etcd have in flight.
pub(crate) const WORKERS: usize = 2;
pub(crate) const SLOTS: u32 = 64;

/// How long the metadata of one job takes, beside etcd with the writes that Milvus makes for it, and as well as can be.
#[derive(Debug, Args)]
pub(crate) struct Job {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    peer: Peer,
    /// How often each is measured in turn.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    rounds: usize,
    /// Numbers of segments.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_parser = positive)]
    segments: Vec<usize>,
}

impl Job {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let cluster = Cluster::start(NODES, &self.common.binary, &self.common.settings, folder).await?;
        let etcd = Etcd::start(&self.peer, folder).await?;
        let kvs = etcd.clients_of_leader()?;
        let (leader, _) = cluster.leader().await?;
        let of_leader = cluster.clients_of(&[leader], CONNECTIONS)?;
        let reader = cluster.clients_of(&cluster.followers().await?, 1)?.remove(0);
        let workers = start_workers(&of_leader).await?;
        let mut report = Report::new("job", "Metadata of one job beside etcd", &self.common.settings());
        for round in 1..=self.rounds {
            for segments in self.segments.iter().copied() {
                let ferry = ferry(&of_leader[0], &reader, folder, segments).await?;
                let best = milvus::as_well_as_can_be(&kvs, segments).await?;
                let way = milvus::its_way(&kvs, segments).await?;
                for (name, took) in figures(segments).into_iter().zip([ferry, best, way]) {
                    report.add(&name, hundredths(took.as_secs_f64()));
                }
                eprintln!(
                    "job: round {round} of {}, {segments} segments: {ferry:.2?}, etcd as well as can be {best:.2?}, \
                     Milvus' way {way:.2?}",
                    self.rounds
                );
            }
        }
        drop(workers);
        self.compare(&mut report, etcd.version());
        report.publish(self.common.document())
    }

    fn compare(&self, report: &mut Report, version: &str) {
        for segments in &self.segments {
            let [ferry, best, way] = figures(*segments);
            let goal = |goal: &str| if *segments == 10_000 { format!("{goal} or more (P1)") } else { String::new() };
            let name = format!("{segments} segments, Milvus' way to Ferry");
            report.add_ratio(&name, &way, &ferry, &goal("150"));
            let name = format!("{segments} segments, etcd as well as can be to Ferry");
            report.add_ratio(&name, &best, &ferry, &goal("10"));
        }
        report.note(&format!(
            "Peer: three nodes of etcd {version} with its defaults, on the same machine and disk, asked at its leader. Ferry: \
             one `SubmitJob` of a snapshot with that many segments, {SEGMENTS_PER_TASK} a task, targets chosen by the \
             allocator, {WORKERS} workers of {SLOTS} slots that claim and report at once, until a reader waiting at a \
             follower sees Completed. Milvus' way: its writes for the same job in its order, with its sizes and under its \
             locks, 128 tasks at once, until the job is Completed; id allocation, tickers and what it writes after that are \
             left out, in its favour. As well as can be: the same end state in transactions of 128 operations, 128 in flight."
        ));
    }
}

/// What is measured of a job of this size: Ferry, etcd as well as can be, Milvus' way.
fn figures(segments: usize) -> [String; 3] {
    ["Ferry", "etcd as well as can be", "etcd, Milvus' way"].map(|what| format!("{segments} segments, {what}, s"))
}

/// The workers, with a connection of their own each to the leader, which `clients_of_leader` must ask.
pub(crate) async fn start_workers(clients_of_leader: &[Client]) -> anyhow::Result<Vec<Worker>> {
    let mut workers = Vec::new();
    let (_, at_once) = watch::channel(usize::MAX);
    for (number, client) in clients_of_leader.iter().take(WORKERS).enumerate() {
        workers.push(Worker::start(client, &format!("worker-{number}"), SLOTS, at_once.clone()).await?);
    }
    Ok(workers)
}

/// From the submit until a reader sees Completed.
pub(crate) async fn ferry(
    submitter: &Client,
    reader: &Client,
    folder: &Path,
    segments: usize,
) -> anyhow::Result<Duration> {
    let request = jobs::submit(&jobs::make_snapshot(folder, segments)?, u32::try_from(SEGMENTS_PER_TASK)?);
    let began = Instant::now();
    let job = jobs::submitted(submitter, request).await?;
    jobs::completed(reader, job).await?;
    Ok(began.elapsed())
}
