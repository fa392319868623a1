//! Ferry on real object stores: what goes into each, through it and out of it, and what is told of one that misbehaves.

mod cases;
mod refusals;
mod table;
mod world;

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{file_uri, sample};
use ferry_proto::v1::{SnapshotRef, SubmitJobRequest};
use futures::future::join_all;
use table::{Outcome, Tables};
use world::{BUCKETS, Seat, World, assert_same, in_folder, sample_uri};

const FILES: &str = "local files";

/// One test: servers and clusters take longer to start than most of the cases.
#[tokio::test(flavor = "multi_thread")]
async fn each_case_holds_on_each_server_and_the_guide_has_the_table() {
    let mut world = World::start().await;
    let mut tables = Tables::of_cases(&world.names());
    println!("started");
    let uploaded = world.at_each(|seat| cases::restored(&world, seat)).await;
    tables.tell("the sample restored into it, byte-equal for its own client", &held(&world));
    let outcomes = world.at_each(|seat| cases::snapshot_commands(&world, seat)).await;
    tables.tell("`snapshot create`, `inspect` and `verify`", &outcomes);
    let outcomes = world.at_each(|seat| cases::odd_names(&world, seat)).await;
    tables.tell("a prefix with a space, `+ % # ~ \' ( )` and `é`, byte for byte", &outcomes);
    world.put_many(cases::MANY);
    let outcomes = world.at_each(|seat| cases::many_objects(&world, seat)).await;
    tables.tell("more keys than a page of a listing has", &outcomes);
    let large = world.at_each(|seat| cases::several_parts(&world, seat)).await;
    tables.tell("objects of several parts, in and out", &held(&world));
    let outcomes = world.at_each(|seat| cases::foreign_keys(&world, seat)).await;
    tables.tell("keys with an empty part beside a snapshot that is named by its prefix", &outcomes);
    let missing = world.at_each(|seat| cases::named_when_the_bucket_is_missing(&world, seat)).await;
    tables.tell("a missing bucket is named", &missing);
    tell_refusals(&world, &mut tables).await;
    let canceled = world.at_each(|seat| cases::canceled_in_mid_upload(&world, seat)).await;
    tables.tell("canceled in mid-upload: no object and no upload is left", &canceled);
    let jobs = world.at_each(|seat| cases::in_mid_upload_before_a_kill(&world, seat)).await;
    world.kill_workers();
    let jobs = world.seats.iter().zip(jobs);
    let survived = join_all(jobs.map(|(seat, job_id)| cases::survived_the_kill(&world, seat, job_id))).await;
    tables.tell("`kill -9` of the workers in mid-upload: the copy is whole", &survived);
    tables.tell("bodies cut on the way, up and down", &world.at_each(|seat| cases::cut_bodies(&world, seat)).await);
    let silences = world.seats.iter().zip(&large).map(|(seat, uri)| cases::silent_for_long(&world, seat, uri));
    tables.tell("silent for 45 s, in a read and a write", &join_all(silences).await);
    tell_pairs(&world, &mut tables, &uploaded).await;
    world.cluster.assert_sound().await;
    tables.assert_is_in_the_guide();
}

/// Every error that has a reason and an advice of its own.
async fn tell_refusals(world: &World, tables: &mut Tables) {
    let told = world.at_each(|seat| refusals::wrong_secret(world, seat)).await;
    tables.tell("a wrong secret is named, by a command and by workers", &told);
    let told = world.at_each(|seat| refusals::expired_credentials(world, seat)).await;
    tables.tell("expired credentials are named", &told);
    let told = world.at_each(|seat| refusals::skewed_clock(world, seat)).await;
    tables.tell("a clock that is an hour ahead is named", &told);
    let told = world.at_each(|seat| refusals::archived_object(world, seat)).await;
    tables.tell("an archived object of a source fails its job and is named", &told);
    let told = world.at_each(|seat| refusals::throttled(world, seat)).await;
    tables.tell("three of five requests throttled: the job completes, and no attempt counts", &told);
    let told = world.at_each(|seat| refusals::another_region(world, seat)).await;
    tables.tell("a bucket of another region is named", &told);
    let told = world.at_each(|seat| refusals::unknown_certificate(world, seat)).await;
    tables.tell("a certificate that nobody vouches for is named, and trusted once `ca-file` names it", &told);
    let told = world.at_each(|seat| refusals::plain_behind_https(world, seat)).await;
    tables.tell("a server without TLS behind `https://` is named", &told);
    let told = world.at_each(|seat| refusals::unknown_host(world, seat)).await;
    tables.tell("a host whose name does not resolve is named", &told);
}

fn held(world: &World) -> Vec<Outcome> {
    world.seats.iter().map(|_| Outcome::Held).collect()
}

/// From each place to each place, local folders among them.
async fn tell_pairs(world: &World, tables: &mut Tables, uploaded: &[String]) {
    let columns: Vec<&str> = [FILES].into_iter().chain(world.names()).collect();
    tables.begin("from, to", &columns);
    let sources = [sample_uri()].into_iter().chain(uploaded.iter().cloned());
    for (number, source) in sources.enumerate() {
        let mut outcomes = Vec::new();
        for to in [None].into_iter().chain(world.seats.iter().map(Some)) {
            outcomes.push(copy(world, &source, to, &format!("pair-{number}")).await);
        }
        tables.tell(columns[number], &outcomes);
    }
}

async fn copy(world: &World, source: &str, to: Option<&Seat>, prefix: &str) -> Outcome {
    let target = match to {
        Some(seat) => seat.uri_in(BUCKETS[1], prefix),
        None => file_uri(&world.cluster.path(prefix)),
    };
    world.restored(source, &target).await;
    let found = match to {
        Some(seat) => seat.contents(BUCKETS[1], prefix),
        None => in_folder(&world.cluster.path(prefix)),
    };
    assert_same(&found, &in_folder(&sample()), &format!("{source} -> {target}"));
    Outcome::Held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_credentials_is_told_which_settings_to_make() {
    let cluster = Cluster::start(1).await;
    let source = cluster.path("none");
    let submit = SubmitJobRequest {
        source: Some(SnapshotRef { uri: "s3://bucket/a".into() }),
        ..submit_request(&source, &source, 201)
    };
    let refused = cluster.try_submit(submit).await.unwrap_err();
    assert!(refused.message().contains("AWS_ACCESS_KEY_ID"), "{refused}");
}
