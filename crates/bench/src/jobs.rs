//! Jobs over snapshots of which there is only the metadata: enough for everyone but those who copy.

use anyhow::{Context, ensure};
use ferry_client::Client;
use ferry_proto::v1::{GetJobRequest, Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a job may take to get somewhere: a million segments take minutes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(5);
/// The collection that targets belong to.
pub(crate) const TARGET_COLLECTION: i64 = 200;

/// The metadata of a snapshot of so many segments; where it lies.
pub(crate) fn make_snapshot(folder: &Path, segments: usize) -> anyhow::Result<PathBuf> {
    let root = folder.join(format!("snapshot-of-{segments}"));
    std::fs::create_dir_all(root.join("snapshots/8/metadata"))?;
    let manifests: Vec<String> = (1..=segments).map(|id| format!("snapshots/8/manifests/9/{id}.avro")).collect();
    let metadata = serde_json::json!({
        "format_version": 5,
        "snapshot_info": { "id": "9", "collection_id": "8", "state": "SnapshotStateCommitted" },
        "collection": {},
        "manifest_list": manifests,
    });
    std::fs::write(root.join("snapshots/8/metadata/9.json"), metadata.to_string())?;
    Ok(root)
}

/// The submit of a job that copies a whole snapshot, with targets that the allocator chooses.
pub(crate) fn submit(source: &Path, segments_per_task_max: u32) -> SubmitJobRequest {
    let target = source.with_extension("target");
    SubmitJobRequest {
        source: Some(SnapshotRef { uri: uri(source) }),
        target: Some(TargetRef { uri: uri(&target), collection_id: TARGET_COLLECTION, ..TargetRef::default() }),
        options: Some(JobOptions { segments_per_task_max, no_timeout: true, ..JobOptions::default() }),
        ..SubmitJobRequest::default()
    }
}

/// Submits and says which job that is.
pub(crate) async fn submitted(client: &Client, request: SubmitJobRequest) -> anyhow::Result<i64> {
    let answer = client.submit_job(request).await.context("a job was not submitted")?.message;
    Ok(answer.job.context("the answer to a submit has no job")?.job_id)
}

/// Submits jobs that start no attempt, and waits until their tasks exist.
pub(crate) async fn paused(client: &Client, request: &SubmitJobRequest, count: usize) -> anyhow::Result<Vec<i64>> {
    let mut request = request.clone();
    request.options.get_or_insert_default().start_paused = true;
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(submitted(client, request.clone()).await?);
    }
    for job in &jobs {
        in_state(client, *job, JobState::Executing).await?;
    }
    Ok(jobs)
}

/// The job, once it is in this state.
pub(crate) async fn in_state(client: &Client, job_id: i64, state: JobState) -> anyhow::Result<Job> {
    let began = Instant::now();
    loop {
        let answer = client.get_job(GetJobRequest { job_id, ..GetJobRequest::default() }).await?.message;
        let job = answer.job.context("the answer of a job is empty")?;
        if job.state() == state {
            return Ok(job);
        }
        ensure!(began.elapsed() < PATIENCE, "job {job_id} is {:?} after {PATIENCE:?}", job.state());
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until the job has ended, and fails unless it is Completed.
pub(crate) async fn completed(client: &Client, job_id: i64) -> anyhow::Result<()> {
    let job = client.wait_job(job_id, Some(PATIENCE)).await?.message.job.context("the answer of a job is empty")?;
    ensure!(job.state() == JobState::Completed, "job {job_id} ended as {:?}: {}", job.state(), job.reason);
    Ok(())
}

/// The name of a folder as the API takes it.
pub(crate) fn uri(folder: &Path) -> String {
    format!("file://{}", folder.display())
}
