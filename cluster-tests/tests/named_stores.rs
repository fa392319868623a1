//! Stores that settings name: jobs between two endpoints with credentials of their own, and a store that a worker cannot open.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::stores::{Server, azurite, moto, seaweed};
use cluster_tests::{file_uri, sample, tree};
use ferry_proto::v1::{Job, JobOptions, JobState, SnapshotRef, SubmitJobRequest, TargetRef};
use std::collections::BTreeSet;

/// `first` is served by `left` by its name; `right` serves whatever a URI with its endpoint names; nobody can open `lost`.
async fn cluster(left: &Server, right: &Server) -> Cluster {
    let settings = [
        "stores.left.kind=s3".to_owned(),
        "stores.left.serves=[\"s3://first\"]".to_owned(),
        format!("stores.left.endpoint=http://{}", left.address()),
        format!("stores.left.credentials-file={}", left.credentials_file().display()),
        "stores.right.kind=s3".to_owned(),
        format!("stores.right.endpoint=http://{}", right.address()),
        "stores.right.credentials-environment=RIGHT".to_owned(),
        "stores.lost.kind=s3".to_owned(),
        "stores.lost.serves=[\"s3://lost\"]".to_owned(),
        "stores.lost.credentials-file=/nowhere/credentials".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare(3, &settings);
    // The other names of the keys are those of no store.
    let keys = right.environment().into_iter().filter_map(|(name, value)| {
        let key = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].into_iter().find(|key| name == format!("AWS_{key}"))?;
        Some((format!("RIGHT_{key}"), value))
    });
    cluster.set_environment(keys.collect());
    cluster.start_all().await;
    // A worker alone is asked again and again: another one might have what it lacks.
    cluster.start_worker("one", 2);
    cluster.start_worker("two", 2);
    cluster
}

async fn restored(cluster: &Cluster, source: &str, target: &str, collection_id: i64) -> Job {
    restored_with(cluster, source, target, collection_id, JobOptions::default()).await
}

