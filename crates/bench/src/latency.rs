//! One small job after the other, with an idle worker that copies real files: from submit to Completed as a reader sees it.

use crate::cluster::Cluster;
use crate::distribution::Distribution;
use crate::jobs;
use crate::process::Process;
use crate::report::{Report, fine_milliseconds};
use crate::{Common, positive};
use anyhow::{Context, ensure};
use clap::Args;
use ferry_client::Client;
use ferry_proto::v1::{ListTasksRequest, ListWorkersRequest, SubmitJobRequest, TargetRef};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const NODES: u64 = 3;
const COLLECTION: i64 = 100;
/// The files of the one segment, and the bytes of each.
const FILES: usize = 3;
const FILE_BYTES: usize = 4 << 10;
/// Jobs that are not measured: the first ones open connections and snapshots.
const WARM_UP: usize = 5;
const POLL: Duration = Duration::from_millis(20);
/// How long the worker may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a job of one small segment takes with an idle worker.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    common: Common,
    /// How often jobs and plain copies are measured in turn.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    rounds: usize,
    /// Jobs of one round.
    #[arg(long, default_value_t = 100, value_parser = positive)]
    jobs: usize,
}

impl Latency {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = self.common.data_dir.as_deref().unwrap_or(temporary.path());
        let cluster = Cluster::start(NODES, &self.common.binary, &self.common.settings, folder).await?;
        let client = cluster.client()?;
        let source = self.make_segment(folder)?;
        let _worker = self.start_worker(&cluster, &client, folder).await?;
        let target = TargetRef { uri: jobs::uri(&folder.join("target")), ..TargetRef::default() };
        let target = TargetRef { collection_id: jobs::TARGET_COLLECTION, ..target };
        let request = SubmitJobRequest { target: Some(target), ..jobs::submit(&source, 1) };
        run_jobs(&client, &request, WARM_UP).await?;
        let mut report = Report::new("latency", "One-segment jobs with an idle worker", &self.common.settings());
        for round in 1..=self.rounds {
            let (jobs, attempts) = run_jobs(&client, &request, self.jobs).await?;
            let copies = copy(&source, &folder.join(format!("plain-{round}")), self.jobs)?;
            eprintln!(
                "latency: round {round} of {}: job {:?} p50, {:?} p99; attempt {:?}, plain copy {:?} p50",
                self.rounds,
                jobs.percentile(50),
                jobs.percentile(99),
                attempts.percentile(50),
                copies.percentile(50)
            );
            for (name, seen) in [("submit to Completed", &jobs), ("attempt", &attempts), ("plain copy", &copies)] {
                report.add(&format!("{name}: p50, ms"), fine_milliseconds(seen.percentile(50)));
                report.add(&format!("{name}: p99, ms"), fine_milliseconds(seen.percentile(99)));
            }
            let beyond = jobs.percentile(50).saturating_sub(copies.percentile(50));
            report.add(BEYOND, fine_milliseconds(beyond));
        }
        report.set_goal(BEYOND, "below 50 (P7)");
        report.note(&format!(
            "One worker with defaults, idle before each job; one segment of {FILES} files of {FILE_BYTES} B on the same disk. \
             A job is measured from before its `SubmitJob` until `WaitJob` has answered Completed, with {} jobs a round. An \
             attempt is from its lease to its committed result by the task's own times, in whole milliseconds: the copy with \
             its verification and two commands of the log. A plain copy is what one thread takes to copy the same files to \
             temporary names, to sync and rename each, and to sync the folders.",
            self.jobs
        ));
        report.publish(self.common.document())
    }

    /// The files of one segment and a snapshot over them; where they lie.
    fn make_segment(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let root = folder.join("source");
        for file in 0..FILES {
            let path = root.join(format!("insert_log/{COLLECTION}/10/1000/{file}"));
            std::fs::create_dir_all(&path)?;
            std::fs::write(path.join("1"), vec![u8::try_from(file)?; FILE_BYTES])?;
        }
        let mut command = Command::new(&self.common.binary);
        command.args(["snapshot", "create", "--root", &jobs::uri(&root), "--collection", &COLLECTION.to_string()]);
        let made = command.args(["--rows", "7"]).output().context("the binary cannot be started")?;
        ensure!(made.status.success(), "no snapshot was made: {}", String::from_utf8_lossy(&made.stderr));
        Ok(root)
    }

    async fn start_worker(&self, cluster: &Cluster, client: &Client, folder: &Path) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.common.binary);
        command.args(["--endpoints", &cluster.endpoints(), "worker", "--name", "idle"]);
        let worker = Process::start(&mut command, &folder.join("worker.log"))?;
        let began = Instant::now();
        while client.list_workers(ListWorkersRequest::default()).await?.workers.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "the worker does not come; see {}/worker.log", folder.display());
            tokio::time::sleep(POLL).await;
        }
        Ok(worker)
    }
}

/// What the goal is about.
const BEYOND: &str = "submit to Completed beyond the plain copy, p50, ms";

/// One job after the other: how long each took, and how long its one attempt.
async fn run_jobs(
    client: &Client,
    request: &SubmitJobRequest,
    count: usize,
) -> anyhow::Result<(Distribution, Distribution)> {
    let (mut took, mut attempts) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let began = Instant::now();
        let job_id = jobs::submitted(client, request.clone()).await?;
        jobs::completed(client, job_id).await?;
        took.push(began.elapsed());
        let listed = client.list_tasks(ListTasksRequest { job_id, ..ListTasksRequest::default() }).await?.message;
        let task = listed.tasks.first().context("a job has no task")?;
        attempts.push(Duration::from_millis(task.completed_at_ms.saturating_sub(task.started_at_ms)));
    }
    Ok((Distribution::of(took), Distribution::of(attempts)))
}

/// Copies the files of the segment that often, durably: how long each time took.
fn copy(source: &Path, target: &Path, count: usize) -> anyhow::Result<Distribution> {
    let mut took = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        for file in 0..FILES {
            let from = source.join(format!("insert_log/{COLLECTION}/10/1000/{file}/1"));
            let folder = target.join(format!("{number}/{file}"));
            std::fs::create_dir_all(&folder)?;
            std::fs::copy(from, folder.join("temporary"))?;
            File::open(folder.join("temporary"))?.sync_all()?;
            std::fs::rename(folder.join("temporary"), folder.join("1"))?;
            File::open(&folder)?.sync_all()?;
        }
        took.push(began.elapsed());
    }
    Ok(Distribution::of(took))
}
