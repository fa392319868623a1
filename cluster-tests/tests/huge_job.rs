//! Jobs of any size, streamed by the command line to three real nodes: seen whole or not at all by readers of every
//! node, with bounded memory, to every end that a job can have.
//!
//! `FERRY_HUGE_SEGMENTS` says how large they are; for more than about 100,000, run the test by
//! `cargo test --workspace --test huge_job -- --nocapture`: nextest ends a test after ten minutes.

use cluster_tests::cluster::Cluster;
use cluster_tests::cluster::figures::memory_peak_bytes;
use cluster_tests::instant_worker::{BYTES, InstantWorker, Orders, ROWS};
use cluster_tests::process::binary;
use cluster_tests::sightings::{Sightings, answered, watch};
use cluster_tests::{PATIENCE, eventually, file_uri, tree};
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::{
    CheckInvariantsRequest, CleanupState, GetSegmentRequest, Job, JobState, ListJobsRequest, ListSegmentsRequest,
    ListTasksRequest, SegmentState, TaskState,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

/// More than the command line sends in one message.
const SEGMENTS_DEFAULT: i64 = 30_000;
const SEGMENTS_PER_TASK: i64 = 100;
const WORKERS: usize = 2;
const SLOTS: u32 = 64;
const MEBIBYTE: u64 = 1 << 20;
/// What no process may pass, however large the job is: a node's caches and buffers, and a page or two of mappings.
const NODE_BYTES_MAX: u64 = 512 * MEBIBYTE;
const COMMAND_LINE_BYTES_MAX: u64 = 64 * MEBIBYTE;

fn segments() -> i64 {
    let told = std::env::var("FERRY_HUGE_SEGMENTS").ok();
    told.map_or(SEGMENTS_DEFAULT, |told| told.parse().expect("FERRY_HUGE_SEGMENTS is a number"))
}

/// How long a state of a job of this size is waited for.
fn patience() -> Duration {
    PATIENCE + Duration::from_millis(segments().unsigned_abs())
}

/// Three nodes, workers that report at once, and the snapshot that the jobs copy.
struct Stage {
    cluster: Cluster,
    orders: Arc<Orders>,
    _workers: Vec<InstantWorker>,
}

impl Stage {
    async fn set() -> Self {
        let cluster = Cluster::start(3).await;
        tree::make_metadata(&cluster.path("source"), segments());
        let orders = Arc::new(Orders::default());
        let channels = || cluster.running().into_iter().map(|id| (id, cluster.channel_for_sessions(id))).collect();
        let start = |worker| InstantWorker::start(channels(), &format!("instant-{worker}"), SLOTS, Arc::clone(&orders));
        let workers = (0..WORKERS).map(start).collect();
        Self { cluster, orders, _workers: workers }
    }

    /// A file of mappings whose targets begin there; the allocator chooses every tenth.
    fn mappings(&self, name: &str, first_target: i64) -> PathBuf {
        let mut text = "source,target\n".to_owned();
        for source in 1..=segments() {
            let target = if source % 10 == 0 { 0 } else { first_target + source };
            writeln!(text, "{source},{target}").expect("a string takes any text");
        }
        let file = self.cluster.path(name);
        std::fs::write(&file, text).expect("a file can be written");
        file
    }

    /// The submit as the command line makes it.
    fn command(&self, name: &str, mappings: &Path, more: &[&str]) -> Command {
        let (source, target) = (file_uri(&self.cluster.path("source")), file_uri(&self.cluster.path("target")));
        let mut command = Command::new(binary());
        command
            .args(["--endpoints", &self.cluster.endpoints(), "job", "submit", "--source", &source])
            .args(["--target", &target, "--collection", "200", "--name", name, "--timeout", "none", "-o", "json"])
            .args(["--segments-per-task", &SEGMENTS_PER_TASK.to_string(), "--call-timeout", "2m"])
            .arg("--mappings")
            .arg(mappings)
            .args(more)
            .env_remove("FERRY_ENDPOINTS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Submits, and says how long that took and how much memory at most.
    async fn submit(&self, name: &str, mappings: &Path, more: &[&str]) -> i64 {
        let child = self.command(name, mappings, more).spawn().expect("the binary can be started");
        self.submitted(name, child).await
    }

    async fn submitted(&self, name: &str, mut child: Child) -> i64 {
        let began = Instant::now();
        let mut peak = 0;
        while child.try_wait().expect("the process can be waited for").is_none() {
            peak = peak.max(memory_peak_bytes(child.id()).unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed();
        let output = child.wait_with_output().expect("the process can be waited for");
        assert!(output.status.success(), "{name}: {:?}", output.status);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an answer in JSON");
        let id = answer["job"]["job_id"].as_str().and_then(|id| id.parse().ok()).expect("an answer has a job");
        println!("{name}: submitted {} segments in {took:.1?}; command line at most {}", segments(), mebibytes(peak));
        assert!(peak <= COMMAND_LINE_BYTES_MAX, "the command line took {}", mebibytes(peak));
        assert!(self.streams_answered().await > 0.0, "it was streamed");
        id
    }

    /// Streamed submits that the running nodes have answered well since they started.
    async fn streams_answered(&self) -> f64 {
        let name = "ferry_grpc_requests_total{code=\"Ok\",method=\"ferry.v1.JobService/SubmitJobStream\"}";
        let mut count = 0.0;
        for node in self.cluster.running() {
            count += self.cluster.metric::<f64>(node, name).await.unwrap_or_default();
        }
        count
    }

    /// The job once it is as wanted, and how long that took.
    async fn job_when(&self, name: &str, job_id: i64, what: &str, is: impl Fn(&Job) -> bool) -> Job {
        let began = Instant::now();
        loop {
            let node = self.cluster.running()[0];
            if let Ok(job) = self.cluster.job(node, job_id).await
                && is(&job)
            {
                println!("{name}: {what} after {:.1?}", began.elapsed());
                return job;
            }
            assert!(began.elapsed() < patience(), "{name}: waited {:?} for: {what}", patience());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every target of a job by every node's lists, page by page: as many as there are, each once, all in this state.
    async fn assert_targets(&self, job_id: i64, state: SegmentState) {
        let mut reading = JoinSet::new();
        for node in self.cluster.running() {
            reading.spawn(count_targets(self.cluster.segments(node), job_id, state));
        }
        for counted in reading.join_all().await {
            assert_eq!(counted, segments(), "targets of job {job_id} that are {state:?}");
        }
    }

    async fn look_at_figures(&self) {
        for node in self.cluster.running() {
            let peak = self.cluster.memory_peak_bytes(node);
            assert!(peak <= NODE_BYTES_MAX, "node {node} took {}", mebibytes(peak));
            let figure = |name: &'static str| async move {
                let told = eventually(name, || self.cluster.metric::<f64>(node, name));
                told.await
            };
            let (longest, entries) =
                (figure("ferry_raft_apply_longest_seconds").await, figure("ferry_raft_entries_applied_total").await);
            let total = figure("ferry_raft_apply_seconds_total").await;
            println!(
                "node {node}: memory at most {}, longest apply {:.1} ms of {entries} entries in {total:.1} s",
                mebibytes(peak),
                longest * 1_000.0
            );
        }
        let own = memory_peak_bytes(std::process::id()).expect("this process runs");
        println!("workers and readers: memory at most {}", mebibytes(own));
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / MEBIBYTE)
}

async fn count_targets(client: SegmentServiceClient<Channel>, job_id: i64, state: SegmentState) -> i64 {
    let mut request = ListSegmentsRequest { job_id, page_size: 1_000, ..Default::default() };
    let (mut count, mut last) = (0, 0);
    loop {
        let page = answered(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.list_segments(request).await }
        });
        let page = page.await.expect("segments are listed");
        for segment in &page.segments {
            assert!(segment.segment_id > last, "{} comes behind {last}", segment.segment_id);
            assert_eq!(segment.state(), state, "{segment:?}");
            last = segment.segment_id;
            count += 1;
        }
        if page.next_page_token.is_empty() {
            return count;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_a_huge_job_is_streamed_and_published_in_one_entry_for_readers_of_every_node() {
    let stage = Stage::set().await;
    let mappings = stage.mappings("mappings.csv", 0);
    let stop = Arc::new(AtomicBool::new(false));
    let last = segments() - 1;
    let looked_at = vec![1, segments() / 3, segments() / 2 + 1, last].into_iter().filter(|target| target % 10 != 0);
    let looked_at: Vec<i64> = looked_at.collect();
    let mut readers = JoinSet::new();
    for node in stage.cluster.running() {
        readers.spawn(watch(stage.cluster.segments(node), looked_at.clone(), Arc::clone(&stop)));
    }

    let job_id = stage.submit("complete", &mappings, &[]).await;
    let job = stage.job_when("complete", job_id, "Completed", |job| job.state() == JobState::Completed).await;
    assert_eq!((job.copied_segments, job.total_segments, job.progress_percent), (segments(), segments(), 100));
    assert_eq!((job.total_rows, job.copied_bytes), (segments() * ROWS, segments().unsigned_abs() * BYTES));
    stop.store(true, Ordering::Relaxed);
    let mut seen = Sightings::default();
    for sightings in readers.join_all().await {
        assert!(sightings.hidden_last > 0, "every node was asked before the job was Completed: {sightings:?}");
        assert!(sightings.published_first.is_some(), "every node shows the published targets: {sightings:?}");
        seen.add(&sightings);
    }
    let published = seen.published_first.expect("checked above");
    assert!(seen.hidden_last < published, "hidden at {}, published at {published}", seen.hidden_last);
    println!("{} looks: hidden up to revision {}, published from {published} on", seen.looks, seen.hidden_last);

    stage.assert_targets(job_id, SegmentState::Flushed).await;
    stage.look_at_figures().await;
    stage.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_huge_jobs_fail_are_canceled_and_collected_as_well_as_small_ones() {
    let stage = Stage::set().await;
    let mappings = stage.mappings("mappings.csv", 0);
    let tasks = segments() / SEGMENTS_PER_TASK;

    let job_id = stage.submit("fail", &mappings, &["--paused", "--retention", "1s"]).await;
    stage.orders.fail_after(job_id, tasks / 2);
    stage.cluster.resume(job_id).await;
    let failed = stage.job_when("fail", job_id, "Failed", |job| job.state() == JobState::Failed).await;
    assert!(failed.reason.contains("the object a/b/c is missing"), "{failed:?}");
    stage.collected("fail", job_id).await;
    let clean_ups = stage.orders.clean_ups();
    assert!(clean_ups >= tasks / 2, "{clean_ups} of {tasks} tasks were cleaned up");

    // The same targets: whatever the failed job held is free.
    let job_id = stage.submit("cancel", &mappings, &["--paused", "--retention", "1h"]).await;
    stage.orders.stop_after(job_id, tasks / 2 + 1);
    stage.cluster.resume(job_id).await;
    stage.job_when("cancel", job_id, "half copied", |job| job.copied_segments >= segments() / 2).await;
    stage.cluster.cancel(job_id).await;
    stage.assert_targets(job_id, SegmentState::Dropped).await;
    let done = |job: &Job| job.cleanup() == CleanupState::Done;
    let canceled = stage.job_when("cancel", job_id, "cleaned up", done).await;
    assert_eq!(canceled.state(), JobState::Canceled);
    stage.assert_targets(job_id, SegmentState::Dropped).await;
    let states = stage.task_states(job_id).await;
    assert_eq!(
        states.values().sum::<i64>(),
        (segments() + SEGMENTS_PER_TASK - 1) / SEGMENTS_PER_TASK + 1,
        "{states:?}"
    );
    assert!(states.keys().all(|state| ["Completed", "Failed"].contains(&state.as_str())), "{states:?}");
    stage.look_at_figures().await;
    stage.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_streamed_submit_goes_on_when_the_leader_dies_in_the_middle_of_it() {
    let mut stage = Stage::set().await;
    let mappings = stage.mappings("mappings.csv", 0);
    let leader = stage.cluster.leader().await;
    let applied = "ferry_raft_applied_index";
    let before: u64 = eventually(applied, || stage.cluster.metric(leader, applied)).await;
    let mut child = stage.command("go on", &mappings, &[]).spawn().expect("the binary can be started");
    // The endpoints begin with node 1, so the stream is forwarded, or it dies with the leader itself.
    eventually("some pages are in", || async {
        let now: u64 = stage.cluster.metric(leader, applied).await?;
        (now > before + 10).then_some(())
    })
    .await;
    stage.cluster.kill_node(leader);
    assert!(child.try_wait().expect("the process can be waited for").is_none(), "it was in the middle of it");
    let job_id = stage.submitted("go on", child).await;
    stage.cluster.start_node(leader);
    stage.job_when("go on", job_id, "Completed", |job| job.state() == JobState::Completed).await;
    stage.assert_targets(job_id, SegmentState::Flushed).await;
    let list = |mut jobs: JobServiceClient<Channel>| async move { jobs.list_jobs(ListJobsRequest::default()).await };
    let listed = stage.cluster.ask("a listing", list).await.expect("jobs are listed");
    assert_eq!(listed.jobs.len(), 1, "one submit is one job");
    stage.assert_sound().await;
}

impl Stage {
    /// Every invariant holds on every node, however long it takes to recount them.
    async fn assert_sound(&self) {
        for node in self.cluster.running() {
            let mut client = ClusterServiceClient::new(self.cluster.channel_for_sessions(node));
            let check =
                client.check_invariants(CheckInvariantsRequest::default()).await.expect("a node can be checked");
            let violations = check.into_inner().violations;
            assert!(violations.is_empty(), "node {node}: {violations:?}");
        }
    }

    /// Waits until a job and its targets are gone on every node.
    async fn collected(&self, name: &str, job_id: i64) {
        let began = Instant::now();
        for node in self.cluster.running() {
            loop {
                match self.cluster.job(node, job_id).await {
                    Err(status) if status.code() == Code::NotFound => break,
                    Ok(_) | Err(_) => {}
                }
                assert!(began.elapsed() < patience(), "{name}: waited {:?} for its collection", patience());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let request = GetSegmentRequest { segment_id: segments() / 2 + 1, consistency: 0 };
            let status = answered(|| {
                let mut client = self.cluster.segments(node);
                async move { client.get_segment(request).await }
            });
            let status = status.await.expect_err("its targets went with it");
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
        }
        println!("{name}: cleaned up, and gone for every reader, after {:.1?}", began.elapsed());
    }

    /// Tasks of a job by state, listed in pages.
    async fn task_states(&self, job_id: i64) -> BTreeMap<String, i64> {
        let client = self.cluster.jobs(3);
        let mut request = ListTasksRequest { job_id, page_size: 1_000, ..Default::default() };
        let mut states = BTreeMap::new();
        loop {
            let page = answered(|| {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.list_tasks(request).await }
            });
            let page = page.await.expect("tasks are listed");
            for task in &page.tasks {
                assert_ne!(task.state(), TaskState::Unspecified, "{task:?}");
                *states.entry(format!("{:?}", task.state())).or_default() += 1;
            }
            if page.next_page_token.is_empty() {
                return states;
            }
            request.page_token = page.next_page_token;
        }
    }
}
