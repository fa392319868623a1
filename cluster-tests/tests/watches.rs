//! Watches and waits whose node is killed, stopped or frozen go on at another one and miss no state that matters; and a
//! node that is stopped sends everyone on who depended on it.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::process::Process;
use cluster_tests::{eventually, tree};
use ferry_client::{Client, Options};
use ferry_proto::v1::{
    AllocateIdsRequest, Consistency, GetJobRequest, Job, JobOptions, JobState, TaskState, WatchJobResponse,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

const COLLECTION: i64 = 200;
const SEGMENTS: i64 = 12;

/// How the node of a watch is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Killed,
    Stopped,
    Frozen,
}

/// The client's endpoints, this node first.
fn client(cluster: &Cluster, first: u64) -> Client {
    let addresses = cluster.addresses();
    let rest = addresses.iter().filter(|(id, _)| **id != first).map(|(_, address)| address.clone());
    let endpoints = std::iter::once(addresses[&first].clone()).chain(rest);
    Client::new(endpoints, Options::default()).expect("good endpoints")
}

/// A job that waits until it is resumed.
async fn paused_job(cluster: &Cluster, source: &Path, target: &Path, collection: i64) -> i64 {
    let mut request = submit_request(source, target, collection);
    let (start_paused, segments_per_task_max) = (true, 2);
    request.options = Some(JobOptions { start_paused, segments_per_task_max, ..Default::default() });
    let leader = cluster.leader().await;
    let answer = client(cluster, leader).submit_job(request).await.expect("the submit is accepted");
    answer.message.job.expect("an answer has a job").job_id
}

/// What a watch has told so far, and its task, which ends with it.
struct Watching {
    told: Arc<Mutex<Vec<WatchJobResponse>>>,
    task: JoinHandle<Result<(), ferry_client::Error>>,
}

impl Watching {
    fn begin(client: &Client, job_id: i64) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (mut watch, all) = (client.watch_job(job_id, Consistency::Linearizable), Arc::clone(&told));
        let task = tokio::spawn(async move {
            while let Some(update) = watch.next().await? {
                all.lock().expect("no watch panics").push(update);
            }
            Ok(())
        });
        Self { told, task }
    }

    fn told(&self) -> Vec<WatchJobResponse> {
        self.told.lock().expect("no watch panics").clone()
    }

    /// It has ended with the job, and never went back.
    async fn ended(self, end: &Job) -> Vec<WatchJobResponse> {
        self.task.await.expect("a watch does not panic").expect("a watch ends with its job");
        let told = Arc::into_inner(self.told).expect("the watch is over").into_inner().expect("no watch panics");
        let jobs: Vec<&Job> = told.iter().map(|update| update.job.as_ref().expect("an update has a job")).collect();
        for (pair, jobs) in told.windows(2).zip(jobs.windows(2)) {
            let (before, after) = (jobs[0], jobs[1]);
            assert!(pair[0].revision < pair[1].revision, "{pair:?}");
            assert!(before.state <= after.state && before.copied_segments <= after.copied_segments, "{pair:?}");
            assert!(before.paused || !after.paused, "a resumed job is told to be paused again: {pair:?}");
        }
        assert_eq!(jobs.last().map(|job| (job.state(), job.copied_segments)), Some((end.state(), end.copied_segments)));
        told
    }
}

/// `ferry job watch` or `ferry job wait`, as a script runs it.
fn command(cluster: &Cluster, client: &Client, verb: &str, job_id: i64) -> (Process, std::path::PathBuf) {
    let (endpoints, job) = (client.endpoints().join(","), job_id.to_string());
    let log = cluster.path(&format!("{verb}-{job_id}.log"));
    (Process::start(&["--endpoints", &endpoints, "-o", "jsonl", "job", verb, &job], &log), log)
}

async fn ended_well((mut process, log): (Process, std::path::PathBuf)) {
    eventually("the end of a command", || std::future::ready((!process.is_running()).then_some(()))).await;
    let printed = std::fs::read_to_string(log).expect("a command has a log");
    assert_eq!(process.code(), Some(0), "{printed}");
    assert!(printed.contains("JOB_STATE_COMPLETED"), "{printed}");
}