async fn restored_with(cluster: &Cluster, source: &str, target: &str, collection_id: i64, options: JobOptions) -> Job {
    let request = SubmitJobRequest {
        options: Some(options),
        source: Some(SnapshotRef { uri: source.to_owned() }),
        target: Some(TargetRef { uri: target.to_owned(), collection_id, ..Default::default() }),
        ..Default::default()
    };
    let job_id = cluster.submit(request).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{source} -> {target}: {job:?}");
    assert!(job.snapshot_uri.starts_with(target), "{job:?}");
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_goes_from_one_endpoint_to_another_and_both_are_told_by_their_names() {
    let (left, right) = (seaweed::start(), seaweed::start());
    left.make_bucket("first");
    right.make_bucket("first");
    let cluster = cluster(&left, &right).await;
    let up = restored(&cluster, &file_uri(&sample()), "s3://first/up", 201).await;
    let there = format!("minio://{}/first/there", right.address());
    let over = restored(&cluster, &up.snapshot_uri, &there, 202).await;
    // The same bucket's name at two endpoints: what was written to one is not in the other.
    assert!(left.keys("first", "there/").is_empty() && right.keys("first", "up/").is_empty());
    let data = |store: &Server, prefix: &str| -> BTreeSet<Vec<u8>> {
        let keys = store.keys("first", prefix);
        let keys = keys.iter().filter(|key| !key.starts_with(&format!("{prefix}snapshots/")));
        keys.map(|key| store.object("first", key)).collect()
    };
    let expected: BTreeSet<Vec<u8>> =
        tree::data_files(&sample()).iter().map(|file| std::fs::read(sample().join(file)).expect("readable")).collect();
    assert_eq!(data(&left, "up/"), expected);
    assert_eq!(data(&right, "there/"), expected);
    let back = cluster.path("back");
    restored(&cluster, &over.snapshot_uri, &file_uri(&back), 203).await;
    let read_back: BTreeSet<Vec<u8>> =
        tree::data_files(&back).iter().map(|file| std::fs::read(back.join(file)).expect("readable")).collect();
    assert_eq!(read_back, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_needs_no_credentials_for_a_target_and_a_worker_without_them_names_the_setting() {
    let (left, right) = (seaweed::start(), seaweed::start());
    let cluster = cluster(&left, &right).await;
    let target = Some(TargetRef { uri: "s3://lost/to".to_owned(), collection_id: 201, ..Default::default() });
    let request = SubmitJobRequest { target, ..submit_request(&sample(), &sample(), 201) };
    let job_id = cluster.submit(request).await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Failed);
    for words in ["/nowhere/credentials cannot be read", "[stores.lost]"] {
        assert!(job.reason.contains(words), "{}", job.reason);
    }
    let target = Some(TargetRef { uri: "minio://127.0.0.9:9/b".to_owned(), collection_id: 201, ..Default::default() });
    let refused = cluster.try_submit(SubmitJobRequest { target, ..submit_request(&sample(), &sample(), 201) }).await;
    let refused = refused.unwrap_err();
    assert!(refused.message().contains("127.0.0.9:9") && refused.message().contains("[stores.NAME]"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_lies_in_the_storage_class_of_its_store_whether_it_is_put_or_copied_as_a_whole_or_in_parts() {
    let (moto, azurite) = (moto::start(), azurite::start());
    moto.make_bucket("cold");
    azurite.make_bucket("cool");
    let settings = [
        "stores.cold.kind=s3".to_owned(),
        "stores.cold.serves=[\"s3://cold\"]".to_owned(),
        format!("stores.cold.endpoint=http://{}", moto.address()),
        format!("stores.cold.credentials-file={}", moto.credentials_file().display()),
        "stores.cold.storage-class=STANDARD_IA".to_owned(),
        "stores.cool.kind=azure".to_owned(),
        "stores.cool.serves=[\"az://cool\"]".to_owned(),
        "stores.cool.account=devstoreaccount1".to_owned(),
        format!("stores.cool.endpoint=http://{}/devstoreaccount1", azurite.address()),
        format!("stores.cool.credentials-file={}", azurite.credentials_file().display()),
        "stores.cool.storage-class=Cool".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare(1, &settings);
    cluster.start_all().await;
    cluster.start_worker("one", 2);
    let (small, large) = (cluster.path("small"), cluster.path("large"));
    tree::make(&small, 1, 1_000);
    tree::make(&large, 1, 9 << 20);
    let limited = JobOptions { bandwidth_bytes_per_second: 32 << 20, ..JobOptions::default() };
    for (collection_id, source) in [(201, &small), (202, &large)] {
        let up = restored(&cluster, &file_uri(source), &format!("s3://cold/up-{collection_id}"), collection_id).await;
        let inside = format!("s3://cold/inside-{collection_id}");
        restored(&cluster, &up.snapshot_uri, &inside, collection_id).await;
        let in_parts = format!("s3://cold/parts-{collection_id}");
        restored_with(&cluster, &up.snapshot_uri, &in_parts, collection_id, limited.clone()).await;
        let sky = restored(&cluster, &up.snapshot_uri, &format!("az://cool/{collection_id}"), collection_id).await;
        restored(&cluster, &sky.snapshot_uri, &format!("az://cool/inside-{collection_id}"), collection_id).await;
    }
    let keys = moto.keys("cold", "");
    assert_eq!(keys.iter().filter(|key| key.contains("insert_log/")).count(), 6 * tree::FILES_PER_SEGMENT);
    for key in keys {
        assert_eq!(moto.storage_class("cold", &key), "STANDARD_IA", "{key}");
        let parts =
            if key.starts_with("parts-202/insert_log/") || key.starts_with("up-202/insert_log/") { 2 } else { 1 };
        let is_inside = key.starts_with("inside-202/");
        assert!(is_inside || moto.parts("cold", &key) == parts, "{key}");
    }
    let keys = azurite.keys("cool", "");
    assert_eq!(keys.iter().filter(|key| key.contains("insert_log/")).count(), 4 * tree::FILES_PER_SEGMENT);
    for key in keys {
        assert_eq!(azurite.storage_class("cool", &key), "Cool", "{key}");
    }
}
