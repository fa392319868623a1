//! Promises that need no fault to be broken, or only a death or a pause. Each test holds in every build; a planted build
//! whose processes have the bug that the test names (`FERRY_PLANTED_BUG`, see the crate `planted`) breaks it.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{
    AllocateIdsRequest, CancelJobRequest, CleanupState, Consistency, GetJobRequest, GetJobResponse, IdMapping, Job,
    JobOptions, JobState, SubmitJobRequest, UpdateJobRequest, WaitJobRequest,
};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tonic::{Code, Request, Response};

const FILE_BYTES: usize = 64 * 1024;
/// A file takes a quarter of a second.
const SLOW_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Rounds of what would be seen in most of them.
const ROUNDS: i32 = 10;
/// Cancels of which some meet the report of the copy.
const CANCELS: i64 = 50;

struct Story {
    cluster: Cluster,
    source: PathBuf,
}

impl Story {
    async fn start(segments: i64) -> Self {
        let mut cluster = Cluster::start(3).await;
        let source = cluster.path("source");
        tree::make(&source, segments, FILE_BYTES);
        cluster.start_worker("only", 4);
        Self { cluster, source }
    }

    fn target(&self, collection: i64) -> PathBuf {
        self.cluster.path(&format!("target-{collection}"))
    }

    fn request(&self, collection: i64) -> SubmitJobRequest {
        SubmitJobRequest {
            request_id: format!("collection-{collection}"),
            ..submit_request(&self.source, &self.target(collection), collection)
        }
    }

    /// Submits at the leader.
    async fn submit(&self, request: SubmitJobRequest) -> Job {
        self.cluster.try_submit(request).await.expect("the submit is accepted")
    }

    async fn a_follower(&self) -> u64 {
        let leader = self.cluster.leader().await;
        self.cluster.running().into_iter().find(|id| *id != leader).expect("there are three nodes")
    }

    /// Sets the job's priority while a follower is frozen, and asks that follower for the job the moment it is thawed: the
    /// revision of the change, and the answer.
    async fn read_behind(
        &mut self,
        job_id: i64,
        priority: i32,
        ask: impl FnOnce(u64) -> Request<GetJobRequest>,
    ) -> (u64, Response<GetJobResponse>) {
        let (leader, follower) = (self.cluster.leader().await, self.a_follower().await);
        // The connection is there before, so that the read is waiting when the node goes on.
        let mut client = self.cluster.jobs(follower);
        client.get_job(GetJobRequest { job_id, consistency: 0 }).await.expect("a follower answers");
        self.cluster.freeze_node(follower);
        let change = UpdateJobRequest { job_id, priority: Some(priority), ..Default::default() };
        let changed = self.cluster.jobs(leader).update_job(change).await.expect("two nodes are enough");
        let written = revision(&changed);
        let request = ask(written);
        let read = tokio::spawn(async move { client.get_job(request).await });
        tokio::task::yield_now().await;
        self.cluster.thaw_node(follower);
        (written, read.await.expect("the read ends").expect("a follower answers"))
    }
}

fn revision<T>(answer: &tonic::Response<T>) -> u64 {
    let value = answer.metadata().get("ferry-revision").expect("every answer says when it holds");
    value.to_str().expect("ASCII").parse().expect("a revision is a number")
}

fn slow() -> Option<JobOptions> {
    Some(JobOptions { bandwidth_bytes_per_second: SLOW_BYTES_PER_SECOND, ..Default::default() })
}

fn paused() -> Option<JobOptions> {
    Some(JobOptions { start_paused: true, ..Default::default() })
}

/// Fails with the bug `settle-forgets-segment`.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_an_ended_job_says_what_follows_from_its_end() {
    let story = Story::start(12).await;
    for collection in 1..=2 {
        let job = story.submit(story.request(collection)).await;
        assert_eq!(story.cluster.ended(job.job_id).await.state(), JobState::Completed);
    }
    // By the time that a third job ends, the first one is settled.
    let last = story.submit(story.request(3)).await;
    story.cluster.ended(last.job_id).await;
    story.cluster.assert_sound().await;
}

/// Fails with the bug `clean-up-forgets-file`.
#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_job_leaves_no_file_once_it_says_that_it_is_cleaned_up() {
    let story = Story::start(8).await;
    let request = SubmitJobRequest { options: slow(), ..story.request(1) };
    let job_id = story.submit(request).await.job_id;
    story.cluster.job_when(job_id, "bytes on the disk", |job| job.copied_bytes > 0).await;
    story.cluster.cancel(job_id).await;
    let job = story.cluster.job_when(job_id, "the clean-up", |job| job.cleanup() == CleanupState::Done).await;
    assert_eq!(job.state(), JobState::Canceled);
    assert_eq!(tree::files(&story.target(1)), Vec::<PathBuf>::new());
}

/// Fails with the bug `last-file-skipped`.
#[tokio::test(flavor = "multi_thread")]
async fn a_completed_job_has_every_file_of_its_source() {
    let story = Story::start(8).await;
    let job_id = story.submit(story.request(1)).await.job_id;
    assert_eq!(story.cluster.ended(job_id).await.state(), JobState::Completed);
    let leader = story.cluster.leader().await;
    for segment in story.cluster.targets(leader, job_id).await.expect("targets") {
        tree::assert_copied(&story.source, &story.target(1), segment.source_segment_id, segment.segment_id, 1);
    }
}

/// Fails with the bug `watch-misses-end`.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_answers_with_the_end_of_the_job() {
    let story = Story::start(8).await;
    let job_id = story.submit(SubmitJobRequest { options: slow(), ..story.request(1) }).await.job_id;
    for node in story.cluster.running() {
        let job = eventually("an answer to a wait", || async {
            let request = WaitJobRequest { job_id, timeout_ms: 8_000, ..Default::default() };
            story.cluster.jobs(node).wait_job(request).await.ok()
        });
        assert_eq!(job.await.into_inner().job.expect("the job").state(), JobState::Completed, "node {node}");
    }
}

