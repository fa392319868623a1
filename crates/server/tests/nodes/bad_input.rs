//! Bad input, sent through a follower: each with the right status, a message that names the field and the next step,
//! and nothing changed.

use crate::support::{Cluster, SAMPLE_METADATA, SAMPLE_PARTITION, SAMPLE_SEGMENTS, sample, submit};
use ferry_proto::v1;
use std::path::Path;
use tonic::Code;
use tonic_types::StatusExt;

/// A tree in which the sample's metadata file has been changed.
fn altered(folder: &Path, name: &str, alter: impl FnOnce(String) -> String) -> v1::SubmitJobRequest {
    let root = folder.join(name);
    let metadata = root.join(SAMPLE_METADATA);
    std::fs::create_dir_all(metadata.parent().unwrap()).unwrap();
    let text = std::fs::read_to_string(sample().join(SAMPLE_METADATA)).unwrap();
    std::fs::write(metadata, alter(text)).unwrap();
    submit(&root)
}

fn mapped(mappings: &[(i64, i64, i64)]) -> v1::SubmitJobRequest {
    let id_mappings = mappings.iter().map(|(source, target, partition)| v1::IdMapping {
        source_segment_id: *source,
        target_segment_id: *target,
        partition_id: *partition,
    });
    v1::SubmitJobRequest { id_mappings: id_mappings.collect(), ..submit(&sample()) }
}

fn with_options(options: v1::JobOptions) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest { options: Some(options), ..submit(&sample()) }
}

fn with_target(change: impl FnOnce(&mut v1::TargetRef)) -> v1::SubmitJobRequest {
    let mut request = submit(&sample());
    change(request.target.as_mut().unwrap());
    request
}

type Row = (v1::SubmitJobRequest, Code, &'static str, &'static str);

