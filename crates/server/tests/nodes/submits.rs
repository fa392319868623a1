//! Submits as clients repeat, collide and size them: one request is one job, and a refused one leaves nothing.

use crate::support::{Cluster, SAMPLE_METADATA, SAMPLE_SEGMENTS, eventually, large_snapshot, sample, submit};
use ferry_proto::v1;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn s22_the_same_submit_twice_is_one_job_even_when_its_snapshot_is_gone() {
    let cluster = Cluster::start(3).await;
    let source = cluster.folder().join("source");
    let metadata = source.join(SAMPLE_METADATA);
    std::fs::create_dir_all(metadata.parent().unwrap()).unwrap();
    std::fs::copy(sample().join(SAMPLE_METADATA), &metadata).unwrap();
    let request = v1::SubmitJobRequest { request_id: "once".into(), ..submit(&source) };
    let first = cluster.nodes[0].jobs().submit_job(request.clone()).await.unwrap().into_inner();
    assert!(!first.already_existed);
    std::fs::remove_file(&metadata).unwrap();
    for node in &cluster.nodes {
        let again = node.jobs().submit_job(request.clone()).await.unwrap().into_inner();
        assert!(again.already_existed);
        assert_eq!(again.job.unwrap().job_id, first.job.as_ref().unwrap().job_id);
    }
    let other = v1::SubmitJobRequest { name: "other".into(), ..request };
    let status = cluster.nodes[1].jobs().submit_job(other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains("use a new request id"), "{}", status.message());
    let jobs = cluster.nodes[2].jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.len(), 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_a_target_that_another_job_holds_is_refused_naming_that_job() {
    let cluster = Cluster::start(1).await;
    let mut jobs = cluster.nodes[0].jobs();
    let mapping =
        |source, target| v1::IdMapping { source_segment_id: source, target_segment_id: target, partition_id: 0 };
    let id_mappings = vec![mapping(SAMPLE_SEGMENTS[0], 42)];
    let first = v1::SubmitJobRequest { id_mappings, ..submit(&sample()) };
    let holder = jobs.submit_job(first.clone()).await.unwrap().into_inner().job.unwrap().job_id;
    let id_mappings = vec![mapping(SAMPLE_SEGMENTS[1], 43), mapping(SAMPLE_SEGMENTS[2], 42)];
    let second = v1::SubmitJobRequest { id_mappings, ..first };
    let status = jobs.submit_job(second).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert!(status.message().contains(&format!("target segment 42 is held by job {holder}")), "{}", status.message());
    let request = v1::GetSegmentRequest { segment_id: 43, consistency: 0 };
    let status = cluster.nodes[0].segments().get_segment(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "the refused job holds nothing");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let cluster = Cluster::start(1).await;
    let mut jobs = cluster.nodes[0].jobs();
    let options = Some(v1::JobOptions { segments_per_task_max: 2, ..v1::JobOptions::default() });
    let request = v1::SubmitJobRequest { dry_run: true, options, ..submit(&sample()) };
    let answer = jobs.submit_job(request).await.unwrap().into_inner();
    let plan = answer.plan.unwrap();
    assert_eq!((answer.job, plan.total_segments, plan.total_tasks, plan.id_mappings.len()), (None, 3, 3, 3));
    let (stores, uri) = (ferry_objects::Stores::new(), ferry_objects::file_uri(&sample()));
    let summary = ferry_snapshot::Snapshot::open(&stores, &uri).await.unwrap().inspect().await.unwrap();
    let files = i64::try_from(summary.files.values().sum::<u64>()).unwrap();
    assert_eq!((plan.total_files, plan.total_bytes, plan.uncounted_segments), (files, summary.bytes, 0));
    assert!(files > 3 && plan.total_bytes > 0, "{plan:?}");
    assert_eq!((plan.conflicts, plan.total_conflicts), (Vec::new(), 0));
    assert_eq!(jobs.list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs, []);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_several_pages_is_submitted_whole() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, 1_000);
    let mut jobs = cluster.nodes[0].jobs();
    let job = jobs.submit_job(submit(&source)).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.total_segments, 1_000);
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSegmentsRequest { job_id: job.job_id, page_size: 333, page_token, ..Default::default() };
        let page = cluster.nodes[0].segments().list_segments(request).await.unwrap().into_inner();
        seen.extend(page.segments.iter().map(|segment| segment.source_segment_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_conflict_on_a_later_page_leaves_no_half_job_and_frees_its_targets() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    large_snapshot(&source, 700);
    let mut jobs = cluster.nodes[0].jobs();
    let mapping =
        |source| v1::IdMapping { source_segment_id: source, target_segment_id: 10_000 + source, partition_id: 0 };
    let holder = v1::SubmitJobRequest { id_mappings: vec![mapping(650)], ..submit(&source) };
    let holder = jobs.submit_job(holder).await.unwrap().into_inner().job.unwrap().job_id;
    let id_mappings: Vec<_> = (1..=700).map(mapping).collect();
    let request = v1::SubmitJobRequest { request_id: "large".into(), id_mappings, ..submit(&source) };
    let status = jobs.submit_job(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let held = format!("target segment 10650 is held by job {holder}");
    assert!(status.message().contains(&held), "{}", status.message());
    let listed = jobs.list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    assert_eq!(listed.iter().map(|job| job.job_id).collect::<Vec<_>>(), [holder]);
    let id_mappings = request.id_mappings.iter().copied().filter(|mapping| mapping.source_segment_id != 650).collect();
    let request = v1::SubmitJobRequest { id_mappings, ..request };
    let job = jobs.submit_job(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.total_segments, 699);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_every_target_that_the_job_could_not_have() {
    let cluster = Cluster::start(1).await;
    let mut jobs = cluster.nodes[0].jobs();
    let mapping =
        |source, target| v1::IdMapping { source_segment_id: source, target_segment_id: target, partition_id: 0 };
    let id_mappings = vec![mapping(SAMPLE_SEGMENTS[0], 42)];
    let holder = jobs.submit_job(v1::SubmitJobRequest { id_mappings, ..submit(&sample()) }).await.unwrap().into_inner();
    let holder = holder.job.unwrap().job_id;
    let id_mappings =
        vec![mapping(SAMPLE_SEGMENTS[0], 43), mapping(SAMPLE_SEGMENTS[1], 42), mapping(SAMPLE_SEGMENTS[2], i64::MAX)];
    let request = v1::SubmitJobRequest { dry_run: true, id_mappings, ..submit(&sample()) };
    let plan = jobs.submit_job(request).await.unwrap().into_inner().plan.unwrap();
    let told: Vec<_> = plan.conflicts.iter().map(|one| (one.index, one.target_segment_id, one.job_id)).collect();
    assert_eq!((told, plan.total_conflicts), (vec![(1, 42, holder), (2, i64::MAX, 0)], 2));
    assert!(plan.conflicts[0].reason.contains(&format!("held by job {holder}")), "{:?}", plan.conflicts[0]);
    assert!(plan.conflicts[1].reason.contains("was not allocated"), "{:?}", plan.conflicts[1]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s40_a_submit_from_a_snapshot_goes_on_when_its_caller_is_gone() {
    let cluster = Cluster::start(1).await;
    let source = cluster.folder().join("large");
    // Some seventy rounds of pages: the caller is gone long before the last.
    large_snapshot(&source, 200_000);
    let applied = || async {
        let request = v1::GetStatusRequest { local_only: true };
        let status = cluster.nodes[0].cluster().get_status(request).await.ok()?.into_inner();
        status.nodes.first().map(|node| node.last_applied_index)
    };
    let before = applied().await.unwrap();
    let (mut jobs, request) = (cluster.nodes[0].jobs(), submit(&source));
    let call = tokio::spawn(async move { jobs.submit_job(request).await.map(|_| ()) });
    eventually("some pages are in", || async { (applied().await? > before + 3).then_some(()) }).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled(), "the call had no answer");
    let job = eventually("the job", || async {
        let listed = cluster.nodes[0].jobs().list_jobs(v1::ListJobsRequest::default()).await.ok()?;
        listed.into_inner().jobs.pop()
    });
    assert_eq!(job.await.total_segments, 200_000);
    cluster.stop_all().await;
}
