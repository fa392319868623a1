//! What a submit chooses of a snapshot, and what it is told of it: parts, partitions by name, indexes, warnings.

use crate::support::{Cluster, ScriptedWorker, large_snapshot, submit};
use ferry_proto::v1::{self, IndexKind};
use ferry_snapshot::{Binlog, FieldBinlog, LEVEL_ZERO, Manifest};
use prost::Message;
use std::path::{Path, PathBuf};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// When the snapshots were taken.
const CREATE_TS: i64 = 450_000_000_000_000_000;

fn logs(timestamp_to: i64) -> Vec<FieldBinlog> {
    let log = Binlog { entries_num: 5, timestamp_to, log_path: "insert_log/8/20/1/0/5".into(), ..Binlog::default() };
    vec![FieldBinlog { binlogs: vec![log], ..FieldBinlog::default() }]
}

/// Segments by partition: rows in two of them, deletions in one and for all.
fn manifests() -> Vec<Manifest> {
    let of = |segment_id, partition_id| Manifest { segment_id, partition_id, ..Manifest::default() };
    let rows = |segment_id, partition_id| Manifest {
        num_of_rows: 5,
        binlog_files: logs(CREATE_TS),
        ..of(segment_id, partition_id)
    };
    let deletions = |segment_id, partition_id| Manifest {
        segment_level: LEVEL_ZERO,
        deltalog_files: logs(CREATE_TS),
        ..of(segment_id, partition_id)
    };
    vec![rows(1, 20), rows(2, 20), rows(3, 30), deletions(4, 30), deletions(5, -1)]
}

/// A tree with the metadata and the manifests of a snapshot; `also` stands in its collection.
fn snapshot(root: &Path, manifests: &[Manifest], also: &str) -> PathBuf {
    let folder = root.join("snapshots/8/manifests/9");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(root.join("snapshots/8/metadata")).unwrap();
    let mut list = Vec::new();
    for manifest in manifests {
        let id = manifest.segment_id;
        std::fs::write(folder.join(format!("{id}.avro")), manifest.encode(5).unwrap()).unwrap();
        list.push(format!("\"snapshots/8/manifests/9/{id}.avro\""));
    }
    let text = format!(
        "{{\"format_version\": 5, \"snapshot_info\": {{\"id\": \"9\", \"collection_id\": \"8\", \"create_ts\": \
         \"{CREATE_TS}\", \"state\": \"SnapshotStateCommitted\"}}, \"collection\": {{\"partitions\": {{\"_default\": \
         \"20\", \"p1\": \"30\", \"empty\": \"40\"}}{also}}}, \"manifest_list\": [{}]}}",
        list.join(",")
    );
    std::fs::write(root.join("snapshots/8/metadata/9.json"), text).unwrap();
    root.to_owned()
}

fn selected(source: &Path, partitions: &[&str], segment_ids: &[i64]) -> v1::SubmitJobRequest {
    let partitions = partitions.iter().map(|name| (*name).into()).collect();
    let select = Some(v1::Selection { partitions, segment_ids: segment_ids.to_vec() });
    v1::SubmitJobRequest { select, ..submit(source) }
}

async fn answer(cluster: &Cluster, request: v1::SubmitJobRequest) -> Result<v1::SubmitJobResponse, Status> {
    cluster.nodes[0].jobs().submit_job(request).await.map(tonic::Response::into_inner)
}

async fn planned(cluster: &Cluster, request: v1::SubmitJobRequest) -> v1::Plan {
    answer(cluster, v1::SubmitJobRequest { dry_run: true, ..request }).await.unwrap().plan.unwrap()
}