/// Fails with the bug `target-lock-ignored`.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_a_live_job_is_given_to_no_other() {
    let story = Story::start(1).await;
    let id_mappings =
        vec![IdMapping { source_segment_id: tree::FIRST_SEGMENT, target_segment_id: 77, partition_id: 0 }];
    let first = SubmitJobRequest { id_mappings, options: paused(), ..story.request(1) };
    let second = SubmitJobRequest { request_id: "another".to_owned(), ..first.clone() };
    story.submit(first).await;
    let refused = story.cluster.try_submit(second).await.expect_err("the target is held");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused}");
    story.cluster.assert_sound().await;
}

/// Fails with the bug `request-id-forgotten`.
#[tokio::test(flavor = "multi_thread")]
async fn a_submit_that_is_repeated_after_its_end_is_still_the_same_job() {
    let story = Story::start(4).await;
    let first = story.submit(story.request(1)).await.job_id;
    story.cluster.ended(first).await;
    assert_eq!(story.submit(story.request(1)).await.job_id, first);
}

/// Fails with the bug `id-window-reused`.
#[tokio::test(flavor = "multi_thread")]
async fn s31_ids_are_unique_over_the_death_of_a_leader() {
    let mut story = Story::start(1).await;
    let mut handed_out = BTreeSet::new();
    for _ in 0..2 {
        let leader = story.cluster.leader().await;
        for _ in 0..20 {
            let answer = story.cluster.ids(leader).allocate_ids(AllocateIdsRequest { count: 10 }).await.expect("ids");
            let first = answer.into_inner().first_id;
            for id in first..first + 10 {
                assert!(handed_out.insert(id), "id {id} was handed out twice");
            }
        }
        story.cluster.kill_node(leader);
        story.cluster.leader().await;
        story.cluster.start_node(leader);
    }
}

/// Fails with the bug `stale-read-as-linearizable`.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_with_what_was_acknowledged_before_it_was_asked() {
    let mut story = Story::start(1).await;
    let job_id = story.submit(SubmitJobRequest { options: paused(), ..story.request(1) }).await.job_id;
    for priority in 1..=ROUNDS {
        let read = |_| Request::new(GetJobRequest { job_id, consistency: 0 });
        let (_, answer) = story.read_behind(job_id, priority, read).await;
        assert_eq!(answer.into_inner().job.expect("the job").priority, priority);
    }
}

/// Fails with the bug `min-revision-ignored`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_is_as_new_as_it_was_asked_to_be() {
    let mut story = Story::start(1).await;
    let job_id = story.submit(SubmitJobRequest { options: paused(), ..story.request(1) }).await.job_id;
    for priority in 1..=ROUNDS {
        let read = |written: u64| {
            let mut request = Request::new(GetJobRequest { job_id, consistency: Consistency::Stale.into() });
            request.metadata_mut().insert("ferry-min-revision", written.into());
            request
        };
        let (written, answer) = story.read_behind(job_id, priority, read).await;
        assert!(revision(&answer) >= written, "revision {} where {written} was asked for", revision(&answer));
    }
}

/// Fails with the bug `leader-reads-unconfirmed`.
#[tokio::test(flavor = "multi_thread")]
async fn s39_a_leader_that_was_paused_answers_no_read_from_before_its_pause() {
    let story = Story::start(1).await;
    let job_id = story.submit(SubmitJobRequest { options: paused(), ..story.request(1) }).await.job_id;
    for priority in 1..=ROUNDS {
        let former = story.cluster.leader().await;
        // The connection is there before the pause, so that the read is waiting when the pause ends.
        let mut client = story.cluster.jobs(former);
        client.get_job(GetJobRequest { job_id, consistency: 0 }).await.expect("a leader answers");
        story.cluster.freeze_node(former);
        eventually("an update under another leader", || async {
            for id in story.cluster.running().into_iter().filter(|id| *id != former) {
                let request = UpdateJobRequest { job_id, priority: Some(priority), ..Default::default() };
                if story.cluster.jobs(id).update_job(request).await.is_ok() {
                    return Some(());
                }
            }
            None
        })
        .await;
        let read = tokio::spawn(async move { client.get_job(GetJobRequest { job_id, consistency: 0 }).await });
        tokio::task::yield_now().await;
        story.cluster.thaw_node(former);
        if let Ok(answer) = read.await.expect("the read ends") {
            let job = answer.into_inner().job.expect("the job");
            assert_eq!(job.priority, priority, "a stale answer of node {former}");
        }
    }
}

/// Fails with the bug `late-result-accepted`.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_canceled_stays_canceled_whatever_its_worker_still_reports() {
    let story = Story::start(1).await;
    let mut canceled = Vec::new();
    for collection in 1..=CANCELS {
        let job_id = story.submit(story.request(collection)).await.job_id;
        let leader = story.cluster.leader().await;
        // Each a little later than the one before, so that some of them meet the report on its way.
        tokio::time::sleep(Duration::from_micros(500 * collection.unsigned_abs())).await;
        let answer = story.cluster.jobs(leader).cancel_job(CancelJobRequest { job_id }).await;
        if answer.is_ok_and(|answer| answer.into_inner().job.is_some_and(|job| job.state() == JobState::Canceled)) {
            canceled.push(job_id);
        }
    }
    assert!(!canceled.is_empty(), "no cancel came before the end of its job");
    for job_id in canceled {
        let job = story.cluster.job_when(job_id, "the job", |_| true).await;
        assert_eq!(job.state(), JobState::Canceled, "job {job_id} changed its end");
    }
}