fn table(folder: &Path) -> Vec<Row> {
    let [first, second, _] = SAMPLE_SEGMENTS;
    let mut no_source = submit(&sample());
    no_source.source = None;
    let mut contradicting = mapped(&[(first, 5, 301)]);
    contradicting.target.as_mut().unwrap().partition_ids.insert(SAMPLE_PARTITION, 300);
    let mut unknown_metadata = submit(&sample());
    unknown_metadata.source.as_mut().unwrap().uri += "/snapshots/470636907273650226/metadata/9002.json";
    let replaced = |from: &'static str, to: &'static str| move |text: String| text.replacen(from, to, 1);
    let invalid = Code::InvalidArgument;
    vec![
        (no_source, invalid, "source.uri", "is empty"),
        (submit(&folder.join("nothing")), Code::NotFound, "source.uri", "there is no snapshots/*/metadata/*.json"),
        (unknown_metadata, Code::NotFound, "source.uri", "does not exist"),
        (altered(folder, "garbage", |_| "garbage".into()), invalid, "source.uri", "not the metadata of a snapshot"),
        (
            altered(folder, "v6", replaced("\"format_version\": 5", "\"format_version\": 6")),
            invalid,
            "source.uri",
            "format_version is 6, newer than the 5",
        ),
        (
            altered(folder, "deleting", replaced("SnapshotStateCommitted", "SnapshotStateDeleting")),
            Code::FailedPrecondition,
            "source.uri",
            "state is Deleting: its files are being removed",
        ),
        (
            altered(folder, "lists", replaced("  \"470636907274050273\"\n", "  \"470636907274050274\"\n")),
            invalid,
            "source.uri",
            "segment_ids names segment 470636907274050274",
        ),
        (mapped(&[(77, 5, 0)]), invalid, "id_mappings[0].source_segment_id", "is 77, which the snapshot"),
        (mapped(&[(first, 5, 0), (first, 6, 0)]), invalid, "id_mappings[1].source_segment_id", "name each source"),
        (mapped(&[(first, 5, 0), (second, 5, 0)]), invalid, "id_mappings[1].target_segment_id", "name each target"),
        (mapped(&[(first, -5, 0)]), invalid, "id_mappings[0].target_segment_id", "is -5"),
        (mapped(&[(-1, 5, 0)]), invalid, "id_mappings[0].source_segment_id", "is -1"),
        (mapped(&[(0, 5, 0)]), invalid, "id_mappings[0].source_segment_id", "is 0"),
        (mapped(&[(first, 1 << 50, 0)]), invalid, "id_mappings.target_segment_id", "was not allocated"),
        (with_target(|target| target.collection_id = 0), invalid, "target.collection_id", "is 0"),
        (with_target(|target| target.uri = "file:///a/../b".into()), invalid, "target.uri", "'..'"),
        (contradicting, invalid, "id_mappings[0].partition_id", "give one of them"),
        (
            with_options(v1::JobOptions { priority: Some(101), ..v1::JobOptions::default() }),
            invalid,
            "options.priority",
            "use 0 to 100",
        ),
        (
            with_options(v1::JobOptions { verify: 9, ..v1::JobOptions::default() }),
            invalid,
            "options.verify",
            "no value of its enum",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_submits_are_refused_by_name_and_change_nothing() {
    let cluster = Cluster::start(3).await;
    let follower = &cluster.nodes[cluster.follower().await];
    for (request, code, field, words) in table(cluster.folder()) {
        let status = follower.jobs().submit_job(request).await.expect_err(words);
        assert_eq!(status.code(), code, "{field}: {}", status.message());
        assert!(status.message().contains(words), "{}", status.message());
        let violations = status.get_details_bad_request().unwrap_or_else(|| panic!("{}", status.message()));
        assert_eq!(violations.field_violations[0].field, field, "{}", status.message());
        assert!(status.metadata().contains_key("ferry-revision"), "{field}");
    }
    let jobs = follower.jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(jobs, []);
    let segments =
        follower.segments().list_segments(v1::ListSegmentsRequest::default()).await.unwrap().into_inner().segments;
    assert_eq!(segments, []);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_refused_with_the_limit_on_every_node() {
    let cluster = Cluster::start(3).await;
    for node in &cluster.nodes {
        let request = v1::SubmitJobRequest { name: "n".repeat(10 << 20), ..submit(&sample()) };
        let status = node.jobs().submit_job(request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{}", status.message());
        assert!(status.message().contains("larger than 4194304 bytes: shorten its fields"), "{}", status.message());
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_refuse_what_cannot_be() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let refused = [
        node.jobs().get_job(v1::GetJobRequest::default()).await.map(|_| ()),
        node.jobs().get_job(v1::GetJobRequest { job_id: 1, consistency: 9 }).await.map(|_| ()),
        node.jobs().get_jobs(v1::GetJobsRequest { job_ids: vec![1; 1_001], consistency: 0 }).await.map(|_| ()),
        node.jobs().list_jobs(v1::ListJobsRequest { page_size: 1_001, ..Default::default() }).await.map(|_| ()),
        node.jobs().list_jobs(v1::ListJobsRequest { page_token: "x".into(), ..Default::default() }).await.map(|_| ()),
        node.jobs().list_jobs(v1::ListJobsRequest { states: vec![9], ..Default::default() }).await.map(|_| ()),
        node.jobs().get_task(v1::GetTaskRequest { task_id: -1, consistency: 0 }).await.map(|_| ()),
        node.segments().get_segment(v1::GetSegmentRequest { segment_id: 0, consistency: 0 }).await.map(|_| ()),
        node.ids().allocate_ids(v1::AllocateIdsRequest { count: 0 }).await.map(|_| ()),
        node.ids().allocate_ids(v1::AllocateIdsRequest { count: 1_000_001 }).await.map(|_| ()),
    ];
    let fields = [
        "job_id",
        "consistency",
        "job_ids",
        "page_size",
        "page_token",
        "states[0]",
        "task_id",
        "segment_id",
        "count",
        "count",
    ];
    for (refused, field) in refused.into_iter().zip(fields) {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let missing = [
        node.jobs().get_job(v1::GetJobRequest { job_id: 5, consistency: 0 }).await.map(|_| ()),
        node.jobs().cancel_job(v1::CancelJobRequest { job_id: 5 }).await.map(|_| ()),
        node.jobs().explain_job(v1::ExplainJobRequest { job_id: 5 }).await.map(|_| ()),
        node.jobs().watch_job(v1::WatchJobRequest { job_id: 5, consistency: 0 }).await.map(|_| ()),
        node.jobs().list_tasks(v1::ListTasksRequest { job_id: 5, ..Default::default() }).await.map(|_| ()),
        node.jobs().get_task(v1::GetTaskRequest { task_id: 5, consistency: 0 }).await.map(|_| ()),
        node.segments().get_segment(v1::GetSegmentRequest { segment_id: 5, consistency: 0 }).await.map(|_| ()),
        node.workers().drain_worker(v1::DrainWorkerRequest { worker_id: 5 }).await.map(|_| ()),
    ];
    for (index, missing) in missing.into_iter().enumerate() {
        assert_eq!(missing.unwrap_err().code(), Code::NotFound, "{index}");
    }
    cluster.stop_all().await;
}
