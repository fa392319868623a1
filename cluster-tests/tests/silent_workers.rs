//! S18: workers that are connected and do nothing - a process that stands still, a session that nobody reads - cost nobody
//! else anything, and lose what they have when their lease ends.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::tree;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    AttemptEnd, Heartbeat, Hello, JobOptions, JobState, SessionRequest, SessionResponse, SubmitJobRequest,
    UpdateJobRequest, WorkerState,
};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

const SEGMENTS: i64 = 12;
const FILE_BYTES: usize = 64 * 1024;
/// What a stream holds of what nobody reads.
const WINDOW_BYTES: u32 = 65_535;
/// Slots of each silent worker.
const SLOTS: u32 = 3;

/// A session that says that it lives, as often as it can, and reads nothing of what it is answered.
struct Deaf {
    _answers: Streaming<SessionResponse>,
    heartbeats: tokio::task::JoinHandle<u64>,
}

impl Deaf {
    async fn connect(cluster: &Cluster, name: &str) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let hello = Hello { name: name.to_owned(), incarnation: 1, slots: SLOTS, ..Default::default() };
        requests.send(SessionRequest { message: Some(Message::Hello(hello)) }).await.expect("the stream is open");
        let leader = cluster.leader().await;
        let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[&leader])).expect("an address");
        // Little room for what is not read, so that it fills up soon.
        let endpoint = endpoint.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let mut client = WorkerServiceClient::new(endpoint.connect_lazy());
        let answers = client.session(ReceiverStream::new(outgoing)).await.expect("the leader takes sessions");
        let heartbeats = tokio::spawn(async move {
            let mut sequence = 0;
            let heartbeat = |sequence| SessionRequest { message: Some(Message::Heartbeat(Heartbeat { sequence })) };
            while requests.send(heartbeat(sequence)).await.is_ok() {
                sequence += 1;
            }
            sequence
        });
        Self { _answers: answers.into_inner(), heartbeats }
    }
}

fn request(cluster: &Cluster, name: &str, collection: i64, bandwidth: u64) -> SubmitJobRequest {
    let options = JobOptions { segments_per_task_max: 1, bandwidth_bytes_per_second: bandwidth, ..Default::default() };
    let (source, target) = (cluster.path("source"), cluster.path(name));
    SubmitJobRequest { options: Some(options), ..submit_request(&source, &target, collection) }
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_workers_that_neither_answer_nor_read_block_nobody_and_lose_their_tasks_with_their_lease() {
    let mut cluster = Cluster::start(3).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    let deaf = Deaf::connect(&cluster, "deaf").await;
    cluster.start_worker("frozen", SLOTS);
    cluster.worker_when("frozen", "the worker to register", |_| true).await;
    // Its attempts stand still until the limit is taken away, so that the silent ones are silent in their middle.
    let job_id = cluster.submit(request(&cluster, "first", 201, 1)).await;
    for name in ["deaf", "frozen"] {
        cluster.worker_when(name, "it to have tasks", |worker| worker.in_progress == SLOTS).await;
    }
    cluster.worker_process("frozen").freeze();
    cluster.start_worker("good", 2);

    let other = cluster.submit(request(&cluster, "second", 202, 0)).await;
    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    cluster.update(change).await;
    assert_eq!(cluster.ended(other).await.state(), JobState::Completed, "another job goes on");
    let copied = SEGMENTS - 2 * i64::from(SLOTS);
    let all_but_theirs = |job: &ferry_proto::v1::Job| job.copied_segments >= copied;
    cluster.job_when(job_id, "all that the silent workers do not have", all_but_theirs).await;

    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    let tasks = cluster.tasks(job_id).await;
    let lost = |name: &str| {
        let of_it = tasks.iter().filter(|task| task.attempts.iter().any(|attempt| attempt.worker_name == name));
        let of_it: Vec<_> = of_it.collect();
        for task in &of_it {
            let (first, last) = (&task.attempts[0], task.attempts.last().expect("it was copied"));
            assert_eq!((first.worker_name.as_str(), first.end()), (name, AttemptEnd::Lost), "{task:?}");
            assert_eq!((last.worker_name.as_str(), last.end()), ("good", AttemptEnd::Copied), "{task:?}");
        }
        of_it.len()
    };
    assert_eq!((lost("deaf"), lost("frozen")), (3, 3), "each had as many tasks as slots");
    for name in ["deaf", "frozen"] {
        cluster.worker_when(name, "it to be lost", |worker| worker.state() == WorkerState::Lost).await;
    }
    let sent = deaf.heartbeats.await.expect("the leader has closed the session");
    println!("the deaf session sent {sent} heartbeats before it was closed");

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
