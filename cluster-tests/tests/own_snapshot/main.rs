//! The copy is a snapshot: what real processes restored is restored again, equal by content and under new ids; and a job
//! that does not complete leaves nothing of its snapshot.

#[path = "../../../crates/snapshot/tests/shapes/avro.rs"]
mod avro;
#[path = "../../../crates/snapshot/tests/shapes/collection.rs"]
mod collection;
#[path = "../../../crates/snapshot/tests/shapes/reader.rs"]
mod reader;
#[path = "../../../crates/snapshot/tests/shapes/schemas.rs"]
#[expect(dead_code, reason = "the raw form of storage manifests is read by the tests of the crate alone")]
mod schemas;
#[path = "../../../crates/snapshot/tests/shapes/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cluster_tests::cluster::{Cluster, submit_request};
use ferry_proto::v1::{
    CleanupState, Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef, UpdateJobRequest,
};
use reader::{Objects, Read, read};

const COLLECTION: i64 = 200;
const SEGMENT_BYTES: usize = 64 * 1024;

/// Everything below a folder by its key.
fn objects(root: &Path) -> Objects {
    let files = cluster_tests::tree::files(root).into_iter();
    files.map(|file| (file.to_string_lossy().into_owned(), std::fs::read(root.join(file)).unwrap())).collect()
}

/// The one snapshot in a folder, which holds nothing else but what that names.
fn the_snapshot_in(root: &Path, job: &Job) -> (Objects, Read) {
    let objects = objects(root);
    let of_snapshots: Vec<&String> = objects.keys().filter(|key| key.starts_with("snapshots/")).collect();
    let metadata: Vec<_> = of_snapshots.iter().filter(|key| key.contains("/metadata/")).collect();
    assert_eq!(metadata.len(), 1, "{of_snapshots:?}");
    let uri = format!("{}/{}", cluster_tests::file_uri(root), metadata[0]);
    assert_eq!(job.snapshot_uri, uri, "the job names it");
    let read = read(&objects, metadata[0]).unwrap();
    assert_eq!(of_snapshots.len(), 1 + read.manifests.len(), "one manifest a segment: {of_snapshots:?}");
    let data: BTreeSet<String> = objects.keys().filter(|key| !key.starts_with("snapshots/")).cloned().collect();
    assert_eq!(read.data, data, "it names everything that was copied");
    (objects, read)
}

/// Contents of all data, in order.
fn contents(objects: &Objects) -> Vec<&Vec<u8>> {
    let data = objects.iter().filter(|(key, _)| !key.contains("snapshots/"));
    let mut contents: Vec<_> = data.map(|(_, content)| content).collect();
    contents.sort();
    contents
}

fn ids(read: &Read, list: &str) -> Vec<String> {
    serde_json::from_value(read.metadata[list].clone()).unwrap()
}

