//! The cluster that copies: three nodes and one worker, all with defaults and the stores of the case.

use crate::cluster::Cluster;
use crate::process::Process;
use crate::{Common, gauges, jobs};
use anyhow::ensure;
use ferry_client::Client;
use ferry_proto::v1::{ListWorkersRequest, SnapshotRef, SubmitJobRequest, TargetRef};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const NODES: u64 = 3;
const POLL: Duration = Duration::from_millis(20);
/// How long the worker may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where jobs are run.
pub(super) struct Stage {
    client: Client,
    worker: Process,
    _cluster: Cluster,
}

impl Stage {
    /// Starts the processes; `stores` are settings of all of them.
    pub(super) async fn set(common: &Common, folder: &Path, stores: &[String]) -> anyhow::Result<Self> {
        let settings: Vec<String> = common.settings.iter().chain(stores).cloned().collect();
        let cluster = Cluster::start(NODES, &common.binary, &settings, folder).await?;
        let client = cluster.client()?;
        let mut command = Command::new(&common.binary);
        command.args(["--endpoints", &cluster.endpoints(), "worker", "--name", "one"]);
        for store in stores {
            command.args(["--set", store]);
        }
        let worker = Process::start(&mut command, &folder.join("worker.log"))?;
        let began = Instant::now();
        while client.list_workers(ListWorkersRequest::default()).await?.workers.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "the worker does not come; see {}/worker.log", folder.display());
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { client, worker, _cluster: cluster })
    }

    /// Copies a whole snapshot: from before the submit until Completed.
    pub(super) async fn copy(&self, source: &str, target: &str) -> anyhow::Result<Duration> {
        let target =
            TargetRef { uri: target.to_owned(), collection_id: jobs::TARGET_COLLECTION, ..TargetRef::default() };
        let request = SubmitJobRequest {
            source: Some(SnapshotRef { uri: source.to_owned() }),
            target: Some(target),
            ..SubmitJobRequest::default()
        };
        let began = Instant::now();
        let job_id = jobs::submitted(&self.client, request).await?;
        jobs::completed(&self.client, job_id).await?;
        Ok(began.elapsed())
    }

    /// Has the peak of the worker's memory begin anew.
    pub(super) fn reset_memory_peak(&self) -> anyhow::Result<()> {
        gauges::reset_memory_peak(self.worker.id())
    }

    /// The most that the worker took since then.
    pub(super) fn memory_peak_mebibytes(&self) -> anyhow::Result<f64> {
        Ok(gauges::memory(self.worker.id())?.peak_mebibytes)
    }
}
