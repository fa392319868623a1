//! A follower that was away for so long that nobody's log reaches back to it catches up by a checkpoint, while the
//! cluster goes on with its jobs.
//!
//! `FERRY_CATCH_UP_ENTRIES` says how many entries it misses. For more than about 100,000, run the test by
//! `cargo test --workspace --test catch_up -- --nocapture`: nextest ends a test after ten minutes.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::{
    AllocateIdsRequest, CheckInvariantsRequest, Consistency, GetJobRequest, JobOptions, JobState, SubmitJobRequest,
    UpdateJobRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::{Channel, Endpoint};

const ENTRIES_DEFAULT: u64 = 3_000;
const COLLECTION: i64 = 200;
const SEGMENTS: i64 = 4;
/// Writers of small entries: as many as a leader has entries on their way, and as many again that wait.
const WRITERS: i32 = 8;

fn entries_to_miss() -> u64 {
    let told = std::env::var("FERRY_CATCH_UP_ENTRIES").ok();
    told.map_or(ENTRIES_DEFAULT, |told| told.parse().expect("FERRY_CATCH_UP_ENTRIES is a number"))
}

async fn figure(cluster: &Cluster, node: u64, name: &str) -> u64 {
    eventually(name, || cluster.metric(node, name)).await
}

fn paused(mut request: SubmitJobRequest) -> SubmitJobRequest {
    request.options = Some(JobOptions { start_paused: true, no_timeout: true, ..Default::default() });
    request
}

/// The cluster's work: until told to stop, jobs are submitted and end, ids are handed out, and a register is written.
struct Work {
    stop: Arc<AtomicBool>,
    /// The job that ended last.
    ended_last: Arc<AtomicI64>,
    jobs: JoinHandle<usize>,
    ids: JoinHandle<BTreeSet<i64>>,
    writers: JoinSet<()>,
}

impl Work {
    fn start(cluster: &Cluster, leader: u64, register: i64) -> Self {
        let (stop, ended_last) = (Arc::<AtomicBool>::default(), Arc::<AtomicI64>::default());
        let (source, targets) = (cluster.path("source"), cluster.path("targets"));
        let jobs = run_jobs(cluster.jobs(leader), source, targets, Arc::clone(&stop), Arc::clone(&ended_last));
        let ids = tokio::spawn(allocate(cluster.ids(leader), Arc::clone(&stop)));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(cluster.jobs(leader), register, writer, Arc::clone(&stop)));
        }
        Self { jobs: tokio::spawn(jobs), ids, writers, stop, ended_last }
    }

    /// Jobs that ended and ids that were handed out.
    async fn stop(mut self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended.expect("a writer does not panic");
        }
        (self.jobs.await.expect("the jobs end"), self.ids.await.expect("ids are handed out").len())
    }
}

async fn run_jobs(
    mut client: JobServiceClient<Channel>,
    source: PathBuf,
    targets: PathBuf,
    stop: Arc<AtomicBool>,
    ended_last: Arc<AtomicI64>,
) -> usize {
    let mut ended = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut request = submit_request(&source, &targets.join(ended.to_string()), COLLECTION);
        request.request_id = format!("job-{ended}");
        let Ok(answer) = client.submit_job(request).await else { continue };
        let job_id = answer.into_inner().job.expect("an answer has a job").job_id;
        let job = eventually("the end of a job", || {
            let mut client = client.clone();
            async move {
                let answer = client.get_job(GetJobRequest { job_id, consistency: 0 }).await.ok()?;
                answer.into_inner().job.filter(|job| job.state() == JobState::Completed)
            }
        });
        ended_last.store(job.await.job_id, Ordering::Release);
        ended += 1;
    }
    ended
}

async fn allocate(mut client: AllocatorServiceClient<Channel>, stop: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut given = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(answer) = client.allocate_ids(AllocateIdsRequest { count: 1 }).await else { continue };
        assert!(given.insert(answer.get_ref().first_id), "an id was handed out twice: {answer:?}");
    }
    given
}

async fn write(mut client: JobServiceClient<Channel>, job_id: i64, writer: i32, stop: Arc<AtomicBool>) {
    let mut priority = writer;
    while !stop.load(Ordering::Relaxed) {
        priority = (priority + 1) % 100;
        // What is not answered may be written or not: only the number of entries matters.
        let _ = client.update_job(UpdateJobRequest { job_id, priority: Some(priority), ..Default::default() }).await;
    }
}