/// Source segments of a job, in order.
async fn sources(cluster: &Cluster, job_id: i64) -> Vec<i64> {
    let request = v1::ListSegmentsRequest { job_id, ..Default::default() };
    let segments = cluster.nodes[0].segments().list_segments(request).await.unwrap().into_inner().segments;
    let mut sources: Vec<i64> = segments.iter().map(|segment| segment.source_segment_id).collect();
    sources.sort_unstable();
    sources
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_snapshot_is_submitted_by_partitions_or_by_segments() {
    let cluster = Cluster::start(1).await;
    let source = snapshot(&cluster.folder().join("s"), &manifests(), "");
    for (partitions, segments, expected) in [
        (&["_default"][..], &[][..], &[1, 2, 5][..]),
        (&["p1"], &[], &[3, 4, 5]),
        (&["30", "_default", "p1"], &[], &[1, 2, 3, 4, 5]),
        (&["p1", "empty"], &[], &[3, 4, 5]),
        (&[], &[4, 1], &[1, 4]),
        (&[], &[], &[1, 2, 3, 4, 5]),
    ] {
        let request = selected(&source, partitions, segments);
        let job = answer(&cluster, request).await.unwrap().job.unwrap();
        assert_eq!(sources(&cluster, job.job_id).await, expected, "{partitions:?} {segments:?}");
        assert_eq!(job.total_segments, i64::try_from(expected.len()).unwrap());
    }
    let request = v1::SubmitJobRequest { request_id: "part".into(), ..selected(&source, &["p1"], &[]) };
    let first = answer(&cluster, request.clone()).await.unwrap();
    assert!(answer(&cluster, request.clone()).await.unwrap().already_existed);
    let select = Some(v1::Selection { segment_ids: vec![3], ..Default::default() });
    let status = answer(&cluster, v1::SubmitJobRequest { select, ..request }).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "another part is another request than that of {:?}", first.job);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_does_not_have_cannot_be_chosen_and_is_refused_with_what_it_has() {
    let cluster = Cluster::start(1).await;
    let source = snapshot(&cluster.folder().join("s"), &manifests(), "");
    let large = cluster.folder().join("large");
    large_snapshot(&large, 10_001);
    let mut mapped = selected(&source, &["p1"], &[]);
    mapped.id_mappings = vec![v1::IdMapping { source_segment_id: 1, ..Default::default() }];
    let with_target = |name: &str, id: i64| {
        let mut request = submit(&source);
        request.target.as_mut().unwrap().partitions.insert(name.into(), id);
        request
    };
    let mut twice = with_target("p1", 301);
    twice.target.as_mut().unwrap().partition_ids.insert(30, 300);
    let invalid = Code::InvalidArgument;
    let has = "it has \"_default\" (20), \"empty\" (40), \"p1\" (30)";
    for (request, code, field, words) in [
        (selected(&source, &["p2"], &[]), invalid, "select.partitions", has),
        (selected(&source, &["50"], &[]), invalid, "select.partitions", has),
        (selected(&source, &["empty"], &[]), invalid, "select.partitions", "no segment of the snapshot is of empty"),
        (
            selected(&source, &[], &[1, 77]),
            invalid,
            "select.segment_ids",
            "names 77, which the snapshot does not have; it has 1, 2, 3, 4, 5",
        ),
        (selected(&source, &["p1"], &[1]), invalid, "select.segment_ids", "choose by one of the two"),
        (mapped, invalid, "select", "leave out one of the two"),
        (selected(&large, &["20"], &[]), Code::ResourceExhausted, "", "partitions can be chosen of up to 10000"),
        (with_target("p2", 5), invalid, "target.partitions", has),
        (with_target("p1", 0), invalid, "target.partitions", "maps \"p1\" to 0"),
        (twice, invalid, "target.partitions", "maps \"p1\" to 301, and partition 30 has the target 300 already"),
    ] {
        let status = answer(&cluster, request).await.expect_err(words);
        assert_eq!(status.code(), code, "{}", status.message());
        assert!(status.message().contains(words), "{}", status.message());
        let violations = status.get_details_bad_request().map(|found| found.field_violations).unwrap_or_default();
        assert_eq!(violations.first().map_or("", |violation| &violation.field), field);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_by_name_and_the_choice_of_indexes_reach_the_worker() {
    let cluster = Cluster::start(1).await;
    let source = snapshot(&cluster.folder().join("s"), &manifests(), "");
    let mut request = submit(&source);
    let target = request.target.as_mut().unwrap();
    target.partitions = [("p1".into(), 300), ("20".into(), 200)].into();
    target.partition_ids = [(30, 300)].into();
    let indexes = vec![IndexKind::Text.into(), IndexKind::Vector.into()];
    request.options = Some(v1::JobOptions { indexes, ..Default::default() });
    let job = answer(&cluster, request).await.unwrap().job.unwrap();
    let options = job.options.unwrap();
    assert_eq!(options.indexes().collect::<Vec<_>>(), [IndexKind::Vector, IndexKind::Text]);
    let mut worker = ScriptedWorker::open(cluster.nodes[0].workers(), "w", 1).await;
    let assign = worker.assigned().await;
    assert_eq!(assign.indexes().collect::<Vec<_>>(), [IndexKind::Vector, IndexKind::Text]);
    let target = assign.target.unwrap();
    assert_eq!(target.partition_ids, [(20, 200), (30, 300)].into());
    assert!(target.partitions.is_empty(), "workers have ids");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_warnings_tells_them_in_every_way_of_submitting() {
    let cluster = Cluster::start(1).await;
    let mut manifests = manifests();
    manifests[0].binlog_files = logs(CREATE_TS + (5 << 18));
    manifests[1] = Manifest { num_of_rows: 0, binlog_files: Vec::new(), ..manifests[1].clone() };
    let source = snapshot(&cluster.folder().join("s"), &manifests, "");
    let submitted = answer(&cluster, submit(&source)).await.unwrap();
    let told: Vec<_> = submitted.warnings.iter().map(|warning| (warning.reason.as_str(), warning.segment_id)).collect();
    assert_eq!(told, [("ROWS_BEYOND_SNAPSHOT", 1), ("NO_ROWS", 2)]);
    assert!(submitted.warnings[0].text.contains("beyond create_ts"), "{}", submitted.warnings[0].text);
    assert_eq!((submitted.total_warnings, submitted.unchecked_segments), (2, 0));
    let part = answer(&cluster, selected(&source, &[], &[2, 3])).await.unwrap();
    assert_eq!(part.warnings, submitted.warnings[1..], "of what is copied, not of the others");
    let request = Some(v1::SubmitJobRequest { request_id: "stream".into(), ..submit(&source) });
    let mapping = |source_segment_id| v1::IdMapping { source_segment_id, ..Default::default() };
    let parts = [
        v1::submit_job_stream_request::Part::Header(v1::SubmitJobStreamHeader { request, total_mappings: 2 }),
        v1::submit_job_stream_request::Part::Page(v1::SubmitJobStreamPage { id_mappings: vec![mapping(1)] }),
        v1::submit_job_stream_request::Part::Page(v1::SubmitJobStreamPage { id_mappings: vec![mapping(2)] }),
    ];
    let messages = parts.map(|part| v1::SubmitJobStreamRequest { part: Some(part) });
    let streamed = cluster.nodes[0].jobs().submit_job_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
    assert_eq!((streamed.warnings, streamed.total_warnings), (submitted.warnings, 2));
    assert_eq!(streamed.unchecked_segments, 0);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_warnings_are_counted_and_the_first_told_and_a_submit_reads_a_thousand_manifests() {
    let cluster = Cluster::start(1).await;
    let empty = |segment_id| Manifest { segment_id, partition_id: 20, ..Manifest::default() };
    let source = snapshot(&cluster.folder().join("s"), &(1..=1_500).map(empty).collect::<Vec<_>>(), "");
    let submitted = answer(&cluster, submit(&source)).await.unwrap();
    // A slow disk leaves more of them unread, but none is read beyond a thousand.
    assert!(submitted.unchecked_segments >= 500, "{}", submitted.unchecked_segments);
    assert_eq!(submitted.total_warnings, 1_500 - submitted.unchecked_segments);
    let bytes: usize = submitted.warnings.iter().map(Message::encoded_len).sum();
    assert!(submitted.warnings.len() > 5 && bytes <= 4_096, "{} with {bytes} bytes", submitted.warnings.len());
    assert_eq!(submitted.warnings[0].segment_id, 1);
    let missing = cluster.folder().join("missing");
    large_snapshot(&missing, 10);
    let submitted = answer(&cluster, submit(&missing)).await.unwrap();
    assert_eq!(submitted.unchecked_segments, 10, "a manifest that cannot be read is for its attempt to name");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_in_the_target_has_to_be_accepted() {
    let cluster = Cluster::start(1).await;
    let zone = ", \"schema\": {\"properties\": [{\"key\": \"cipher.ezID\", \"value\": \"42\"}]}";
    let source = snapshot(&cluster.folder().join("s"), &manifests(), zone);
    let status = answer(&cluster, submit(&source)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!((violations.len(), violations[0].field.as_str()), (1, "accept"));
    let words = &violations[0].description;
    assert!(words.contains("encryption zone 42") && words.contains("`--accept encryption-zone`"), "{words}");
    let accepting = |name: &str| v1::SubmitJobRequest { accept: vec![name.into()], ..submit(&source) };
    let status = answer(&cluster, accepting("no-rows")).await.unwrap_err();
    assert!(status.message().contains("lacks encryption-zone"), "{}", status.message());
    let status = answer(&cluster, accepting("everything")).await.unwrap_err();
    assert!(status.message().starts_with("accept[0]: there is no warning \"everything\"; there are rows-beyond"));
    for name in ["encryption-zone", "ENCRYPTION_ZONE"] {
        let submitted = answer(&cluster, accepting(name)).await.unwrap();
        assert_eq!((submitted.warnings[0].reason.as_str(), submitted.total_warnings), ("ENCRYPTION_ZONE", 1));
    }
    // Three of these manifests have paths that no copy could take, so the dry run is one of deletions.
    let table = ", \"schema\": {\"external_source\": \"s3://other/table\"}";
    let source = snapshot(&cluster.folder().join("t"), &manifests(), table);
    let status = answer(&cluster, submit(&source)).await.unwrap_err();
    assert!(status.message().contains("external table: its rows lie at s3://other/table"), "{}", status.message());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_warnings_that_a_submit_is_refused_for() {
    let cluster = Cluster::start(1).await;
    let log = |partition: i64| Binlog {
        entries_num: 5,
        timestamp_to: CREATE_TS + 1,
        log_path: format!("delta_log/8/{partition}/1/77"),
        ..Binlog::default()
    };
    let deltalog_files = vec![FieldBinlog { binlogs: vec![log(20)], ..FieldBinlog::default() }];
    let manifest =
        Manifest { segment_id: 1, partition_id: 20, segment_level: LEVEL_ZERO, deltalog_files, ..Manifest::default() };
    let table = ", \"schema\": {\"external_source\": \"s3://other/table\"}";
    let source = snapshot(&cluster.folder().join("s"), &[manifest], table);
    let plan = planned(&cluster, submit(&source)).await;
    let told: Vec<_> = plan.warnings.iter().map(|warning| (warning.reason.as_str(), warning.segment_id)).collect();
    assert_eq!(told, [("EXTERNAL_TABLE", 0), ("ROWS_BEYOND_SNAPSHOT", 1)]);
    assert_eq!(plan.total_warnings, 2);
    assert!(answer(&cluster, submit(&source)).await.is_err());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_many_long_things_fits_into_headers() {
    let cluster = Cluster::start(3).await;
    let follower = &cluster.nodes[cluster.follower().await];
    let mut bad = submit(Path::new("/nowhere"));
    bad.name = "n".repeat(4_096);
    bad.request_id = "\u{1b}".repeat(4_096);
    bad.source.as_mut().unwrap().uri = format!("s3://key:secret@bucket/{}", "a".repeat(4_070));
    bad.target.as_mut().unwrap().uri = format!("file:///{}/../b", "ü".repeat(2_000));
    bad.id_mappings = (0..100).map(|_| v1::IdMapping { source_segment_id: -1, ..Default::default() }).collect();
    bad.accept = vec!["x".repeat(4_096)];
    let mut missing = submit(Path::new("/nowhere"));
    missing.source.as_mut().unwrap().uri = format!("file:///{}", ["a"; 2_040].join("/"));
    for request in [bad, missing] {
        let status = follower.jobs().submit_job(request).await.unwrap_err();
        let bytes = status.message().len() + status.details().len();
        assert!(bytes < 4_096, "{bytes}: {}", status.message());
        assert!(!status.get_details_bad_request().unwrap().field_violations.is_empty());
        assert!(status.metadata().contains_key("ferry-revision"), "{}", status.message());
    }
    cluster.stop_all().await;
}
