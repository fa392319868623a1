//! Wall clocks that jump by thirty days on any node, and outages: cluster time goes on as if nothing had happened.
//!
//! The clocks are moved by the library that each process preloads; it leaves the monotonic clock alone.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::faults::Shim;
use cluster_tests::{PATIENCE, eventually, tree};
use ferry_proto::v1::{Job, JobOptions, JobState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const COLLECTION: i64 = 200;
const NODES: u64 = 3;
const WORKER: &str = "only";
const DAY: Duration = Duration::from_hours(24);
/// A job with this timeout is overtaken by jumps, but not by the test.
const LONG: Duration = Duration::from_mins(30);
const SHORT: Duration = Duration::from_secs(8);
/// Later than its timeout by more than this, a job has outlived more than failovers.
const LATE_MAX: Duration = Duration::from_secs(30);

/// A cluster and a worker to come, whose clocks are wrong, each in its own way, from the start.
async fn start(settings: &[&str]) -> Cluster {
    let mut cluster = Cluster::prepare(NODES, settings);
    for (id, days) in (1..=NODES).zip([30, -30, 0]) {
        cluster.preload_faults(id);
        jump(cluster.faults(id), days);
    }
    cluster.preload_worker_faults(WORKER);
    jump(cluster.worker_faults(WORKER), 7);
    cluster.start_all().await;
    cluster
}

/// Moves a wall clock away from the true time; the running process sees it at its next look.
fn jump(clock: &Shim, days: i64) {
    clock.shift_clock(days * i64::try_from(DAY.as_secs()).expect("small"));
}

/// Submits through the leader; answers the id, and the moments between which the submit was committed.
async fn submit(cluster: &Cluster, collection: i64, options: JobOptions) -> (i64, [Instant; 2]) {
    let (source, target) = (cluster.path("source"), cluster.path(&format!("target-{collection}")));
    let mut request = submit_request(&source, &target, collection);
    request.options = Some(options);
    request.request_id = format!("submit-{collection}");
    let before = Instant::now();
    let job_id = eventually("an accepted submit", || async {
        let leader = cluster.leader().await;
        cluster.jobs(leader).submit_job(request.clone()).await.ok()?.into_inner().job.map(|job| job.job_id)
    })
    .await;
    (job_id, [before, Instant::now()])
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("small")
}

fn waits(timeout: Duration) -> JobOptions {
    JobOptions { start_paused: true, timeout_ms: milliseconds(timeout), ..Default::default() }
}

/// How far a wall clock is from ours, in days.
fn days_off(wall_ms: u64) -> i64 {
    let now = milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970"));
    let off = i64::try_from(wall_ms).expect("small") - i64::try_from(now).expect("small");
    let day = i64::try_from(DAY.as_millis()).expect("small");
    (off + off.signum() * day / 2) / day
}

async fn any_job(cluster: &Cluster, job_id: i64) -> Job {
    cluster.job_when(job_id, "the job", |_| true).await
}

fn lives(job: &Job) -> bool {
    matches!(job.state(), JobState::Pending | JobState::Executing)
}

/// It failed by its timeout: not before that was over, and not late by more than failovers.
async fn times_out_in_time(cluster: &Cluster, job_id: i64, submitted: [Instant; 2], timeout: Duration) {
    let job = cluster.ended(job_id).await;
    let took = [submitted[0].elapsed(), submitted[1].elapsed()];
    assert_eq!((job.state(), job.reason.as_str()), (JobState::Failed, "timeout"), "{job:?}");
    assert!(took[0] >= timeout, "job {job_id} timed out early: after {took:?}, not {timeout:?}");
    assert!(took[1] <= timeout + LATE_MAX, "job {job_id} timed out late: after {took:?}, not {timeout:?}");
    println!("a timeout of {timeout:?} was seen after {:?}", took[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_wall_clocks_jump_by_thirty_days_and_no_timeout_retention_or_lease_notices() {
    let mut cluster = start(&["leadership.lease=4s"]).await;
    tree::make(&cluster.path("source"), 40, 64 * 1024);
    cluster.start_worker(WORKER, 2);
    let (patient, _) = submit(&cluster, COLLECTION, waits(LONG)).await;
    let retained = JobOptions { retention_ms: milliseconds(LONG), ..Default::default() };
    let (kept, _) = submit(&cluster, COLLECTION + 1, retained).await;
    assert_eq!(cluster.ended(kept).await.state(), JobState::Completed);
    let (segments_per_task_max, bandwidth_bytes_per_second) = (2, 512 * 1024);
    let slow = JobOptions { segments_per_task_max, bandwidth_bytes_per_second, ..waits(LONG) };
    let (copied, _) = submit(&cluster, COLLECTION + 2, JobOptions { start_paused: false, ..slow }).await;
    cluster.job_when(copied, "the middle of the job", |job| job.copied_segments >= 4).await;

    for (round, days) in (0..).zip([30, -30, 0]) {
        let leader = cluster.leader().await;
        let (short, submitted) = submit(&cluster, COLLECTION + 10 + round, waits(SHORT)).await;
        // The leader's clock jumps while the timeout runs, and so do those of its followers and of the worker.
        for id in 1..=NODES {
            jump(cluster.faults(id), if id == leader { days } else { -days });
        }
        jump(cluster.worker_faults(WORKER), -days);
        let (stamped, _) = submit(&cluster, COLLECTION + 20 + round, waits(LONG)).await;
        let off = days_off(any_job(&cluster, stamped).await.submitted_at_ms);
        assert_eq!(off, days, "the leader's wall clock did not jump");
        if round > 0 {
            cluster.kill_node(leader);
            cluster.leader().await;
            cluster.start_node(leader);
        }
        times_out_in_time(&cluster, short, submitted, SHORT).await;
        for job_id in [patient, stamped] {
            let job = any_job(&cluster, job_id).await;
            assert!(lives(&job), "a job of {LONG:?} ends by a jump: {job:?}");
        }
        assert_eq!(any_job(&cluster, kept).await.state(), JobState::Completed, "its retention is not over");
    }
    leases_were_kept(&cluster, copied).await;

    let (brief, _) = submit(&cluster, COLLECTION + 3, JobOptions { retention_ms: 1, ..Default::default() }).await;
    eventually("the end of a short retention", || async {
        let answer = cluster.job(cluster.leader().await, brief).await;
        answer.is_err_and(|status| status.code() == tonic::Code::NotFound).then_some(())
    })
    .await;
    cluster.resume(patient).await;
    assert_eq!(cluster.ended(patient).await.state(), JobState::Completed);
    cluster.assert_sound().await;
}

/// The worker and its leaders went by their monotonic clocks: nothing was lost, and no copy was begun twice.
async fn leases_were_kept(cluster: &Cluster, job_id: i64) {
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    let log = cluster.worker_log(WORKER);
    assert!(!log.contains("the lease has ended"), "{log}");
    let tasks = cluster.tasks(job_id).await;
    assert_eq!(tasks.len(), 20 + 1, "20 copy, one publishes");
    assert!(tasks.iter().all(|task| task.attempt == 1), "a lease was lost: {tasks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_an_outage_of_all_nodes_does_not_count_towards_a_timeout() {
    let mut cluster = start(&[]).await;
    tree::make(&cluster.path("source"), 2, 1_000);
    let (job_id, submitted) = submit(&cluster, COLLECTION, waits(SHORT)).await;
    for id in cluster.running() {
        cluster.kill_node(id);
    }
    let down = Instant::now();
    // The fault itself: longer than the timeout, for the true time and for every wall clock.
    tokio::time::sleep(SHORT).await;
    for id in 1..=NODES {
        jump(cluster.faults(id), 30);
    }
    let outage = down.elapsed();
    (1..=NODES).for_each(|id| cluster.start_node(id));
    let job = any_job(&cluster, job_id).await;
    assert!(lives(&job), "the outage counted: {job:?}");
    times_out_in_time(&cluster, job_id, submitted, SHORT + outage).await;
    assert!(submitted[0].elapsed() < PATIENCE);
}
