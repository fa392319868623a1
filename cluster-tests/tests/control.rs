//! What a user does to a job that runs: pause and resume, cancel, mend and go on, change its limit.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{
    AttemptEnd, CleanupState, ExhaustedPolicy, ExplainJobRequest, FailurePolicy, JobOptions, JobState, PausedBy,
    SubmitJobRequest, UpdateJobRequest, WaitingOn,
};
use std::path::PathBuf;

const FILE_BYTES: usize = 64 * 1024;
const SEGMENTS: i64 = 6;

struct Story {
    cluster: Cluster,
    source: PathBuf,
}

impl Story {
    async fn start(slots: u32) -> Self {
        let mut cluster = Cluster::start(3).await;
        let source = cluster.path("source");
        tree::make(&source, SEGMENTS, FILE_BYTES);
        cluster.start_worker("only", slots);
        Self { cluster, source }
    }

    fn target(&self, collection: i64) -> PathBuf {
        self.cluster.path(&format!("target-{collection}"))
    }

    /// One task for each segment.
    fn request(&self, collection: i64, options: JobOptions) -> SubmitJobRequest {
        let options = Some(JobOptions { segments_per_task_max: 1, ..options });
        SubmitJobRequest { options, ..submit_request(&self.source, &self.target(collection), collection) }
    }

    async fn submit(&self, collection: i64, options: JobOptions) -> i64 {
        self.cluster.submit(self.request(collection, options)).await
    }

