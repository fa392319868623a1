//! The limits of a job hold over all workers together: attempts at once, and the shares of bandwidth and requests.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    ExplainJobRequest, Heartbeat, Hello, JobOptions, JobState, SessionRequest, SubmitJobRequest, UpdateJobRequest,
    WaitingOn, WatchJobRequest,
};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

const SEGMENTS: i64 = 12;
const FILE_BYTES: usize = 64 * 1024;

/// One task for each segment.
fn request(cluster: &Cluster, options: JobOptions) -> SubmitJobRequest {
    let (source, target) = (cluster.path("source"), cluster.path("target"));
    let options = Some(JobOptions { segments_per_task_max: 1, ..options });
    SubmitJobRequest { options, ..submit_request(&source, &target, 200) }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_together_run_no_more_attempts_of_a_job_than_it_may_have() {
    const AT_ONCE: u32 = 3;
    let mut cluster = Cluster::start(3).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    ["one", "two"].into_iter().for_each(|name| cluster.start_worker(name, 4));
    // Its attempts stand still until its limit of bytes is taken away.
    let options = JobOptions { attempts_at_once_max: AT_ONCE, bandwidth_bytes_per_second: 1, ..Default::default() };
    let job_id = cluster.submit(request(&cluster, options)).await;
    let leader = cluster.leader().await;
    let watch = WatchJobRequest { job_id, ..Default::default() };
    let mut watch = cluster.jobs(leader).watch_job(watch).await.expect("a watch").into_inner();
    let in_progress = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Ok(Some(update)) = watch.message().await {
            seen.push(update.job.and_then(|job| job.tasks).map_or(0, |tasks| tasks.in_progress));
        }
        seen
    });
    let explained = eventually("the job to say that it waits for its own attempts", || async {
        let request = ExplainJobRequest { job_id };
        let explained = cluster.jobs(leader).explain_job(request).await.ok()?.into_inner();
        (explained.waiting_on() == WaitingOn::AttemptsAtOnce).then_some(explained)
    })
    .await;
    assert!(explained.explanation.starts_with("3 of 3 attempts at once run"), "{}", explained.explanation);
    assert_eq!(explained.running_attempts, u64::from(AT_ONCE));

    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    cluster.update(change).await;
    assert_eq!(cluster.ended(job_id).await.state(), JobState::Completed);
    let seen = in_progress.await.expect("the watch ends with the job");
    assert_eq!(seen.iter().max(), Some(&i64::from(AT_ONCE)), "at each change of the job: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_attempts_that_is_raised_lets_a_job_that_runs_go_on_with_more() {
    let mut cluster = Cluster::start(1).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    ["one", "two"].into_iter().for_each(|name| cluster.start_worker(name, 4));
    let options = JobOptions { attempts_at_once_max: 1, bandwidth_bytes_per_second: 1, ..Default::default() };
    let job_id = cluster.submit(request(&cluster, options)).await;
    let run = |count: i64| move |job: &ferry_proto::v1::Job| job.tasks.is_some_and(|tasks| tasks.in_progress == count);
    cluster.job_when(job_id, "one attempt", run(1)).await;
    cluster.update(UpdateJobRequest { job_id, attempts_at_once_max: Some(5), ..Default::default() }).await;
    let job = cluster.job_when(job_id, "five attempts", run(5)).await;
    assert_eq!(job.options.expect("options").attempts_at_once_max, 5);
    cluster.update(UpdateJobRequest { job_id, attempts_at_once_max: Some(0), ..Default::default() }).await;
    cluster.job_when(job_id, "as many attempts as there are slots", run(8)).await;
}

/// A worker that takes tasks, never ends one, and notes its last share of a job's limits: bytes a second, and thousandths of
/// requests a second.
struct Idle {
    share: Arc<Mutex<Option<(u64, u64)>>>,
    session: JoinHandle<()>,
}

impl Idle {
    async fn connect(cluster: &Cluster, name: &str) -> Self {
        let leader = cluster.leader().await;
        let share = Arc::default();
        let session = tokio::spawn(idle(cluster.workers(leader), name.to_owned(), Arc::clone(&share)));
        Self { share, session }
    }
}

/// Its connection ends with it.
impl Drop for Idle {
    fn drop(&mut self) {
        self.session.abort();
    }
}

async fn idle(mut client: WorkerServiceClient<Channel>, name: String, share: Arc<Mutex<Option<(u64, u64)>>>) {
    let (say, outgoing) = mpsc::channel(16);
    let say_it = |message| SessionRequest { message: Some(message) };
    let hello = Hello { name, incarnation: 1, slots: 2, ..Default::default() };
    say.send(say_it(Say::Hello(hello))).await.expect("the stream is open");
    let mut hear = client.session(ReceiverStream::new(outgoing)).await.expect("the leader takes sessions").into_inner();
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(200));
    let mut sequence = 0;
    loop {
        tokio::select! {
            _ = interval.tick() => {
                sequence += 1;
                let heartbeat = Heartbeat { sequence };
                if say.send(say_it(Say::Heartbeat(heartbeat))).await.is_err() {
                    return;
                }
            }
            heard = hear.message() => {
                let Ok(Some(heard)) = heard else { return };
                let told = match heard.message {
                    Some(Hear::Assign(assign)) => (assign.bandwidth_bytes_per_second, assign.requests_per_1000_s),
                    Some(Hear::Limit(limit)) => (limit.bandwidth_bytes_per_second, limit.requests_per_1000_s),
                    _ => continue,
                };
                *share.lock().expect("no session panics") = Some(told);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shares_of_the_workers_make_up_the_limit_whoever_comes_and_goes() {
    let cluster = Cluster::start_with(1, &["leadership.lease=2s", "leadership.heartbeat-interval=200ms"]).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    let options = JobOptions { bandwidth_bytes_per_second: 1_001, requests_per_second: 10, ..Default::default() };
    let job_id = cluster.submit(request(&cluster, options)).await;
    let one = Idle::connect(&cluster, "one").await;
    let share_of = |worker: &Idle, what: &'static str, share: (u64, u64)| {
        let told = Arc::clone(&worker.share);
        eventually(what, move || {
            let told = *told.lock().expect("no session panics");
            async move { (told == Some(share)).then_some(()) }
        })
    };
    share_of(&one, "the first worker to have all of the limits", (1_001, 10_000)).await;
    let two = Idle::connect(&cluster, "two").await;
    share_of(&two, "the second worker to have half of them", (500, 5_000)).await;
    share_of(&one, "the first worker to have the other half", (501, 5_000)).await;
    let change = UpdateJobRequest { job_id, requests_per_second: Some(4), ..Default::default() };
    cluster.update(change).await;
    share_of(&one, "the first worker to hear of another limit", (501, 2_000)).await;
    share_of(&two, "the second one too", (500, 2_000)).await;
    drop(two);
    share_of(&one, "the first worker to have what the lost one had", (1_001, 4_000)).await;
}
