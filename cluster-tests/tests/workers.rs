//! What happens to the attempts of real workers that are cut off, start anew, end or drain: by what their tasks remember.
//! Leases last an hour here, so nothing in these stories happens because one ended.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::process::{Process, free_address};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{
    AttemptEnd, DrainWorkerRequest, Job, JobOptions, JobState, SubmitJobRequest, Task, UpdateJobRequest, WorkerState,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const SEGMENTS: i64 = 4;
const SLOTS: u32 = 2;
const FILE_BYTES: usize = 64 * 1024;
const COLLECTION: i64 = 201;
const LONG_LEASE: &str = "leadership.lease=1h";

/// A wire between a worker and a node, which can be cut and mended.
struct Wire {
    address: String,
    whole: watch::Sender<bool>,
}

impl Wire {
    async fn at(address: String, node: String) -> Self {
        let listener = TcpListener::bind(&address).await.expect("nobody listens there yet");
        let (whole, carried) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut whole, node) = (carried.clone(), node.clone());
                tokio::spawn(async move {
                    if !*whole.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(node).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = whole.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address, whole }
    }
}

/// A job whose attempts begin, write, and come to no end before its limit is taken away.
async fn endless(cluster: &Cluster, attempts_max: u32) -> i64 {
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    let options =
        JobOptions { segments_per_task_max: 1, bandwidth_bytes_per_second: 1, attempts_max, ..Default::default() };
    let request = submit_request(&cluster.path("source"), &cluster.path("target"), COLLECTION);
    cluster.submit(SubmitJobRequest { options: Some(options), ..request }).await
}

async fn all_slots_write(cluster: &Cluster, job_id: i64) {
    let run = |job: &Job| job.tasks.is_some_and(|tasks| tasks.in_progress == i64::from(SLOTS)) && job.copied_bytes > 0;
    cluster.job_when(job_id, "attempts that write", run).await;
}

/// Takes the limit away and waits for the end; the tasks that copied, and all copies equal their sources.
async fn completed(cluster: &Cluster, job_id: i64) -> Vec<Task> {
    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    cluster.update(change).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    let leader = cluster.leader().await;
    for target in cluster.targets(leader, job_id).await.expect("targets") {
        let (source, to) = (cluster.path("source"), cluster.path("target"));
        tree::assert_copied(&source, &to, target.source_segment_id, target.segment_id, COLLECTION);
    }
    cluster.assert_sound().await;
    cluster.copies(job_id).await
}

/// Number and end of each attempt of a task, by the name of its worker.
fn told(task: &Task) -> Vec<(u32, &str, AttemptEnd)> {
    task.attempts.iter().map(|attempt| (attempt.attempt, attempt.worker_name.as_str(), attempt.end())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_worker_that_is_cut_off_for_a_moment_goes_on_with_what_it_has() {
    // The node tells workers the wire's end as its address, or they would go around a wire that is cut.
    let address = free_address();
    let mut cluster = Cluster::prepare(1, &[LONG_LEASE, &format!("advertise={address}")]);
    let wire = Wire::at(address, cluster.addresses()[&1].clone()).await;
    cluster.start_all().await;
    let slots = SLOTS.to_string();
    let arguments = ["worker", "--endpoints", &wire.address, "--name", "only", "--slots", &slots];
    let worker = Process::start(&arguments, &cluster.path("worker-only.log"));
    let job_id = endless(&cluster, 1).await;
    all_slots_write(&cluster, job_id).await;
    let sessions = || worker.printed().matches("welcomed by the leader").count();
    let before = sessions();
    wire.whole.send_replace(false);
    eventually("the worker to notice", || async { worker.printed().contains("cannot be asked").then_some(()) }).await;
    wire.whole.send_replace(true);
    eventually("another session", || async { (sessions() > before).then_some(()) }).await;
    for task in completed(&cluster, job_id).await {
        assert_eq!(told(&task), [(1, "only", AttemptEnd::Copied)], "no attempt was lost: {task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_a_worker_that_starts_anew_is_noticed_at_once_and_its_tasks_are_planned_again() {
    let mut cluster = Cluster::start_with(3, &[LONG_LEASE]).await;
    cluster.start_worker("only", SLOTS);
    let job_id = endless(&cluster, 2).await;
    all_slots_write(&cluster, job_id).await;
    cluster.kill_worker("only");
    cluster.start_worker("only", SLOTS);
    let (again, once): (Vec<_>, Vec<_>) =
        completed(&cluster, job_id).await.into_iter().partition(|task| task.attempt > 1);
    assert_eq!((again.len(), once.len()), (2, 2), "what it had was begun again");
    for task in again {
        assert_eq!(told(&task), [(1, "only", AttemptEnd::Lost), (2, "only", AttemptEnd::Copied)]);
        assert_eq!((task.failures, task.attempts[0].error.as_str()), (1, "worker only was lost or started anew"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_gives_its_attempts_back_and_they_do_not_count() {
    let mut cluster = Cluster::start_with(3, &[LONG_LEASE]).await;
    cluster.start_worker("ends", SLOTS);
    let job_id = endless(&cluster, 1).await;
    all_slots_write(&cluster, job_id).await;
    cluster.worker_process("ends").signal(nix::sys::signal::Signal::SIGTERM);
    cluster.start_worker("stays", SLOTS);
    let (again, once): (Vec<_>, Vec<_>) =
        completed(&cluster, job_id).await.into_iter().partition(|task| task.attempt > 1);
    assert_eq!((again.len(), once.len()), (2, 2));
    for task in again {
        assert_eq!(told(&task), [(1, "ends", AttemptEnd::GivenBack), (2, "stays", AttemptEnd::Copied)]);
        assert_eq!(task.failures, 0, "one failure would have failed the job: {task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_finishes_what_it_has_and_gets_nothing_new() {
    let mut cluster = Cluster::start_with(3, &[LONG_LEASE]).await;
    cluster.start_worker("drains", SLOTS);
    let job_id = endless(&cluster, 1).await;
    all_slots_write(&cluster, job_id).await;
    let worker_id = cluster.worker_when("drains", "the worker", |_| true).await.worker_id;
    let follower = cluster.a_follower().await;
    cluster.workers(follower).drain_worker(DrainWorkerRequest { worker_id }).await.expect("it drains");
    cluster.start_worker("stays", SLOTS);
    let mut by: Vec<String> = Vec::new();
    for task in completed(&cluster, job_id).await {
        assert_eq!((task.attempts.len(), task.attempts[0].end()), (1, AttemptEnd::Copied), "{task:?}");
        by.push(task.attempts[0].worker_name.clone());
    }
    by.sort();
    assert_eq!(by, ["drains", "drains", "stays", "stays"]);
    let drained = |worker: &ferry_proto::v1::Worker| worker.in_progress == 0;
    let worker = cluster.worker_when("drains", "it to be empty", drained).await;
    assert_eq!(worker.state(), WorkerState::Draining);
}
