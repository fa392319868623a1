//! The cases, each at every server side by side.

use crate::table::Outcome;
use crate::world::{BUCKETS, LONG_FILE_BYTES, MANY_OBJECTS, Seat, World, assert_same, in_folder, sample_uri};
use cluster_tests::cluster::Cluster;
use cluster_tests::process::binary;
use cluster_tests::stores::Variable;
use cluster_tests::stores::relay::Way;
use cluster_tests::{eventually, file_uri, sample};
use ferry_proto::v1::{AttemptEnd, CleanupState, Job, JobOptions, JobState, UpdateJobRequest};
use std::process::Output;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tonic::Code;

const MISSING_BUCKET: &str = "no-such-bucket";
/// So few that no large object ends.
const BARELY_BYTES_PER_SECOND: u64 = 64 << 10;
/// Where `World::put_many` puts its objects.
pub(crate) const MANY: &str = "many";
/// As a URI and as it is.
const ODD_PREFIX: (&str, &str) = ("o%20d/+%25%23~'(%C3%A9)", "o d/+%#~'(é)");
/// Longer than a store may be silent by default.
const SILENCE: Duration = Duration::from_secs(45);
/// Connections that are cut each way, and after how much of a body.
const CUTS: usize = 3;
const CUT_AFTER_BYTES: usize = 1 << 20;

/// An upload of a large object takes seconds, in which something can be done to it.
fn slowly() -> JobOptions {
    let bandwidth_bytes_per_second = LONG_FILE_BYTES as u64 / 4;
    JobOptions { segments_per_task_max: 1, bandwidth_bytes_per_second, ..Default::default() }
}

/// Runs a command that reads and writes stores by itself.
pub(crate) async fn ferry(arguments: &[&str], environment: Vec<Variable>) -> Output {
    Command::new(binary()).args(arguments).envs(environment).output().await.expect("the binary can be started")
}

pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a command says that must not fail.
async fn said(seat: &Seat, arguments: &[&str]) -> String {
    let output = ferry(arguments, seat.environment()).await;
    assert!(output.status.success(), "{arguments:?} at {}: {}", seat.server.name(), printed(&output));
    printed(&output)
}

/// The sample goes in; its snapshot there is what other cases begin with.
pub(crate) async fn restored(world: &World, seat: &Seat) -> String {
    let job = world.restored(&sample_uri(), &seat.uri("up")).await;
    assert_same(&seat.contents(BUCKETS[0], "up"), &in_folder(&sample()), seat.server.name());
    job.snapshot_uri
}

pub(crate) async fn snapshot_commands(_: &World, seat: &Seat) -> Outcome {
    let created = said(seat, &["snapshot", "create", "--root", &seat.uri("up")]).await;
    let uri = created.split_whitespace().nth(1).expect("the snapshot is named");
    for (command, words) in [("inspect", "3 segments"), ("verify", "26 objects")] {
        let told = said(seat, &["snapshot", command, uri]).await;
        assert!(told.contains(words), "{command} at {}: {told}", seat.server.name());
    }
    Outcome::Held
}

pub(crate) async fn several_parts(world: &World, seat: &Seat) -> String {
    let expected = in_folder(&world.large());
    let job = world.restored(&file_uri(&world.large()), &seat.uri("large")).await;
    assert_same(&seat.contents(BUCKETS[0], "large"), &expected, seat.server.name());
    let back = seat.folder(world, "large");
    world.restored(&job.snapshot_uri, &file_uri(&back)).await;
    assert_same(&in_folder(&back), &expected, seat.server.name());
    assert_eq!(seat.server.unfinished_uploads(BUCKETS[0]), [""; 0], "{}", seat.server.name());
    job.snapshot_uri
}

/// Keys are what the URI says, and not what some client makes of them.
pub(crate) async fn odd_names(world: &World, seat: &Seat) -> Outcome {
    let job = world.restored(&sample_uri(), &seat.uri(ODD_PREFIX.0)).await;
    assert_same(&seat.contents(BUCKETS[0], ODD_PREFIX.1), &in_folder(&sample()), seat.server.name());
    let back = seat.folder(world, "odd");
    world.restored(&job.snapshot_uri, &file_uri(&back)).await;
    assert_same(&in_folder(&back), &in_folder(&sample()), seat.server.name());
    Outcome::Held
}

