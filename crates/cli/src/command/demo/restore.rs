//! The two jobs of the demo: the sample, and the bulk job with the kill in its middle.

use super::bulk::Bulk;
use super::nodes::Nodes;
use super::proof::{self, Proven};
use super::steps::Steps;
use super::{BULK_COLLECTION, SAMPLE_COLLECTION, sample};
use crate::progress::Progress;
use crate::units::{show_bytes, show_duration};
use anyhow::{Context, ensure};
use ferry_objects::file_uri;
use ferry_proto::v1::{Consistency, Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use std::path::Path;
use std::time::Duration;

/// Workers copy the bulk job's bytes in about this time, so that there is a middle to kill the leader in.
const BULK_SECONDS: u64 = 10;
/// Enough tasks that the job's progress has small steps.
const BULK_TASKS: u16 = 60;
/// The leader is killed when the job has got this far, in percent, and must not have got further than the second.
const MIDDLE_PERCENT: std::ops::Range<u32> = 30..70;

/// Restores the sample and checks all of it.
pub(super) async fn sample(steps: &Steps, nodes: &Nodes, root: &Path, dir: &Path) -> anyhow::Result<Proven> {
    let target = dir.join("restored");
    let request = request("real Milvus segments", &file_uri(root), &target, SAMPLE_COLLECTION, JobOptions::default())?;
    let submitted = nodes.client.submit_job(request).await?.message.job.context("no job")?;
    steps.say(&format!("job {}: {} -> {}", submitted.job_id, submitted.source_uri, submitted.target_uri));
    let job = finish(steps, nodes, submitted.job_id).await?;
    let segments = proof::flushed_on_every_node(nodes, &job, sample::SEGMENTS).await?;
    let rows = segments.iter().all(|segment| segment.num_of_rows == sample::ROWS_PER_SEGMENT);
    ensure!(rows, "not every segment has {} rows", sample::ROWS_PER_SEGMENT);
    steps.held(&format!("{} segments Flushed on every node, {} rows each", segments.len(), sample::ROWS_PER_SEGMENT));
    let proven = proof::files(root, &target, SAMPLE_COLLECTION, &segments).await?;
    steps.held(&format!(
        "{} files, {}: size and CRC32C equal to their source's",
        proven.files,
        show_bytes(proven.bytes)
    ));
    Ok(proven)
}

/// Submits the bulk job.
pub(super) async fn submit_bulk(
    steps: &Steps,
    nodes: &Nodes,
    bulk: &Bulk,
    dir: &Path,
    segments: u16,
) -> anyhow::Result<i64> {
    let options = JobOptions {
        segments_per_task_max: u32::from((segments / BULK_TASKS).max(1)),
        bandwidth_bytes_per_second: bulk.snapshot.bytes / BULK_SECONDS,
        ..JobOptions::default()
    };
    let limit = show_bytes(options.bandwidth_bytes_per_second);
    let request = request("bulk", &bulk.snapshot.uri, &dir.join("copied"), BULK_COLLECTION, options)?;
    let job = nodes.client.submit_job(request).await?.message.job.context("no job")?;
    ensure!(job.total_segments == i64::from(segments), "the job has {} segments", job.total_segments);
    steps.say(&format!("job {}: {segments} segments, {limit}/s over all workers", job.job_id));
    Ok(job.job_id)
}

fn request(
    name: &str,
    source: &str,
    target: &Path,
    collection_id: i64,
    options: JobOptions,
) -> anyhow::Result<SubmitJobRequest> {
    std::fs::create_dir_all(target)?;
    Ok(SubmitJobRequest {
        name: name.to_owned(),
        source: Some(SnapshotRef { uri: source.to_owned() }),
        target: Some(TargetRef { uri: file_uri(target), collection_id, ..TargetRef::default() }),
        options: Some(options),
        ..SubmitJobRequest::default()
    })
}

/// Waits until the job is in its middle and says how far it is.
pub(super) async fn until_middle(steps: &Steps, nodes: &Nodes, job_id: i64) -> anyhow::Result<u32> {
    let percent = follow(nodes, job_id, |job| job.progress_percent >= MIDDLE_PERCENT.start).await?.progress_percent;
    ensure!(MIDDLE_PERCENT.contains(&percent), "the job is at {percent} % already, which is not its middle");
    steps.say(&format!("{percent} % are done"));
    Ok(percent)
}

/// Waits until the job is Completed.
pub(super) async fn finish(steps: &Steps, nodes: &Nodes, job_id: i64) -> anyhow::Result<Job> {
    let job = follow(nodes, job_id, |_| false).await?;
    ensure!(job.state() == JobState::Completed, "job {job_id} is not Completed: {}", job.reason);
    let took = show_duration(Duration::from_millis(job.duration_ms));
    steps.say(&format!("Completed after {took}: {} rows, {}", job.total_rows, show_bytes(job.copied_bytes)));
    Ok(job)
}

/// Shows the job's progress until it has ended or `is_enough`.
async fn follow(nodes: &Nodes, job_id: i64, is_enough: impl Fn(&Job) -> bool) -> anyhow::Result<Job> {
    let mut progress = Progress::indented("      ");
    let mut watch = nodes.client.watch_job(job_id, Consistency::Linearizable);
    let mut last: Option<Job> = None;
    while let Some(update) = watch.next().await? {
        let job = update.job.context("an update without a job")?;
        let before = last.as_ref().map_or(0, |last| last.progress_percent);
        ensure!(job.progress_percent >= before, "progress fell from {before} to {} %", job.progress_percent);
        progress.show(&job);
        let enough = is_enough(&job);
        last = Some(job);
        if enough {
            break;
        }
    }
    progress.end();
    last.context("the watch ended before it began")
}
