//! `ExplainJob` says of a job what it really waits for, to programs and to people, whichever node is asked.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::process::ferry;
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{
    DrainWorkerRequest, ExhaustedPolicy, ExplainJobRequest, ExplainJobResponse, IdMapping, JobOptions, JobState,
    PausedBy, SubmitJobRequest, UndrainWorkerRequest, WaitingOn,
};
use serde_json::Value;
use std::path::PathBuf;
use tonic::Code;

const FILE_BYTES: usize = 64 * 1024;
/// The target of the job that is canceled while a worker writes it.
const TARGET: i64 = 77;

struct Story {
    cluster: Cluster,
    source: PathBuf,
    /// Submits so far, so that each has a folder and a collection of its own.
    submits: i64,
}

impl Story {
    async fn start() -> Self {
        let cluster = Cluster::start(3).await;
        let source = cluster.path("source");
        tree::make(&source, 1, FILE_BYTES);
        Self { cluster, source, submits: 0 }
    }

    fn request(&mut self, options: JobOptions) -> SubmitJobRequest {
        self.submits += 1;
        let target = self.cluster.path(&format!("target-{}", self.submits));
        SubmitJobRequest { options: Some(options), ..submit_request(&self.source, &target, 200 + self.submits) }
    }

    async fn submit(&mut self, options: JobOptions) -> i64 {
        let request = self.request(options);
        self.cluster.submit(request).await
    }

    /// A job whose target leads nowhere: what writes there fails for as long as nobody makes the folder.
    async fn submit_to_nowhere(&mut self, options: JobOptions) -> i64 {
        let request = self.request(options);
        let target = self.cluster.path(&format!("target-{}", self.submits));
        std::os::unix::fs::symlink(self.cluster.path("nowhere"), &target).expect("a link can be made");
        self.cluster.submit(request).await
    }

    /// Waits until a follower and the command line both give this reason, with fields for which `is` holds.
    async fn waits_on(
        &self,
        job_id: i64,
        waiting_on: WaitingOn,
        is: impl Fn(&ExplainJobResponse) -> bool,
    ) -> ExplainJobResponse {
        let follower = self.cluster.a_follower().await;
        let endpoint = self.cluster.addresses()[&follower].clone();
        let what = format!("job {job_id} waits on {}", waiting_on.as_str_name());
        let answer = eventually(&what, || async {
            let answer = self.cluster.jobs(follower).explain_job(ExplainJobRequest { job_id }).await.ok()?;
            let answer = answer.into_inner();
            if answer.waiting_on() != waiting_on || !is(&answer) {
                return None;
            }
            let told = explained_by_command(&endpoint, job_id);
            let same = told["waiting_on"] == waiting_on.as_str_name()
                && told["behind_job_id"].as_str().and_then(|id| id.parse().ok()) == Some(answer.behind_job_id)
                && told["clean_up_waiting_on"] == answer.clean_up_waiting_on().as_str_name()
                && told["paused_by"] == answer.paused_by().as_str_name();
            same.then_some(answer)
        })
        .await;
        println!("{what}: {}", answer.explanation);
        answer
    }

    async fn drain(&self, name: &str) {
        let worker_id = self.cluster.worker_when(name, "the worker", |_| true).await.worker_id;
        let follower = self.cluster.a_follower().await;
        self.cluster.workers(follower).drain_worker(DrainWorkerRequest { worker_id }).await.expect("it drains");
    }

    async fn undrain(&self, name: &str) {
        let worker_id = self.cluster.worker_when(name, "the worker", |_| true).await.worker_id;
        let follower = self.cluster.a_follower().await;
        self.cluster.workers(follower).undrain_worker(UndrainWorkerRequest { worker_id }).await.expect("it is back");
    }
}

/// `ferry job explain` as JSON, once the table for people was looked at.
fn explained_by_command(endpoint: &str, job_id: i64) -> Value {
    let job_id = job_id.to_string();
    let explain = ["--endpoints", endpoint, "job", "explain", &job_id];
    let table = ferry(&explain);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.is_empty() || (table.contains("waiting on") && table.contains("explanation")), "{table}");
    let told = ferry(&[&explain[..], &["-o", "json"]].concat());
    serde_json::from_slice(&told.stdout).unwrap_or_default()
}