/// Each is found by a listing, which has several pages at S3, whose page has 1,000 keys.
pub(crate) async fn many_objects(_: &World, seat: &Seat) -> Outcome {
    let create = ["snapshot", "create", "--root", &seat.uri(MANY), "--rows", "7"];
    let told = said(seat, &create).await;
    let files = format!("files       {MANY_OBJECTS}\n");
    assert!(told.contains(&files), "{}: {told}", seat.server.name());
    match seat.server.scheme() {
        "s3" => Outcome::Held,
        _ => Outcome::Cannot("1,010 keys, which may be one page"),
    }
}

pub(crate) async fn named_when_the_bucket_is_missing(world: &World, seat: &Seat) -> Outcome {
    let cluster = &world.cluster;
    let target = file_uri(&cluster.path("nothing"));
    let missing = seat.uri_in(MISSING_BUCKET, "a");
    let refused = cluster.try_submit(world.request(&missing, &target, JobOptions::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_names_the_bucket(seat, refused.message());
    let job_id = cluster.submit(world.request(&sample_uri(), &missing, JobOptions::default())).await;
    let job = cluster.ended(job_id).await;
    if job.state() == JobState::Completed {
        return Outcome::Cannot("of a source; a missing bucket of a target is made by the server");
    }
    assert_names_the_bucket(seat, &job.reason);
    Outcome::Held
}

fn assert_names_the_bucket(seat: &Seat, told: &str) {
    for words in [MISSING_BUCKET, "its bucket does not exist"] {
        assert!(told.contains(words), "{}: {told}", seat.server.name());
    }
}

/// What other tools leave beside a snapshot ends no listing that does not need it.
pub(crate) async fn foreign_keys(_: &World, seat: &Seat) -> Outcome {
    seat.server.put_many(BUCKETS[0], &["large/snapshots//x.json".to_owned()]);
    let output = ferry(&["snapshot", "inspect", &seat.uri("large")], seat.environment()).await;
    let told = printed(&output);
    if output.status.success() {
        assert!(told.contains("2 segments"), "{}: {told}", seat.server.name());
        return match seat.server.keys(BUCKETS[0], "large/snapshots//").is_empty() {
            true => Outcome::Cannot("the server stores it as another key"),
            false => Outcome::Held,
        };
    }
    assert!(told.contains("snapshots/"), "{}: {told}", seat.server.name());
    Outcome::Cannot("the key is named, and the snapshot is found by the name of its metadata file only")
}

fn uploads_below(seat: &Seat, prefix: &str) -> Vec<String> {
    let mut uploads = seat.server.unfinished_uploads(BUCKETS[0]);
    uploads.retain(|key| key.starts_with(&format!("{prefix}/")));
    uploads
}

/// A job from the tree of long uploads that has begun to upload.
async fn in_mid_upload(world: &World, seat: &Seat, prefix: &str) -> i64 {
    let source = file_uri(&world.long());
    let job_id = world.cluster.submit(world.request(&source, &seat.uri(prefix), slowly())).await;
    eventually(&format!("an upload to {}", seat.server.name()), || async {
        (!uploads_below(seat, prefix).is_empty()).then_some(())
    })
    .await;
    // The others take their time, and this one is not to end meanwhile.
    set_bandwidth(&world.cluster, job_id, BARELY_BYTES_PER_SECOND).await;
    job_id
}

async fn set_bandwidth(cluster: &Cluster, job_id: i64, bytes_per_second: u64) {
    let bandwidth_bytes_per_second = Some(bytes_per_second);
    cluster.update(UpdateJobRequest { job_id, bandwidth_bytes_per_second, ..Default::default() }).await;
}

pub(crate) async fn in_mid_upload_before_a_kill(world: &World, seat: &Seat) -> i64 {
    in_mid_upload(world, seat, "killed").await
}

/// Whole all the same. Uploads that the dead workers had begun are nobody's yet.
pub(crate) async fn survived_the_kill(world: &World, seat: &Seat, job_id: i64) -> Outcome {
    let cluster = &world.cluster;
    set_bandwidth(cluster, job_id, 0).await;
    completed(cluster, job_id).await;
    let attempts = cluster.copies(job_id).await.into_iter().flat_map(|task| task.attempts);
    let ends: Vec<_> = attempts.map(|attempt| attempt.end()).collect();
    assert!(ends.contains(&AttemptEnd::Lost), "{}: {ends:?}", seat.server.name());
    assert_same(&seat.contents(BUCKETS[0], "killed"), &in_folder(&world.long()), seat.server.name());
    // Azure has no uploads, and the blocks of an object end with its next commit.
    match uploads_below(seat, "killed").is_empty() {
        true => Outcome::Held,
        false => Outcome::Cannot("yes, but the uploads of the dead stay"),
    }
}

pub(crate) async fn canceled_in_mid_upload(world: &World, seat: &Seat) -> Outcome {
    let cluster = &world.cluster;
    let job_id = in_mid_upload(world, seat, "canceled").await;
    cluster.cancel(job_id).await;
    let done = |job: &Job| [CleanupState::NotNeeded, CleanupState::Done].contains(&job.cleanup());
    cluster.job_when(job_id, "a clean-up that is done", done).await;
    assert_eq!(seat.server.keys(BUCKETS[0], "canceled/"), [""; 0], "{}", seat.server.name());
    if seat.server.scheme() == "az" {
        return Outcome::Cannot("no object; Azure cannot abort, and drops uncommitted blocks after a week");
    }
    assert_eq!(uploads_below(seat, "canceled"), [""; 0], "{}", seat.server.name());
    Outcome::Held
}

pub(crate) async fn cut_bodies(world: &World, seat: &Seat) -> Outcome {
    let expected = in_folder(&world.large());
    seat.relay.cut(CUTS, Way::Up, CUT_AFTER_BYTES);
    let job = world.restored(&file_uri(&world.large()), &seat.uri("cut")).await;
    assert_eq!(seat.relay.cuts_left(), 0, "{}: uploads were cut", seat.server.name());
    assert_same(&seat.contents(BUCKETS[0], "cut"), &expected, seat.server.name());
    seat.relay.cut(CUTS, Way::Down, CUT_AFTER_BYTES);
    let back = seat.folder(world, "cut");
    world.restored(&job.snapshot_uri, &file_uri(&back)).await;
    assert_eq!(seat.relay.cuts_left(), 0, "{}: downloads were cut", seat.server.name());
    assert_same(&in_folder(&back), &expected, seat.server.name());
    Outcome::Held
}

/// One job writes and another reads while nothing comes through.
pub(crate) async fn silent_for_long(world: &World, seat: &Seat, uploaded: &str) -> Outcome {
    let cluster = &world.cluster;
    let back = seat.folder(world, "silent");
    let (source, target) = (file_uri(&world.long()), file_uri(&back));
    let paused = JobOptions { start_paused: true, ..Default::default() };
    let up = cluster.submit(world.request(&source, &seat.uri("silent"), paused.clone())).await;
    let down = cluster.submit(world.request(uploaded, &target, paused)).await;
    // Neither has come to its end by then.
    seat.relay.be_silent_after(LONG_FILE_BYTES, SILENCE);
    let began = Instant::now();
    for job_id in [down, up] {
        cluster.resume(job_id).await;
    }
    for job_id in [up, down] {
        completed(cluster, job_id).await;
        assert!(began.elapsed() >= SILENCE, "{}: it was not silent for job {job_id}", seat.server.name());
    }
    assert_same(&seat.contents(BUCKETS[0], "silent"), &in_folder(&world.long()), seat.server.name());
    assert_same(&in_folder(&back), &in_folder(&world.large()), seat.server.name());
    Outcome::Held
}

pub(crate) async fn completed(cluster: &Cluster, job_id: i64) {
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
}