/// Waits until the leader's log is long enough and no longer reaches back to the node that is away.
async fn leave_behind(cluster: &Cluster, leader: u64, applied: u64, entries: u64) {
    let began = Instant::now();
    let mut progress = (0, Instant::now());
    loop {
        let last = figure(cluster, leader, "ferry_raft_applied_index").await;
        let purged = figure(cluster, leader, "ferry_raft_purged_index").await;
        if last >= applied + entries && purged > applied {
            let rate = u128::from(last - applied) * 1_000 / began.elapsed().as_millis().max(1);
            println!("{} entries at {rate} entries/s; the leader's log begins behind {purged}", last - applied);
            return;
        }
        if last > progress.0 {
            progress = (last, Instant::now());
        }
        assert!(progress.1.elapsed() < cluster_tests::PATIENCE, "the log ends at {last} and does not grow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn read(cluster: &Cluster, node: u64, job_id: i64, consistency: Consistency) -> Option<ferry_proto::v1::Job> {
    let request = GetJobRequest { job_id, consistency: consistency.into() };
    cluster.jobs(node).get_job(request).await.ok()?.into_inner().job
}

/// Every node has the same rows: at one revision that all of them tell of, their digests are equal.
async fn assert_equal_rows(cluster: &Cluster) {
    let mut digests: BTreeMap<u64, BTreeMap<u64, String>> = BTreeMap::new();
    let nodes = cluster.running();
    let began = Instant::now();
    while !digests.values().any(|by_node| by_node.len() == nodes.len()) {
        assert!(began.elapsed() < cluster_tests::PATIENCE, "the nodes tell of no common revision: {digests:?}");
        // At once: a look at many rows takes long, and the clock is committed every second.
        let mut asked = JoinSet::new();
        for node in nodes.iter().copied() {
            // Rows of so many entries take longer than calls of other tests may.
            let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[&node])).expect("an address");
            let mut client = ClusterServiceClient::new(endpoint.connect_lazy());
            let request = CheckInvariantsRequest { consistency: Consistency::Stale.into() };
            asked.spawn(async move { (node, client.check_invariants(request).await) });
        }
        for (node, answer) in asked.join_all().await {
            let Ok(answer) = answer else { continue };
            let revision = answer.metadata().get("ferry-revision").and_then(|text| text.to_str().ok()?.parse().ok());
            let (revision, answer) = (revision.expect("a check tells its revision"), answer.into_inner());
            assert!(answer.violations.is_empty(), "node {node}: {:?}", answer.violations);
            assert!(!answer.rows_digest.is_empty());
            digests.entry(revision).or_default().insert(node, answer.rows_digest);
        }
    }
    for (revision, by_node) in &digests {
        let different: BTreeSet<&String> = by_node.values().collect();
        assert_eq!(different.len(), 1, "revision {revision}: {by_node:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_a_follower_that_was_down_for_a_long_time_catches_up_by_a_checkpoint_while_jobs_run() {
    let entries = entries_to_miss();
    let interval = (entries / 6).clamp(100, 20_000);
    let checkpoints = format!("storage.checkpoint-interval-entries={interval}");
    let kept = format!("storage.log-keep-entries={}", interval / 2);
    let mut cluster = Cluster::start_with(3, &[&checkpoints, &kept, "leadership.allocator-window=1"]).await;
    tree::make(&cluster.path("source"), SEGMENTS, 1_000);
    cluster.start_worker("only", 2);
    let request = paused(submit_request(&cluster.path("source"), &cluster.path("register"), COLLECTION));
    let register = cluster.submit(request).await;
    let leader = cluster.leader().await;
    let follower = *cluster.running().iter().find(|id| **id != leader).expect("three nodes run");

    let applied = figure(&cluster, follower, "ferry_raft_applied_index").await;
    cluster.kill_node(follower);
    let work = Work::start(&cluster, leader, register);
    leave_behind(&cluster, leader, applied, entries).await;

    let ended = work.ended_last.load(Ordering::Acquire);
    assert_ne!(ended, 0, "jobs end while the follower is away");
    let committed = figure(&cluster, leader, "ferry_raft_committed_index").await;
    let began = Instant::now();
    cluster.start_node(follower);
    let early =
        eventually("the first linearizable read", || read(&cluster, follower, ended, Consistency::Linearizable));
    assert_eq!(early.await.state(), JobState::Completed, "what ended before the read was begun has ended");
    eventually("the follower has applied what it missed", || async {
        let applied: Option<u64> = cluster.metric(follower, "ferry_raft_applied_index").await;
        applied.filter(|applied| *applied >= committed)
    })
    .await;
    println!("caught up from {} entries behind in {:?}", committed - applied, began.elapsed());
    let installed = figure(&cluster, follower, "ferry_raft_checkpoints_installed_total").await;
    assert!(installed >= 1, "the entries are gone, so a checkpoint must have come");
    let later = work.ended_last.load(Ordering::Acquire);
    eventually("a job ends while the follower is back", || async {
        (work.ended_last.load(Ordering::Acquire) != later).then_some(())
    })
    .await;
    let (jobs, ids) = work.stop().await;

    let write = UpdateJobRequest { job_id: register, priority: Some(77), ..Default::default() };
    cluster.update(write).await;
    let read_back = eventually("a linearizable read", || read(&cluster, follower, register, Consistency::Linearizable));
    assert_eq!(read_back.await.priority, 77);
    // The read above has waited for the write on this very node: its rows are not older than that any more.
    let stale = read(&cluster, follower, register, Consistency::Stale).await.expect("a stale read is answered");
    assert_eq!(stale.priority, 77);
    assert_equal_rows(&cluster).await;
    let log = std::fs::read_to_string(cluster.path(&format!("node-{follower}.log"))).expect("the log is there");
    let line = log.lines().find(|line| line.contains("a checkpoint of another node was installed"));
    println!(
        "{installed} checkpoint(s), {jobs} jobs ended and {ids} ids were handed out meanwhile; {}",
        line.expect("it says so")
    );
}