/// Its copies begin, and come to no end.
fn endless() -> JobOptions {
    JobOptions { bandwidth_bytes_per_second: 1, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_begun_says_who_or_what_keeps_it_from_it() {
    let mut story = Story::start().await;
    let first = story.submit(endless()).await;
    let told = story.waits_on(first, WaitingOn::NoWorker, |told| told.draining_workers == 0).await;
    assert!(told.holds_targets && told.explanation.contains("start one"), "{told:?}");

    story.cluster.start_worker("only", 1);
    story.waits_on(first, WaitingOn::Attempts, |told| told.running_attempts == 1).await;
    let second = story.submit(endless()).await;
    let third = story.submit(endless()).await;
    story.waits_on(second, WaitingOn::NoFreeSlot, |told| told.behind_job_id == 0).await;
    let told = story.waits_on(third, WaitingOn::NoFreeSlot, |told| told.behind_job_id == second).await;
    assert!(told.explanation.contains(&format!("job {second} gets the next free slot")), "{told:?}");

    story.cluster.pause(second).await;
    story.waits_on(second, WaitingOn::Paused, |told| told.paused_by() == PausedBy::User).await;
    story.waits_on(third, WaitingOn::NoFreeSlot, |told| told.behind_job_id == 0).await;

    story.drain("only").await;
    story.waits_on(third, WaitingOn::NoWorker, |told| told.draining_workers == 1).await;
    story.undrain("only").await;
    story.waits_on(third, WaitingOn::NoFreeSlot, |told| told.behind_job_id == 0).await;
    story.cluster.cancel(third).await;
    let told = story.waits_on(third, WaitingOn::Retention, |told| !told.holds_targets).await;
    assert!(told.until_ms > 0 && told.remaining_ms > 0, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_attempts_fail_says_when_they_are_tried_again_or_that_they_are_used_up() {
    let mut story = Story::start().await;
    story.cluster.start_worker("only", 1);
    let options = JobOptions { attempts_max: 1_000, ..Default::default() };
    let retried = story.submit_to_nowhere(options.clone()).await;
    let told = story.waits_on(retried, WaitingOn::Backoff, |told| told.remaining_ms > 0).await;
    assert!(told.task_id > 0 && told.until_ms > 0 && told.error.contains("target-1"), "{told:?}");
    let pauses = JobOptions { attempts_max: 2, on_exhausted: ExhaustedPolicy::Pause.into(), ..options };
    let exhausted = story.submit_to_nowhere(pauses).await;
    let told = story.waits_on(exhausted, WaitingOn::Paused, |_| true).await;
    assert_eq!(told.paused_by(), PausedBy::ExhaustedAttempts, "{told:?}");
    assert!(told.task_id > 0 && told.error.contains("target-2"), "{told:?}");
    assert!(told.explanation.contains("mend the cause, then resume it"), "{told:?}");

    // What it asks for helps: the folder is made, and both jobs go on.
    std::fs::create_dir(story.cluster.path("nowhere")).expect("a folder can be made");
    story.cluster.resume(exhausted).await;
    for job_id in [exhausted, retried] {
        assert_eq!(story.cluster.ended(job_id).await.state(), JobState::Completed);
    }
    let told = story.waits_on(exhausted, WaitingOn::Retention, |told| told.remaining_ms > 0).await;
    assert!(told.holds_targets, "published targets are never given to another job: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_job_says_what_its_clean_up_waits_for_and_that_its_targets_are_taken() {
    let mut story = Story::start().await;
    story.cluster.start_worker("writes", 1);
    let id_mappings =
        vec![IdMapping { source_segment_id: tree::FIRST_SEGMENT, target_segment_id: TARGET, partition_id: 0 }];
    let request = SubmitJobRequest { id_mappings, ..story.request(endless()) };
    let again = SubmitJobRequest { request_id: "again".to_owned(), options: None, ..request.clone() };
    let job_id = story.cluster.submit(request).await;
    story.cluster.job_when(job_id, "bytes on the disk", |job| job.copied_bytes > 0).await;
    story.cluster.kill_worker("writes");
    story.cluster.cancel(job_id).await;
    let told = story.waits_on(job_id, WaitingOn::Attempts, |told| told.running_attempts == 1).await;
    assert!(told.explanation.contains("still to stop"), "the dead worker has its lease: {told:?}");

    let writers = |told: &ExplainJobResponse| told.clean_up_waiting_on() == WaitingOn::Writers;
    let told = story.waits_on(job_id, WaitingOn::CleanUp, writers).await;
    assert!(told.holds_targets && told.remaining_tasks == 1 && told.remaining_ms > 0, "{told:?}");
    let follower = story.cluster.a_follower().await;
    let refused = story.cluster.jobs(follower).submit_job(again.clone()).await.expect_err("the target is taken");
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains(&format!("`ferry job explain {job_id}`")), "{refused}");

    let nobody = |told: &ExplainJobResponse| told.clean_up_waiting_on() == WaitingOn::NoWorker;
    story.waits_on(job_id, WaitingOn::CleanUp, nobody).await;
    story.cluster.start_worker("cleans", 1);
    story.waits_on(job_id, WaitingOn::Retention, |told| !told.holds_targets).await;
    let job = story.cluster.submit(again).await;
    assert_eq!(story.cluster.ended(job).await.state(), JobState::Completed);
}
