//! S18: workers that are connected and do nothing - a process that stands still, a session that nobody reads - cost nobody
//! else anything, and lose what they have when their lease ends.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::tree;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    AttemptEnd, Heartbeat, Hello, IdMapping, JobOptions, JobState, SessionRequest, SessionResponse, SubmitJobRequest,
    Task, UpdateJobRequest, Worker, WorkerState,
};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

const SEGMENTS: i64 = 12;
const FILE_BYTES: usize = 64 * 1024;
/// What a stream holds of what nobody reads.
const WINDOW_BYTES: u32 = 65_535;
/// Slots of each silent worker.
const SLOTS: u32 = 3;

/// A session of a worker that reads nothing of what it is answered.
struct Deaf {
    _answers: Streaming<SessionResponse>,
    requests: mpsc::Sender<SessionRequest>,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Deaf {
    async fn connect(cluster: &Cluster) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let hello = Hello { name: "deaf".to_owned(), incarnation: 1, slots: SLOTS, ..Default::default() };
        requests.send(SessionRequest { message: Some(Message::Hello(hello)) }).await.expect("the stream is open");
        let leader = cluster.leader().await;
        let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[&leader])).expect("an address");
        // Little room for what is not read, so that it fills up soon.
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let mut client = WorkerServiceClient::new(endpoint.connect_lazy());
        let answers = client.session(ReceiverStream::new(outgoing)).await.expect("the leader takes sessions");
        Self { _answers: answers.into_inner(), requests }
    }

    /// Says that it lives, as often as it can, until what is given back is dropped.
    fn says_that_it_lives(&self) -> AbortOnDrop {
        let requests = self.requests.clone();
        AbortOnDrop(tokio::spawn(async move {
            let mut sequence = 0;
            let heartbeat = |sequence| SessionRequest { message: Some(Message::Heartbeat(Heartbeat { sequence })) };
            while requests.send(heartbeat(sequence)).await.is_ok() {
                sequence += 1;
            }
        }))
    }
}

/// One task for each of the first segments.
fn request(cluster: &Cluster, name: &str, collection: i64, segments: i64, bandwidth: u64) -> SubmitJobRequest {
    let mapping = |segment: i64| IdMapping { source_segment_id: tree::FIRST_SEGMENT + segment, ..Default::default() };
    let options = JobOptions { segments_per_task_max: 1, bandwidth_bytes_per_second: bandwidth, ..Default::default() };
    let (source, target) = (cluster.path("source"), cluster.path(name));
    let id_mappings = (0..segments).map(mapping).collect();
    SubmitJobRequest { options: Some(options), id_mappings, ..submit_request(&source, &target, collection) }
}

/// How many tasks a worker had and lost; each of them was copied by the one that reads and answers.
fn lost(tasks: &[Task], name: &str) -> usize {
    let of_it = tasks.iter().filter(|task| task.attempts.iter().any(|attempt| attempt.worker_name == name));
    let of_it: Vec<_> = of_it.collect();
    for task in &of_it {
        let (first, last) = (&task.attempts[0], task.attempts.last().expect("it was copied"));
        assert_eq!((first.worker_name.as_str(), first.end()), (name, AttemptEnd::Lost), "{task:?}");
        assert_eq!((last.worker_name.as_str(), last.end()), ("good", AttemptEnd::Copied), "{task:?}");
    }
    of_it.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_workers_that_neither_answer_nor_read_block_nobody_and_lose_their_tasks_with_their_lease() {
    let mut cluster = Cluster::start_with(3, &["leadership.lease=20s"]).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    let has_tasks = |worker: &Worker| worker.in_progress == SLOTS;
    let deaf = Deaf::connect(&cluster).await;
    let of_deaf = cluster.submit(request(&cluster, "deafs", 200, i64::from(SLOTS), 0)).await;
    cluster.worker_when("deaf", "the deaf one to have tasks", has_tasks).await;
    // Nothing else is sent to it from here on: what it does not read are the answers to its heartbeats.
    let _heartbeats = deaf.says_that_it_lives();
    cluster.start_worker("frozen", SLOTS);
    // Its attempts stand still until the limit is taken away, so that it is frozen in their middle.
    let job_id = cluster.submit(request(&cluster, "first", 201, SEGMENTS, 1)).await;
    cluster.worker_when("frozen", "the other one to have tasks", has_tasks).await;
    cluster.worker_process("frozen").freeze();
    cluster.start_worker("good", 2);

    let other = cluster.submit(request(&cluster, "second", 202, SEGMENTS, 0)).await;
    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    cluster.update(change).await;
    for job_id in [other, job_id, of_deaf] {
        let job = cluster.ended(job_id).await;
        assert_eq!(job.state(), JobState::Completed, "{job:?}");
    }
    assert_eq!(lost(&cluster.copies(of_deaf).await, "deaf"), 3, "it had as many tasks as slots");
    assert_eq!(lost(&cluster.copies(job_id).await, "frozen"), 3);
    let tasks = cluster.copies(other).await;
    assert!(tasks.iter().all(|task| task.attempt == 1), "another job never met the silent ones: {tasks:?}");
    let last = tasks.iter().map(|task| task.completed_at_ms).max();
    let first_ends: Vec<_> = cluster.copies(job_id).await.into_iter().map(|task| task.attempts[0].clone()).collect();
    let losses = first_ends.iter().filter(|attempt| attempt.end() == AttemptEnd::Lost);
    let first_loss = losses.map(|attempt| attempt.ended_at_ms).min();
    assert!(last < first_loss, "and was done while the frozen one still had its lease: {last:?}, {first_loss:?}");
    for name in ["deaf", "frozen"] {
        cluster.worker_when(name, "it to be lost", |worker| worker.state() == WorkerState::Lost).await;
    }

    // What it was in the middle of is somebody else's by now: it must change nothing when it goes on.
    cluster.worker_process("frozen").signal(Signal::SIGCONT);
    cluster.worker_when("frozen", "it to be back", |worker| worker.state() == WorkerState::Active).await;
    let leader = cluster.leader().await;
    for target in cluster.targets(leader, job_id).await.expect("targets") {
        let (source, to) = (cluster.path("source"), cluster.path("first"));
        tree::assert_copied(&source, &to, target.source_segment_id, target.segment_id, 201);
    }
    cluster.assert_sound().await;
}
