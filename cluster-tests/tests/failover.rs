//! The leader or a worker dies at any moment of a job: the end is the same as without, and nobody sees a part of it.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{JobOptions, JobState, SegmentState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SEGMENTS: i64 = 40;
const FILE_BYTES: usize = 64 * 1024;
/// Slow enough that a job is killed in its middle, quick enough for ten of them.
const BANDWIDTH_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

fn options() -> Option<JobOptions> {
    Some(JobOptions {
        segments_per_task_max: 4,
        bandwidth_bytes_per_second: BANDWIDTH_BYTES_PER_SECOND,
        ..Default::default()
    })
}

/// Submits through any running node until one answers; the request id makes that one job.
async fn submit(cluster: &Cluster, source: &Path, target: &Path, collection: i64, request_id: &str) -> i64 {
    eventually("an accepted submit", || async {
        for id in cluster.running() {
            let mut request = submit_request(source, target, collection);
            request.request_id = request_id.to_owned();
            request.options = options();
            if let Ok(answer) = cluster.jobs(id).submit_job(request).await {
                return answer.into_inner().job.map(|job| job.job_id);
            }
        }
        None
    })
    .await
}

async fn assert_published(cluster: &Cluster, source: &Path, target: &Path, collection: i64, job_id: i64) {
    for id in cluster.running() {
        let targets = eventually("the targets of the job", || async { cluster.targets(id, job_id).await.ok() }).await;
        assert_eq!(targets.len(), usize::try_from(SEGMENTS).expect("small"), "targets on node {id}");
        for segment in &targets {
            assert_eq!(segment.state(), SegmentState::Flushed, "node {id}: {segment:?}");
            tree::assert_copied(source, target, segment.source_segment_id, segment.segment_id, collection);
        }
        let ids: Vec<i64> = targets.iter().map(|segment| segment.segment_id).collect();
        assert_eq!(tree::snapshot_segments(target), ids, "the copy is a snapshot of them");
    }
    let expected = tree::files(&source.join("insert_log")).len();
    assert_eq!(tree::data_files(target).len(), expected, "no file beside the copies is left in {}", target.display());
}

/// Reads targets first and the job second on every node until told to stop: a target seen Flushed means that its job
/// was Completed already.
async fn watch_for_early_flush(cluster: Arc<Cluster>, job_id: i64, stop: Arc<AtomicBool>, reads: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        for id in cluster.addresses().keys().copied().collect::<Vec<_>>() {
            let Ok(targets) = cluster.targets(id, job_id).await else { continue };
            let Ok(job) = cluster.job(id, job_id).await else { continue };
            let flushed = targets.iter().any(|segment| segment.state() == SegmentState::Flushed);
            assert!(!flushed || job.state() == JobState::Completed, "node {id} showed a target before its job's end");
            reads.fetch_add(1, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_job_survives_the_death_of_its_leader_at_ten_moments() {
    let mut cluster = Cluster::start(3).await;
    let source = cluster.path("source");
    tree::make(&source, SEGMENTS, FILE_BYTES);
    cluster.start_worker("left", 2);
    cluster.start_worker("right", 2);
    for moment in 0..10 {
        let collection = 200 + moment;
        let target = cluster.path(&format!("target-{moment}"));
        let job_id = submit(&cluster, &source, &target, collection, &format!("moment-{moment}")).await;
        cluster.job_when(job_id, "the moment", |job| job.copied_segments >= moment * 4).await;
        let leader = cluster.leader().await;
        cluster.kill_node(leader);
        assert_ne!(cluster.leader().await, leader);
        let again = submit(&cluster, &source, &target, collection, &format!("moment-{moment}")).await;
        assert_eq!(again, job_id, "the same submit is the same job");
        let job = cluster.ended(job_id).await;
        assert_eq!(job.state(), JobState::Completed, "moment {moment}: {job:?}");
        cluster.start_node(leader);
        assert_published(&cluster, &source, &target, collection, job_id).await;
        cluster.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_a_worker_killed_in_mid_copy_and_its_return() {
    let mut cluster = Cluster::start(3).await;
    let source = cluster.path("source");
    let target = cluster.path("target");
    tree::make(&source, SEGMENTS, FILE_BYTES);
    cluster.start_worker("left", 2);
    cluster.start_worker("right", 2);
    let job_id = submit(&cluster, &source, &target, 300, "worker-killed").await;
    cluster.job_when(job_id, "the middle of the job", |job| job.copied_segments >= 8).await;
    cluster.kill_worker("left");
    cluster.start_worker("left", 2);
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    assert_published(&cluster, &source, &target, 300, job_id).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_shows_a_target_before_its_job_is_completed() {
    let mut cluster = Cluster::start(3).await;
    let source = cluster.path("source");
    let target = cluster.path("target");
    tree::make(&source, SEGMENTS, FILE_BYTES);
    cluster.start_worker("only", 4);
    let job_id = submit(&cluster, &source, &target, 400, "early-flush").await;
    let cluster = Arc::new(cluster);
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watching =
        tokio::spawn(watch_for_early_flush(Arc::clone(&cluster), job_id, Arc::clone(&stop), Arc::clone(&reads)));
    let job = cluster.ended(job_id).await;
    stop.store(true, Ordering::Relaxed);
    watching.await.expect("no target was seen early");
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    assert!(reads.load(Ordering::Relaxed) >= 10, "the readers were too few to have seen anything");
    assert_published(&cluster, &source, &target, 400, job_id).await;
}