async fn watches_go_on(cluster: &mut Cluster, job_id: i64, lost: u64, loss: Loss) {
    let watcher = client(cluster, lost);
    let watching = Watching::begin(&watcher, job_id);
    let waiter = client(cluster, lost);
    let waiting = tokio::spawn(async move { waiter.wait_job(job_id, None).await });
    let commands = ["watch", "wait"].map(|verb| command(cluster, &watcher, verb, job_id));
    eventually("a first state", || std::future::ready((!watching.told().is_empty()).then_some(()))).await;
    eventually("a first state of the command", || {
        std::future::ready(std::fs::read_to_string(&commands[0].1).ok().filter(|printed| printed.contains("JOB_STATE")))
    })
    .await;
    match loss {
        Loss::Killed => cluster.kill_node(lost),
        Loss::Stopped => assert_eq!(cluster.stop_node(lost), Some(0)),
        Loss::Frozen => cluster.freeze_node(lost),
    }
    let leader = cluster.leader_but(&[lost]).await;
    client(cluster, leader).resume_job(job_id).await.expect("the job is resumed at another node");
    let waited = waiting.await.expect("a wait does not panic").expect("a wait ends with its job");
    let end = waited.message.job.expect("an answer has a job");
    assert_eq!(end.state(), JobState::Completed, "{loss:?}: {end:?}");
    let told = watching.ended(&end).await;
    println!("node {lost} {loss:?}: {} states told", told.len());
    for command in commands {
        ended_well(command).await;
    }
    match loss {
        Loss::Killed | Loss::Stopped => cluster.start_node(lost),
        Loss::Frozen => cluster.thaw_node(lost),
    }
    eventually("a read of the node that was lost", || async { cluster.job(lost, job_id).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_and_waits_survive_the_loss_of_their_node_and_end_with_the_job() {
    let mut cluster = Cluster::start(3).await;
    let source = cluster.path("source");
    tree::make(&source, SEGMENTS, 16 * 1024);
    cluster.start_worker("only", 2);
    for (number, loss) in (0..).zip([Loss::Killed, Loss::Stopped, Loss::Frozen, Loss::Frozen, Loss::Killed]) {
        let target = cluster.path(&format!("target-{number}"));
        let job_id = paused_job(&cluster, &source, &target, COLLECTION + number).await;
        let leader = cluster.leader().await;
        let follower = cluster.running().into_iter().find(|id| *id != leader).expect("there are followers");
        let lost = if number < 3 { leader } else { follower };
        watches_go_on(&mut cluster, job_id, lost, loss).await;
    }
    cluster.assert_sound().await;
}

/// Calls at a node that stays, until told to stop: each is answered, or refused at once.
async fn call_all_the_time(cluster: Arc<Cluster>, node: u64, job_id: i64, stop: Arc<Mutex<bool>>) -> (u64, u64) {
    let (mut answered, mut refused) = (0, 0);
    let (mut ids, mut jobs) = (cluster.ids(node), cluster.jobs(node));
    while !*stop.lock().expect("no call panics") {
        let mut allocate = tonic::Request::new(AllocateIdsRequest { count: 1 });
        allocate.set_timeout(std::time::Duration::from_secs(20));
        let mut get = tonic::Request::new(GetJobRequest { job_id, consistency: 0 });
        get.set_timeout(std::time::Duration::from_secs(20));
        let calls: [Result<(), Status>; 2] =
            [ids.allocate_ids(allocate).await.map(|_| ()), jobs.get_job(get).await.map(|_| ())];
        for call in calls {
            match call {
                Ok(()) => answered += 1,
                Err(status) => {
                    let told = status.code() == Code::Unavailable && !status.message().contains("in time");
                    assert!(told, "node {node}: a call ran out of time: {status:?}");
                    refused += 1;
                }
            }
        }
    }
    (answered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_sends_its_workers_on_restarts_no_copy_and_leaves_no_call_waiting() {
    let mut cluster = Cluster::start(3).await;
    let (source, target) = (cluster.path("source"), cluster.path("target"));
    tree::make(&source, 40, 64 * 1024);
    for worker in ["left", "right"] {
        cluster.start_worker(worker, 2);
    }
    let leader = cluster.leader().await;
    let mut request = submit_request(&source, &target, COLLECTION);
    let (segments_per_task_max, bandwidth_bytes_per_second) = (2, 1024 * 1024);
    request.options = Some(JobOptions { segments_per_task_max, bandwidth_bytes_per_second, ..Default::default() });
    let submitted = client(&cluster, leader).submit_job(request).await.expect("the submit is accepted");
    let job_id = submitted.message.job.expect("an answer has a job").job_id;
    cluster.job_when(job_id, "the middle of the job", |job| job.copied_segments >= 4).await;

    let stopping = cluster.take_node(leader);
    let cluster = Arc::new(cluster);
    let stop = Arc::new(Mutex::new(false));
    let callers: Vec<_> = cluster
        .running()
        .into_iter()
        .map(|node| tokio::spawn(call_all_the_time(Arc::clone(&cluster), node, job_id, Arc::clone(&stop))))
        .collect();
    let printed_before = stopping.printed().len();
    assert_eq!(tokio::task::spawn_blocking(move || stopping.terminate()).await.expect("it is waited for"), Some(0));
    let log = std::fs::read_to_string(cluster.path(&format!("node-{leader}.log"))).expect("a node has a log");
    assert!(log[printed_before..].contains("leadership handed over"), "{}", &log[printed_before..]);
    let job = cluster.ended(job_id).await;
    *stop.lock().expect("no call panics") = true;
    for caller in callers {
        let (answered, refused) = caller.await.expect("no call ran out of time");
        println!("{answered} calls answered, {refused} told to try again");
        assert!(answered > 20, "too few calls to have shown anything");
    }
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    for worker in ["left", "right"] {
        let log = cluster.worker_log(worker);
        assert!(log.contains("the leadership was handed over"), "{worker} was not told: {log}");
        assert!(!log.contains("has stopped renewing") && !log.contains("the lease has ended"), "{worker}: {log}");
    }
    let tasks = cluster.tasks(job_id).await;
    assert_eq!(tasks.len(), 20 + 1, "20 copy, one publishes");
    for task in tasks {
        assert_eq!((task.state(), task.attempt), (TaskState::Completed, 1), "a copy was restarted: {task:?}");
    }
    cluster.assert_sound().await;
}
