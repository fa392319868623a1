//! Copies into, inside and out of a real object store, SeaweedFS, and what a store that cannot serve a job is told about.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::seaweed::Seaweed;
use cluster_tests::{file_uri, sample, tree};
use ferry_proto::v1::{CleanupState, Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use std::collections::BTreeMap;
use std::path::Path;
use tonic::Code;

/// More than one part of an upload has.
const LARGE_FILE_BYTES: usize = (8 << 20) + 4_321;

async fn cluster(seaweed: &Seaweed) -> Cluster {
    let mut cluster = Cluster::prepare(3, &[]);
    cluster.set_environment(seaweed.environment());
    cluster.start_all().await;
    cluster.start_worker("one", 2);
    cluster.start_worker("two", 2);
    cluster
}

fn request(source: &str, target: &str, collection_id: i64) -> SubmitJobRequest {
    SubmitJobRequest {
        source: Some(SnapshotRef { uri: source.to_owned() }),
        target: Some(TargetRef { uri: target.to_owned(), collection_id, ..Default::default() }),
        ..Default::default()
    }
}

async fn restored(cluster: &Cluster, source: &str, target: &str, collection_id: i64) -> Job {
    let job_id = cluster.submit(request(source, target, collection_id)).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{source} -> {target}: {job:?}");
    assert!(job.snapshot_uri.starts_with(target), "{job:?}");
    job
}

/// How often each content is there.
fn contents(objects: impl Iterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    let mut contents = BTreeMap::new();
    for content in objects {
        *contents.entry(content).or_default() += 1;
    }
    contents
}

fn in_folder(root: &Path) -> BTreeMap<Vec<u8>, usize> {
    contents(tree::data_files(root).iter().map(|file| std::fs::read(root.join(file)).expect("a file can be read")))
}

fn in_store(seaweed: &Seaweed, bucket: &str, prefix: &str) -> BTreeMap<Vec<u8>, usize> {
    let keys = seaweed.keys(bucket, prefix);
    let data = keys.iter().filter(|key| !key.starts_with(&format!("{prefix}snapshots/")));
    contents(data.map(|key| seaweed.object(bucket, key)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_into_seaweedfs_through_it_and_out_again_and_every_byte_is_the_same() {
    let seaweed = Seaweed::start();
    seaweed.make_bucket("first");
    seaweed.make_bucket("second");
    let cluster = cluster(&seaweed).await;
    let expected = in_folder(&sample());
    // Streamed into the store, copied by the store twice, streamed out of it: each from the snapshot of the copy before.
    let up = restored(&cluster, &file_uri(&sample()), "s3://first/up", 201).await;
    assert_eq!(in_store(&seaweed, "first", "up/"), expected);
    let again = restored(&cluster, &up.snapshot_uri, "s3://first/again", 202).await;
    assert_eq!(in_store(&seaweed, "first", "again/"), expected);
    let other = restored(&cluster, &again.snapshot_uri, "s3://second/deep/er", 203).await;
    assert_eq!(in_store(&seaweed, "second", "deep/er/"), expected);
    let back = cluster.path("back");
    restored(&cluster, &other.snapshot_uri, &file_uri(&back), 204).await;
    assert_eq!(in_folder(&back), expected);
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_in_parts_and_none_of_an_upload_is_left() {
    let seaweed = Seaweed::start();
    seaweed.make_bucket("bucket");
    let cluster = cluster(&seaweed).await;
    let source = cluster.path("source");
    tree::make(&source, 2, LARGE_FILE_BYTES);
    let up = restored(&cluster, &file_uri(&source), "s3://bucket/up", 201).await;
    assert_eq!(in_store(&seaweed, "bucket", "up/"), in_folder(&source));
    let back = cluster.path("back");
    restored(&cluster, &up.snapshot_uri, &file_uri(&back), 202).await;
    assert_eq!(in_folder(&back), in_folder(&source));
    assert_eq!(seaweed.unfinished_uploads("bucket"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_job_leaves_nothing_in_the_store() {
    let seaweed = Seaweed::start();
    seaweed.make_bucket("bucket");
    let cluster = cluster(&seaweed).await;
    let source = cluster.path("source");
    tree::make(&source, 4, LARGE_FILE_BYTES);
    let options = JobOptions {
        segments_per_task_max: 1,
        bandwidth_bytes_per_second: LARGE_FILE_BYTES as u64,
        ..Default::default()
    };
    let request = SubmitJobRequest { options: Some(options), ..request(&file_uri(&source), "s3://bucket/to", 201) };
    let job_id = cluster.submit(request).await;
    cluster.job_when(job_id, "a job that has copied something", |job| job.copied_bytes > 0).await;
    cluster.cancel(job_id).await;
    let done = |job: &Job| [CleanupState::NotNeeded, CleanupState::Done].contains(&job.cleanup());
    cluster.job_when(job_id, "a clean-up that is done", done).await;
    assert_eq!(seaweed.keys("bucket", "to/"), Vec::<String>::new());
    assert_eq!(seaweed.unfinished_uploads("bucket"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_the_bucket_and_a_process_without_credentials_are_named_at_the_submit() {
    let seaweed = Seaweed::start();
    let cluster_with = cluster(&seaweed).await;
    let target = file_uri(&cluster_with.path("target"));
    let refused = cluster_with.try_submit(request("s3://no-such-bucket/a", &target, 201)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    for words in ["no-such-bucket", "its bucket does not exist", "AWS_ENDPOINT"] {
        assert!(refused.message().contains(words), "{refused}");
    }
    drop(cluster_with);
    let without = Cluster::start(1).await;
    let source = without.path("none");
    let submit = SubmitJobRequest {
        source: Some(SnapshotRef { uri: "s3://bucket/a".into() }),
        ..submit_request(&source, &source, 201)
    };
    let refused = without.try_submit(submit).await.unwrap_err();
    assert!(refused.message().contains("AWS_ACCESS_KEY_ID"), "{refused}");
}