async fn restore(cluster: &Cluster, source: &str, target: &Path, collection_id: i64, partition: (i64, i64)) -> Job {
    let uri = cluster_tests::file_uri(target);
    let request = SubmitJobRequest {
        source: Some(SnapshotRef { uri: source.to_owned() }),
        target: Some(TargetRef { uri, collection_id, partition_ids: [partition].into(), ..Default::default() }),
        options: Some(JobOptions { segments_per_task_max: 2, ..Default::default() }),
        ..Default::default()
    };
    let job_id = cluster.submit(request).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_and_json_collection_of_milvus_3_is_restored_and_its_copy_is_restored_again() {
    let mut cluster = Cluster::start(3).await;
    cluster.start_worker("one", 2);
    cluster.start_worker("two", 2);
    let [source, second, third] = ["source", "second", "third"].map(|name| cluster.path(name));
    // A bundle that was moved, with its metadata as Milvus leaves it: Pending.
    let mut bundle = collection::bundled(collection::newest());
    (bundle.lies, bundle.snapshot_lies) = ("files/".to_owned(), String::new());
    for (key, content) in bundle.files() {
        let path = source.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let uri = cluster_tests::file_uri(&source);
    let job = restore(&cluster, &uri, &second, COLLECTION, (10, 20)).await;
    let (copied, first) = the_snapshot_in(&second, &job);
    assert_eq!(first.manifests.len(), bundle.entries.len());
    let again = restore(&cluster, &job.snapshot_uri, &third, 300, (20, 30)).await;
    let (copied_again, other) = the_snapshot_in(&third, &again);
    assert_eq!(contents(&copied), contents(&copied_again));
    for (list, source) in [("segment_ids", 8), ("build_ids", 7)] {
        let (one, two) = (ids(&first, list), ids(&other, list));
        assert_eq!((one.len(), two.len()), (source, source), "{list}");
        let all: BTreeSet<&String> = one.iter().chain(&two).collect();
        assert_eq!(all.len(), 2 * source, "ids are new each time: {one:?}, {two:?}");
    }
    assert_ne!(first.metadata["snapshot_info"]["id"], other.metadata["snapshot_info"]["id"]);
    let rows = |read: &Read| read.manifests.values().map(|it| it["num_of_rows"].as_i64().unwrap()).sum::<i64>();
    assert_eq!((rows(&first), rows(&other)), (420, 420));
    cluster.assert_sound().await;
}

/// A job whose copies are all complete, and whose publication waits: it was paused while the last of them ran.
async fn copied_and_paused(cluster: &mut Cluster) -> (i64, PathBuf) {
    cluster_tests::tree::make(&cluster.path("plain"), 1, SEGMENT_BYTES);
    let target = cluster.path("target");
    let options = JobOptions { bandwidth_bytes_per_second: 1, ..Default::default() };
    let request = submit_request(&cluster.path("plain"), &target, COLLECTION);
    let job_id = cluster.submit(SubmitJobRequest { options: Some(options), ..request }).await;
    cluster.start_worker("only", 1);
    cluster.job_when(job_id, "the copy to run", |job| job.copied_bytes > 0).await;
    cluster.pause(job_id).await;
    cluster.update(UpdateJobRequest { job_id, bandwidth_bytes_per_second: Some(0), ..Default::default() }).await;
    cluster.job_when(job_id, "the copy to be complete", |job| job.copied_segments == 1).await;
    let of_snapshot: Vec<String> = objects(&target).into_keys().filter(|key| key.starts_with("snapshots/")).collect();
    assert!(of_snapshot.len() == 2 && of_snapshot.iter().all(|key| key.contains("/manifests/")), "{of_snapshot:?}");
    (job_id, target)
}

async fn cleaned_up(cluster: &Cluster, job_id: i64) -> Job {
    cluster.job_when(job_id, "the clean-up", |job| job.cleanup() == CleanupState::Done).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_canceled_before_its_publication_leaves_nothing_of_its_snapshot() {
    let mut cluster = Cluster::start(3).await;
    let (job_id, target) = copied_and_paused(&mut cluster).await;
    let job = cluster.cancel(job_id).await;
    assert_eq!((job.state(), job.snapshot_uri.as_str()), (JobState::Canceled, ""));
    cleaned_up(&cluster, job_id).await;
    assert_eq!(objects(&target), Objects::new());
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_finds_its_place_taken_fails_the_job_and_touches_nothing_there() {
    let mut cluster = Cluster::start(3).await;
    let (job_id, target) = copied_and_paused(&mut cluster).await;
    let manifests = target.join(format!("snapshots/{COLLECTION}/manifests"));
    let snapshot = std::fs::read_dir(manifests).unwrap().next().unwrap().unwrap().file_name();
    let taken = format!("snapshots/{COLLECTION}/metadata/{}.json", snapshot.to_string_lossy());
    std::fs::create_dir_all(target.join(&taken).parent().unwrap()).unwrap();
    std::fs::write(target.join(&taken), "of somebody else").unwrap();
    cluster.resume(job_id).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Failed, "{job:?}");
    assert!(job.reason.contains(&taken) && job.reason.contains("exists already"), "{}", job.reason);
    assert_eq!(job.snapshot_uri, "");
    cleaned_up(&cluster, job_id).await;
    assert_eq!(objects(&target), Objects::from([(taken, b"of somebody else".to_vec())]));
    cluster.assert_sound().await;
}