    async fn assert_copied(&self, collection: i64, job_id: i64) {
        let leader = self.cluster.leader().await;
        let targets = self.cluster.targets(leader, job_id).await.expect("targets");
        assert_eq!(targets.len(), usize::try_from(SEGMENTS).expect("small"));
        for target in targets {
            let (from, to) = (target.source_segment_id, target.segment_id);
            tree::assert_copied(&self.source, &self.target(collection), from, to, collection);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_begins_nothing_keeps_what_it_has_and_goes_on_when_it_is_resumed() {
    let story = Story::start(1).await;
    let job_id = story.submit(1, JobOptions { start_paused: true, ..Default::default() }).await;
    // Another job has the whole worker meanwhile: the paused one had every chance to begin.
    let other = story.submit(2, JobOptions::default()).await;
    assert_eq!(story.cluster.ended(other).await.state(), JobState::Completed);
    let job = story.cluster.job_when(job_id, "the paused job", |_| true).await;
    assert_eq!((job.state(), job.paused, job.copied_segments), (JobState::Executing, true, 0));

    let slow = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(256 * 1024), ..Default::default() };
    story.cluster.update(slow).await;
    story.cluster.resume(job_id).await;
    story.cluster.job_when(job_id, "the first copy", |job| job.copied_segments >= 1).await;
    story.cluster.pause(job_id).await;
    let stands = |tasks: ferry_proto::v1::TaskCounts| tasks.in_progress == 0;
    let job = story.cluster.job_when(job_id, "its attempts to end", |job| job.tasks.is_some_and(stands)).await;
    let copied = job.copied_segments;
    assert!((1..SEGMENTS).contains(&copied), "it was paused in its middle: {job:?}");
    let other = story.submit(3, JobOptions::default()).await;
    assert_eq!(story.cluster.ended(other).await.state(), JobState::Completed);
    let job = story.cluster.job_when(job_id, "the paused job", |_| true).await;
    assert_eq!(job.copied_segments, copied, "nothing begins while it is paused, and nothing is lost");

    story.cluster.resume(job_id).await;
    assert_eq!(story.cluster.ended(job_id).await.state(), JobState::Completed);
    story.assert_copied(1, job_id).await;
    for task in story.cluster.copies(job_id).await {
        assert_eq!((task.attempt, task.attempts[0].end()), (1, AttemptEnd::Copied), "each ran once: {task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_used_up_its_attempts_pauses_and_completes_once_the_cause_is_mended() {
    let story = Story::start(2).await;
    let nowhere = story.cluster.path("nowhere");
    std::os::unix::fs::symlink(&nowhere, story.target(1)).expect("a link can be made");
    let on_exhausted = ExhaustedPolicy::Pause.into();
    let options = JobOptions { attempts_max: 2, segments_per_task_max: 1, on_exhausted, ..Default::default() };
    let job_id = story.submit(1, options).await;
    let job = story.cluster.job_when(job_id, "its pause", |job| job.paused).await;
    assert_eq!((job.state(), job.reason.as_str()), (JobState::Executing, ""), "a pause is no end");
    let tasks = story.cluster.tasks(job_id).await;
    let exhausted = tasks.iter().find(|task| task.attempt == 2).expect("a task had two attempts");
    for (attempt, number) in exhausted.attempts.iter().zip(1..) {
        assert_eq!((attempt.attempt, attempt.end()), (number, AttemptEnd::Transient), "{attempt:?}");
        assert_eq!(attempt.worker_name, "only");
        assert!(attempt.error.contains("target-1"), "the error names the place: {attempt:?}");
        assert!(attempt.ended_at_ms >= attempt.started_at_ms && attempt.started_at_ms > 0, "{attempt:?}");
    }

    std::fs::create_dir(&nowhere).expect("a folder can be made");
    eventually("the end of the job", || async {
        // A task that had one attempt left may use it up after the first resume.
        let leader = story.cluster.leader().await;
        let job = story.cluster.job(leader, job_id).await.ok()?;
        if job.paused && job.state() == JobState::Executing {
            story.cluster.resume(job_id).await;
        }
        (job.state() == JobState::Completed).then_some(())
    })
    .await;
    story.assert_copied(1, job_id).await;
    for task in story.cluster.copies(job_id).await {
        let last = task.attempts.last().expect("every task had an attempt");
        assert_eq!((last.end(), last.attempt, last.error.as_str()), (AttemptEnd::Copied, task.attempt, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_source_object_is_missing_pauses_names_it_and_completes_once_it_is_put_back() {
    let story = Story::start(2).await;
    let segment = tree::FIRST_SEGMENT + SEGMENTS - 1;
    let object = format!("insert_log/{}/{}/{segment}/1/1", tree::COLLECTION, tree::PARTITION);
    let (lost, kept) = (story.source.join(&object), story.cluster.path("kept"));
    std::fs::rename(&lost, &kept).expect("a file can be moved");
    for (collection, options) in [
        (1, JobOptions { on_failure: FailurePolicy::Pause.into(), ..Default::default() }),
        (2, JobOptions { on_exhausted: ExhaustedPolicy::Pause.into(), ..Default::default() }),
    ] {
        let job_id = story.submit(collection, options).await;
        let job = story.cluster.job_when(job_id, "its pause", |job| job.paused).await;
        assert_eq!((job.state(), job.reason.as_str()), (JobState::Executing, ""), "a pause is no end");
        story
            .cluster
            .job_when(job_id, "its attempts to end", |job| job.tasks.is_some_and(|all| all.in_progress == 0))
            .await;
        let leader = story.cluster.leader().await;
        let told = story.cluster.jobs(leader).explain_job(ExplainJobRequest { job_id }).await;
        let told = told.expect("an explanation").into_inner();
        assert_eq!((told.waiting_on(), told.paused_by()), (WaitingOn::Paused, PausedBy::Failure), "{told:?}");
        assert!(told.explanation.contains(&object) && told.error.contains(&object), "{told:?}");
        assert!(told.explanation.contains("mend the cause, then resume it"), "{told:?}");

        // A resume without that only asks for the object again.
        story.cluster.resume(job_id).await;
        story.cluster.job_when(job_id, "its next pause", |job| job.paused).await;
        std::fs::copy(&kept, &lost).expect("a file can be copied");
        story.cluster.resume(job_id).await;
        assert_eq!(story.cluster.ended(job_id).await.state(), JobState::Completed);
        story.assert_copied(collection, job_id).await;
        std::fs::remove_file(&lost).expect("a file can be removed");
    }
    let job_id = story.submit(3, JobOptions::default()).await;
    let job = story.cluster.ended(job_id).await;
    assert!(job.state() == JobState::Failed && job.reason.contains(&object), "without a policy it fails: {job:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_keeps_what_it_copied_holds_its_targets_until_its_user_lets_them_go() {
    let story = Story::start(2).await;
    let segment = tree::FIRST_SEGMENT + SEGMENTS - 1;
    let object = format!("insert_log/{}/{}/{segment}/1/1", tree::COLLECTION, tree::PARTITION);
    let lost = story.source.join(&object);
    std::fs::rename(&lost, story.cluster.path("kept")).expect("a file can be moved");
    let keep = JobOptions { on_failure: FailurePolicy::Keep.into(), ..Default::default() };
    let job_id = story.submit(1, keep).await;
    // The task without its object goes last, so that there is something to keep.
    let job = story.cluster.ended(job_id).await;
    assert!(job.state() == JobState::Failed && job.reason.contains(&object), "{job:?}");
    let stands = |job: &ferry_proto::v1::Job| job.cleanup() == CleanupState::Kept;
    story.cluster.job_when(job_id, "what it keeps", stands).await;
    let stopped = eventually("its attempts to stop", || async {
        let leader = story.cluster.leader().await;
        let told = story.cluster.jobs(leader).explain_job(ExplainJobRequest { job_id }).await.ok()?.into_inner();
        (told.waiting_on() == WaitingOn::Kept).then_some(told)
    })
    .await;
    assert!(stopped.holds_targets && stopped.explanation.contains("ferry job clean-up"), "{stopped:?}");
    let kept = tree::files(&story.target(1));
    assert!(!kept.is_empty() && job.copied_segments < SEGMENTS, "{job:?}");

    let leader = story.cluster.leader().await;
    let targets = story.cluster.targets(leader, job_id).await.expect("targets");
    let mapping = |target: &ferry_proto::v1::Segment| ferry_proto::v1::IdMapping {
        source_segment_id: target.source_segment_id,
        target_segment_id: target.segment_id,
        partition_id: 0,
    };
    let again = SubmitJobRequest {
        id_mappings: targets.iter().map(mapping).collect(),
        ..story.request(1, JobOptions { start_paused: true, ..Default::default() })
    };
    let refused = story.cluster.try_submit(again.clone()).await.expect_err("its targets are taken");
    assert!(refused.message().contains(&format!("held by job {job_id}")), "{refused:?}");
    assert_eq!(tree::files(&story.target(1)), kept, "nobody deletes anything");

    let job = story.cluster.clean_up(job_id).await;
    assert_eq!(job.state(), JobState::Failed);
    let done = |job: &ferry_proto::v1::Job| job.cleanup() == CleanupState::Done;
    story.cluster.job_when(job_id, "the clean-up", done).await;
    assert_eq!(tree::files(&story.target(1)), Vec::<PathBuf>::new());
    assert_eq!(story.cluster.clean_up(job_id).await.cleanup(), CleanupState::Done, "asked for twice");
    story.cluster.submit(SubmitJobRequest { request_id: String::new(), ..again }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_seen_at_once_by_every_reader_and_its_clean_up_from_pending_to_done() {
    let story = Story::start(2).await;
    let endless = JobOptions { bandwidth_bytes_per_second: 1, ..Default::default() };
    let job_id = story.submit(1, endless).await;
    story.cluster.job_when(job_id, "bytes on the disk", |job| job.copied_bytes > 0).await;
    let job = story.cluster.cancel(job_id).await;
    assert_eq!((job.state(), job.cleanup()), (JobState::Canceled, CleanupState::Pending));
    for node in story.cluster.running() {
        let job = story.cluster.job(node, job_id).await.expect("every node answers");
        assert_eq!(job.state(), JobState::Canceled, "on node {node}");
    }
    let follower = story.cluster.a_follower().await;
    let mut seen = vec![CleanupState::Pending];
    while seen.last() != Some(&CleanupState::Done) {
        let state = eventually("a change of its clean-up", || async {
            let state = story.cluster.job(follower, job_id).await.ok()?.cleanup();
            (Some(&state) != seen.last()).then_some(state)
        })
        .await;
        seen.push(state);
    }
    let steps = [CleanupState::Pending, CleanupState::Running, CleanupState::Done];
    let in_order = seen.is_sorted_by_key(|state| steps.iter().position(|step| step == state));
    assert!(in_order, "pending, running, done, and never back: {seen:?}");
    assert_eq!(tree::files(&story.target(1)), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bandwidth_limit_reaches_the_attempts_that_run() {
    let story = Story::start(6).await;
    let endless = JobOptions { bandwidth_bytes_per_second: 1, ..Default::default() };
    let job_id = story.submit(1, endless).await;
    let stands = |tasks: ferry_proto::v1::TaskCounts| tasks.in_progress == SEGMENTS;
    let all_run = |job: &ferry_proto::v1::Job| job.tasks.is_some_and(stands) && job.copied_bytes > 0;
    story.cluster.job_when(job_id, "every attempt to run", all_run).await;
    let bytes = u64::try_from(SEGMENTS).expect("small") * 3 * FILE_BYTES as u64;
    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    story.cluster.update(change).await;
    let job = story.cluster.ended(job_id).await;
    assert_eq!((job.state(), job.copied_bytes), (JobState::Completed, bytes));
    assert!(job.options.is_some_and(|options| options.bandwidth_bytes_per_second == 0));
    for task in story.cluster.copies(job_id).await {
        assert_eq!(task.attempt, 1, "the attempts that stood still went on: {task:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_snapshot_that_disappears_in_mid_job_fails_it_at_once_and_is_named() {
    let story = Story::start(1).await;
    let endless = JobOptions { bandwidth_bytes_per_second: 1, ..Default::default() };
    let job_id = story.submit(1, endless).await;
    story.cluster.job_when(job_id, "bytes on the disk", |job| job.copied_bytes > 0).await;
    let (there, away) = (story.source.join("snapshots"), story.cluster.path("away"));
    std::fs::rename(&there, &away).expect("the snapshot can be moved away");
    let change = UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() };
    story.cluster.update(change).await;
    let job = story.cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Failed, "{job:?}");
    assert!(job.reason.contains("snapshots/"), "what is missing is named: {}", job.reason);
    let tasks = story.cluster.tasks(job_id).await;
    let failed = tasks.iter().find(|task| task.attempts.iter().any(|attempt| attempt.end() == AttemptEnd::Permanent));
    let failed = failed.expect("an attempt found out");
    assert_eq!(failed.attempts[0].end(), AttemptEnd::Permanent, "and nobody tried again: {failed:?}");
    // Which files are the job's own follows from the snapshot: its clean-up goes on once that is back.
    std::fs::rename(&away, &there).expect("the snapshot can be moved back");
    let done = |job: &ferry_proto::v1::Job| job.cleanup() == CleanupState::Done;
    story.cluster.job_when(job_id, "the clean-up", done).await;
    assert_eq!(tree::files(&story.target(1)), Vec::<PathBuf>::new());
}
