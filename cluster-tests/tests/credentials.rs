//! S42: a worker that may not read what others may. It runs as the same user but without root's power to pass over
//! permissions, which is what wrong credentials are to a file system.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::faults::privileges::may;
use cluster_tests::tree;
use ferry_proto::v1::{AttemptEnd, CleanupState, Job, JobOptions, JobState, SubmitJobRequest, Task};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

const SEGMENTS: i64 = 4;
const SLOTS: u32 = 2;
const FILE_BYTES: usize = 4_096;
const COLLECTION: i64 = 201;

/// Three nodes and one worker that is barred from the segments of the source, and a job that it has begun.
async fn begun() -> (Cluster, i64) {
    let mut cluster = Cluster::start(3).await;
    tree::make(&cluster.path("source"), SEGMENTS, FILE_BYTES);
    let segments = cluster.path("source").join("insert_log");
    std::fs::set_permissions(segments, Permissions::from_mode(0o000)).expect("a folder can be closed");
    cluster.bar_worker("barred");
    cluster.start_worker("barred", SLOTS);
    // While there is no other worker, it is asked again and again.
    let options = JobOptions { segments_per_task_max: 1, attempts_max: 100, ..Default::default() };
    let request = submit_request(&cluster.path("source"), &cluster.path("target"), COLLECTION);
    let job_id = cluster.submit(SubmitJobRequest { options: Some(options), ..request }).await;
    let refused = |task: &Task| task.attempts.iter().any(|attempt| attempt.end() == AttemptEnd::Refused);
    cluster_tests::eventually("each task to be refused to the worker", || async {
        let tasks = cluster.copies(job_id).await;
        (tasks.len() == 4 && tasks.iter().all(refused)).then_some(())
    })
    .await;
    (cluster, job_id)
}

/// Name and end of each attempt of a task.
fn told(task: &Task) -> Vec<(&str, AttemptEnd)> {
    task.attempts.iter().map(|attempt| (attempt.worker_name.as_str(), attempt.end())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s42_the_tasks_of_a_worker_with_bad_credentials_go_to_another_which_copies_them() {
    if !may("credentials", &["setpriv"]) {
        return;
    }
    let (mut cluster, job_id) = begun().await;
    let job = cluster.job_when(job_id, "a job that waits for another worker", |job| job.tasks.is_some()).await;
    assert_eq!(job.state(), JobState::Executing, "one refusal fails no job: {job:?}");
    cluster.start_worker("good", SLOTS);
    let job = cluster.ended(job_id).await;
    assert_eq!((job.state(), job.copied_segments), (JobState::Completed, SEGMENTS), "{job:?}");
    for task in cluster.copies(job_id).await {
        let told = told(&task);
        let (last, refused) = told.split_last().expect("it was tried");
        assert!(refused.iter().all(|attempt| *attempt == ("barred", AttemptEnd::Refused)), "{task:?}");
        assert_eq!(*last, ("good", AttemptEnd::Copied), "{task:?}");
        let error = &task.attempts[0].error;
        assert!(error.contains("source/insert_log") && error.contains("ermission denied"), "{error}");
    }
    let leader = cluster.leader().await;
    for target in cluster.targets(leader, job_id).await.expect("targets") {
        let (source, to) = (cluster.path("source"), cluster.path("target"));
        tree::assert_copied(&source, &to, target.source_segment_id, target.segment_id, COLLECTION);
    }
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s42_what_a_second_worker_is_refused_too_fails_the_job_and_is_named() {
    if !may("credentials", &["setpriv"]) {
        return;
    }
    let (mut cluster, job_id) = begun().await;
    cluster.bar_worker("barred-too");
    cluster.start_worker("barred-too", SLOTS);
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Failed, "{job:?}");
    let named = ["source/insert_log", "ermission denied"].iter().all(|words| job.reason.contains(words));
    assert!(named, "{}", job.reason);
    let by_both = |task: &Task| told(task).last() == Some(&("barred-too", AttemptEnd::Refused));
    assert!(cluster.copies(job_id).await.iter().any(by_both), "the second refusal decided, not the attempts");
    let clean = |job: &Job| [CleanupState::NotNeeded, CleanupState::Done].contains(&job.cleanup());
    cluster.job_when(job_id, "no clean-up that waits", clean).await;
    assert!(tree::files(&cluster.path("target")).is_empty(), "nothing is left in the target");
    cluster.assert_sound().await;
}
