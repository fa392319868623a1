//! Large objects into, inside and out of a real object store, SeaweedFS: in parts, in bounded memory, and without a part
//! left of an upload whose worker was killed.

use cluster_tests::cluster::Cluster;
use cluster_tests::process::ferry;
use cluster_tests::stores::{Server, seaweed};
use cluster_tests::{file_uri, tree};
use ferry_proto::v1::{CleanupState, Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// A part of an upload, as the worker makes them.
const PART_BYTES: usize = 8 << 20;
/// More than a store is asked to copy in one request, and than `snapshot create` reads as a whole.
const HUGE_BYTES: usize = (1 << 30) + 17;
/// What a worker of four slots may take.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// The server does what it is asked for at once.
const LATE_WRITES: &str = "leadership.late-writes=2s";

async fn cluster(server: &Server) -> Cluster {
    let mut cluster = Cluster::prepare(1, &[LATE_WRITES]);
    cluster.set_environment(server.environment());
    cluster.start_all().await;
    cluster
}

fn request(source: &str, target: &str, options: JobOptions) -> SubmitJobRequest {
    SubmitJobRequest {
        source: Some(SnapshotRef { uri: source.to_owned() }),
        target: Some(TargetRef { uri: target.to_owned(), collection_id: 200, ..Default::default() }),
        options: Some(options),
        ..Default::default()
    }
}

async fn restored(cluster: &Cluster, request: SubmitJobRequest) -> Job {
    let job_id = cluster.submit(request).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    job
}

/// One segment of one huge file, in which every block differs from every other, and a snapshot over it.
fn make_huge(root: &Path) {
    let folder = root.join("insert_log/100/10/1000/0");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let mut file = File::create(folder.join("1")).expect("a file can be made");
    let mut block = vec![7_u8; 1 << 20];
    for at in (0..HUGE_BYTES).step_by(block.len()) {
        block[..8].copy_from_slice(&at.to_le_bytes());
        let size = block.len().min(HUGE_BYTES - at);
        file.write_all(&block[..size]).expect("a file can be written");
    }
    let uri = file_uri(root);
    let created = ferry(&["snapshot", "create", "--root", &uri, "--collection", "100", "--rows", "7"]);
    assert!(created.status.success(), "snapshot create: {}", String::from_utf8_lossy(&created.stderr));
}

/// Whether two folders hold the same one data file, block by block.
fn assert_same_file(one: &Path, other: &Path) {
    let open = |root: &Path| {
        let files = tree::data_files(root);
        assert_eq!(files.len(), 1, "{files:?}");
        File::open(root.join(&files[0])).expect("a file can be opened")
    };
    let (mut one, mut other) = (open(one), open(other));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut size_bytes = 0;
    loop {
        let count = one.read(&mut left).expect("a file can be read");
        other.read_exact(&mut right[..count]).expect("the other is as long");
        assert!(left[..count] == right[..count], "they differ after {size_bytes} bytes");
        size_bytes += count;
        if count == 0 {
            assert_eq!(other.read(&mut right).expect("a file can be read"), 0, "the other is longer");
            return assert_eq!(size_bytes, HUGE_BYTES);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_gibibyte_goes_up_in_parts_is_copied_by_the_store_in_parts_and_comes_down_the_same() {
    let server = seaweed::start();
    server.make_bucket("bucket");
    let mut cluster = cluster(&server).await;
    cluster.start_worker("one", 4);
    let source = cluster.path("source");
    make_huge(&source);
    let none = JobOptions::default;
    let up = restored(&cluster, request(&file_uri(&source), "s3://bucket/up", none())).await;
    let again = restored(&cluster, request(&up.snapshot_uri, "s3://bucket/again", none())).await;
    // The tag of an object that was made of parts tells how many these were.
    let parts = |prefix: &str| {
        let keys = server.keys("bucket", &format!("{prefix}/insert_log/"));
        assert_eq!(keys.len(), 1, "{keys:?}");
        server.parts("bucket", &keys[0])
    };
    assert_eq!(parts("up"), HUGE_BYTES.div_ceil(PART_BYTES) as u64, "it went up in parts");
    assert_eq!(parts("again"), HUGE_BYTES.div_ceil(256 << 20) as u64, "the store copied it in larger ones");
    let back = cluster.path("back");
    restored(&cluster, request(&again.snapshot_uri, &file_uri(&back), none())).await;
    assert_same_file(&source, &back);
    assert_eq!(server.unfinished_uploads("bucket"), [""; 0]);
    let peak = cluster.worker_process("one").memory_peak_bytes().expect("the worker runs");
    assert!(peak < MEMORY_BYTES_MAX, "the worker took {} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_objects_at_once_in_four_slots_take_no_more_memory_than_one() {
    let server = seaweed::start();
    server.make_bucket("bucket");
    let mut cluster = cluster(&server).await;
    cluster.start_worker("one", 4);
    let source = cluster.path("source");
    tree::make(&source, 8, 4 * PART_BYTES + 17);
    let each = || JobOptions { segments_per_task_max: 1, ..Default::default() };
    let up = restored(&cluster, request(&file_uri(&source), "s3://bucket/up", each())).await;
    let back = cluster.path("back");
    restored(&cluster, request(&up.snapshot_uri, &file_uri(&back), each())).await;
    assert_eq!(tree::data_files(&back).len(), tree::data_files(&source).len());
    let peak = cluster.worker_process("one").memory_peak_bytes().expect("the worker runs");
    assert!(peak < MEMORY_BYTES_MAX, "the worker took {} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_uploads_of_a_killed_worker_none_is_left_whether_its_job_goes_on_or_is_canceled() {
    let server = seaweed::start();
    server.make_bucket("bucket");
    // Nothing of an attempt comes late that was in the middle of an upload: its clean-up waits for no `late-writes`.
    let mut cluster = Cluster::prepare(1, &[]);
    cluster.set_environment(server.environment());
    cluster.start_all().await;
    let source = cluster.path("source");
    tree::make(&source, 1, 2 * PART_BYTES + 17);
    for (name, is_canceled) in [("killed-1", false), ("killed-2", true)] {
        cluster.start_worker(name, 1);
        let slow = JobOptions { bandwidth_bytes_per_second: PART_BYTES as u64, ..Default::default() };
        let target = format!("s3://bucket/{name}");
        let job_id = cluster.submit(request(&file_uri(&source), &target, slow)).await;
        cluster.job_when(job_id, "a job that has copied something", |job| job.copied_bytes > 0).await;
        cluster.kill_worker(name);
        assert!(!server.unfinished_uploads("bucket").is_empty(), "the killed worker leaves uploads");
        if is_canceled {
            cluster.cancel(job_id).await;
        }
        cluster.start_worker(&format!("after-{name}"), 1);
        if is_canceled {
            let done = |job: &Job| job.cleanup() == CleanupState::Done;
            cluster.job_when(job_id, "a clean-up that is done", done).await;
            assert_eq!(server.keys("bucket", &format!("{name}/")), Vec::<String>::new());
        } else {
            let job = cluster.ended(job_id).await;
            assert_eq!(job.state(), JobState::Completed, "{job:?}");
        }
        assert_eq!(server.unfinished_uploads("bucket"), [""; 0], "{name}");
        cluster.kill_worker(&format!("after-{name}"));
    }
    cluster.assert_sound().await;
}
