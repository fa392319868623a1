//! Three real nodes: what a plain client with the address of any of them can rely on.

use crate::support::{self, Cluster, ROWS, SAMPLE_SEGMENTS, ScriptedWorker, eventually, get, header, sample, submit};
use ferry_proto::v1;
use std::collections::{BTreeSet, HashMap};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_submitted_through_a_follower_is_read_on_every_node() {
    let cluster = Cluster::start(3).await;
    let follower = &cluster.nodes[cluster.follower().await];
    let answer = follower.jobs().submit_job(submit(&sample())).await.unwrap();
    let revision = header(answer.metadata(), "ferry-revision").unwrap();
    let leader_id = header(answer.metadata(), "ferry-leader-id").unwrap();
    assert_eq!(leader_id, cluster.nodes[cluster.leader().await].id);
    let submitted = answer.into_inner();
    let job = submitted.job.unwrap();
    assert!(!submitted.already_existed && !job.request_id.is_empty());
    assert_eq!((job.total_segments, job.priority, job.collection_id), (3, 50, 200));
    assert!(job.source_uri.ends_with("/metadata/9001.json"), "{}", job.source_uri);
    for node in &cluster.nodes {
        let request = v1::GetJobRequest { job_id: job.job_id, consistency: 0 };
        let read = node.jobs().get_job(request).await.unwrap();
        assert!(header(read.metadata(), "ferry-revision").unwrap() >= revision);
        assert_eq!(header(read.metadata(), "ferry-staleness-ms"), None);
        assert_eq!(read.into_inner().job.unwrap().request_id, job.request_id);
        let mut stale =
            Request::new(v1::GetJobRequest { job_id: job.job_id, consistency: v1::Consistency::Stale.into() });
        stale.metadata_mut().insert("ferry-min-revision", revision.to_string().parse().unwrap());
        let read = node.jobs().get_job(stale).await.unwrap();
        assert!(header(read.metadata(), "ferry-staleness-ms").unwrap() < 60_000);
        assert!(header(read.metadata(), "ferry-revision").unwrap() >= revision);
    }
    let segments = follower.segments().list_segments(v1::ListSegmentsRequest::default()).await.unwrap().into_inner();
    let mut sources: Vec<i64> = segments.segments.iter().map(|segment| segment.source_segment_id).collect();
    sources.sort_unstable();
    assert_eq!(sources, SAMPLE_SEGMENTS);
    assert!(segments.segments.iter().all(|segment| segment.state() == v1::SegmentState::Importing));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_on_every_node_sees_a_job_to_its_end_and_the_leader_counts_it() {
    let cluster = Cluster::start(3).await;
    let leader = &cluster.nodes[cluster.leader().await];
    let options = Some(v1::JobOptions { segments_per_task_max: 1, ..v1::JobOptions::default() });
    let request = v1::SubmitJobRequest { options, ..submit(&sample()) };
    let job_id = leader.jobs().submit_job(request).await.unwrap().into_inner().job.unwrap().job_id;
    let mut watches = Vec::new();
    for node in &cluster.nodes {
        let watch = node.jobs().watch_job(v1::WatchJobRequest { job_id, consistency: 0 }).await.unwrap();
        watches.push(watch.into_inner());
    }
    let explained = cluster.nodes[cluster.follower().await].jobs();
    let explained = explained.clone().explain_job(v1::ExplainJobRequest { job_id }).await.unwrap().into_inner();
    assert!(!explained.explanation.is_empty());
    let mut worker = ScriptedWorker::open(leader.workers(), "scripted", 4).await;
    worker.work(4).await;
    for mut watch in watches {
        let (mut copied, mut revision, mut last) = (0, 0, None);
        while let Some(state) = watch.message().await.unwrap() {
            let job = state.job.unwrap();
            assert!(job.copied_segments >= copied && state.revision > revision);
            (copied, revision, last) = (job.copied_segments, state.revision, Some(job));
        }
        let last = last.unwrap();
        assert_eq!((last.state(), last.progress_percent), (v1::JobState::Completed, 100));
        assert_eq!(last.total_rows, 3 * ROWS);
        let (before, id) = last.snapshot_uri.split_once("/snapshots/200/metadata/").expect("the copy is a snapshot");
        assert_eq!(before, last.target_uri.trim_end_matches('/'));
        assert!(id.strip_suffix(".json").is_some_and(|id| id.parse::<i64>().is_ok_and(|id| id > job_id)), "{id}");
    }
    for node in &cluster.nodes {
        let request = v1::WaitJobRequest { job_id, ..v1::WaitJobRequest::default() };
        let waited = node.jobs().wait_job(request).await.unwrap().into_inner().job.unwrap();
        assert_eq!(waited.state(), v1::JobState::Completed);
        let request =
            v1::ListSegmentsRequest { job_id, states: vec![v1::SegmentState::Flushed.into()], ..Default::default() };
        let flushed = node.segments().list_segments(request).await.unwrap().into_inner().segments;
        assert_eq!(flushed.len(), 3);
        let checked = node.cluster().check_invariants(v1::CheckInvariantsRequest::default()).await.unwrap();
        let checked = checked.into_inner();
        assert_eq!(checked.violations, Vec::<String>::new());
        assert!(checked.rows_checked > 10, "{}", checked.rows_checked);
    }
    let request = v1::ListTasksRequest { job_id, page_size: 3, ..v1::ListTasksRequest::default() };
    let page = leader.jobs().list_tasks(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.tasks.len(), page.next_page_token.is_empty()), (3, false));
    assert!(page.tasks.iter().all(|task| task.work() == v1::TaskWork::Copy), "{page:?}");
    let request = v1::ListTasksRequest { page_token: page.next_page_token, ..request };
    let page = leader.jobs().list_tasks(request).await.unwrap().into_inner();
    assert_eq!((page.tasks.len(), page.next_page_token.as_str()), (1, ""));
    assert_eq!((page.tasks[0].state(), page.tasks[0].work()), (v1::TaskState::Completed, v1::TaskWork::Publish));
    metrics_tell_the_job(&cluster).await;
    cluster.stop_all().await;
}

async fn metrics_tell_the_job(cluster: &Cluster) {
    let leader = cluster.leader().await;
    for (place, node) in cluster.nodes.iter().enumerate() {
        let (code, text) = get(&node.admin, "/metrics").await;
        assert_eq!(code, 200);
        assert_eq!(text.contains("ferry_copy_segment_jobs{state=\"completed\"} 1"), place == leader, "{text}");
        assert_eq!(text.contains("ferry_copy_segment_tasks{state=\"completed\"} 4"), place == leader, "{text}");
        assert_eq!(text.contains("ferry_copy_segment_job_latency_seconds_count 1"), place == leader, "{text}");
        let task = "ferry_copy_segment_task_latency_seconds_count{stage=\"executing\"} 4";
        assert_eq!(text.contains(task), place == leader, "{text}");
        assert!(
            text.contains("ferry_grpc_requests_total{code=\"Ok\",method=\"ferry.v1.JobService/WaitJob\"} 1"),
            "{text}"
        );
        assert!(text.contains("# TYPE ferry_raft_applied_index gauge"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_calls_a_follower_hears_who_leads() {
    let cluster = Cluster::start(3).await;
    let leader = &cluster.nodes[cluster.leader().await];
    let follower = &cluster.nodes[cluster.follower().await];
    let mut session = ScriptedWorker::open(follower.workers(), "lost", 1).await;
    match session.hear().await {
        Some(v1::session_response::Message::Leader(told)) => assert_eq!(told.leader_id, leader.id),
        other => panic!("{other:?}"),
    }
    assert_eq!(session.hear().await, None);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_names_the_nodes_of_the_cluster_as_they_are_then() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = (&cluster.nodes[cluster.leader().await], &cluster.nodes[cluster.follower().await]);
    let status = leader.cluster().get_status(v1::GetStatusRequest::default()).await.unwrap().into_inner();
    let addresses = |but: u64| -> BTreeSet<String> {
        status.nodes.iter().filter(|node| node.id != but).map(|node| node.address.clone()).collect()
    };
    let mut session = ScriptedWorker::open(leader.workers(), "asking", 1).await;
    assert_eq!(named(&mut session, 1).await, addresses(0));
    leader.cluster().remove_node(v1::RemoveNodeRequest { node_id: follower.id }).await.unwrap();
    assert_eq!(named(&mut session, 2).await, addresses(follower.id));
    cluster.stop_all().await;
}

/// The nodes that the answer to a heartbeat names.
async fn named(session: &mut ScriptedWorker, sequence: u64) -> BTreeSet<String> {
    session.send(v1::session_request::Message::Heartbeat(v1::Heartbeat { sequence })).await;
    let renewed = |message| match message {
        v1::session_response::Message::Renewed(renewed) if renewed.sequence == sequence => Some(renewed.addresses),
        _ => None,
    };
    session.wait(renewed).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_requests_outlast_what_clean_ups_wait_for_is_refused() {
    let cluster = Cluster::start(1).await;
    let hello = |request_timeout_ms, late_writes_ms| {
        let waits = v1::Hello { request_timeout_ms, late_writes_ms, ..Default::default() };
        let hello = v1::Hello { name: "w".into(), incarnation: 1, slots: 1, ..waits };
        let message = Some(v1::session_request::Message::Hello(hello));
        // The stream stays open, as that of a worker does.
        tokio_stream::StreamExt::chain(tokio_stream::iter([v1::SessionRequest { message }]), tokio_stream::pending())
    };
    let mut workers = cluster.nodes[0].workers();
    for (asked, words) in [
        (hello(30_001, 0), ["30001 ms", "30000 ms", "`request-timeout`", "`leadership.request-timeout`"]),
        (hello(0, 600_001), ["600001 ms", "600000 ms", "`late-writes`", "`leadership.late-writes`"]),
    ] {
        let status = workers.session(asked).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        for word in words {
            assert!(status.message().contains(word), "{word}: {}", status.message());
        }
    }
    let mut session = workers.session(hello(30_000, 600_000)).await.unwrap().into_inner();
    let first = session.message().await.unwrap().and_then(|response| response.message);
    assert!(matches!(first, Some(v1::session_response::Message::Welcome(_))), "{first:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_from_all_nodes_at_once_never_overlap() {
    let cluster = Cluster::start(3).await;
    let mut asks = Vec::new();
    for round in 0..30 {
        let mut ids = cluster.nodes[round % 3].ids();
        asks.push(tokio::spawn(async move {
            ids.allocate_ids(v1::AllocateIdsRequest { count: 700 }).await.unwrap().into_inner()
        }));
    }
    let mut blocks = Vec::new();
    for ask in asks {
        let block = ask.await.unwrap();
        assert_eq!(block.count, 700);
        blocks.push(block.first_id);
    }
    blocks.sort_unstable();
    assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] >= 700), "{blocks:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_by_state_collection_and_label() {
    let cluster = Cluster::start(1).await;
    let mut jobs = cluster.nodes[0].jobs();
    for number in 0..5 {
        let labels = HashMap::from([("half".to_owned(), (number % 2).to_string())]);
        let options = Some(v1::JobOptions { labels, start_paused: true, ..v1::JobOptions::default() });
        let mut request = v1::SubmitJobRequest { options, ..submit(&sample()) };
        request.target.as_mut().unwrap().collection_id = 200 + number;
        jobs.submit_job(request).await.unwrap();
    }
    let all = jobs.list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    jobs.cancel_job(v1::CancelJobRequest { job_id: all[0].job_id }).await.unwrap();
    let by = |request: v1::ListJobsRequest| {
        let mut jobs = jobs.clone();
        async move {
            let page = jobs.list_jobs(request).await.unwrap().into_inner();
            page.jobs.iter().map(|job| job.collection_id).collect::<Vec<_>>()
        }
    };
    let odd = HashMap::from([("half".to_owned(), "1".to_owned())]);
    assert_eq!(by(v1::ListJobsRequest { labels: odd, ..Default::default() }).await, [201, 203]);
    assert_eq!(by(v1::ListJobsRequest { collection_id: 204, ..Default::default() }).await, [204]);
    let canceled = vec![v1::JobState::Canceled.into()];
    assert_eq!(by(v1::ListJobsRequest { states: canceled, ..Default::default() }).await, [200]);
    assert_eq!(by(v1::ListJobsRequest { page_size: 2, ..Default::default() }).await, [200, 201]);
    let status = jobs.pause_job(v1::PauseJobRequest { job_id: all[0].job_id }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{}", status.message());
    let request = v1::UpdateJobRequest { job_id: all[1].job_id, priority: Some(9), ..Default::default() };
    assert_eq!(jobs.update_job(request).await.unwrap().into_inner().job.unwrap().priority, 9);
    let request = v1::WaitJobRequest { job_id: all[1].job_id, timeout_ms: 50, consistency: 0 };
    let status = jobs.wait_job(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_a_follower_waits_out_the_loss_of_the_leader() {
    let mut cluster = Cluster::start(3).await;
    let follower = cluster.follower().await;
    cluster.nodes[follower].jobs().submit_job(submit(&sample())).await.unwrap();
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    // The follower still believes in the leader, whose address refuses connections by now.
    let mut request = Request::new(submit(&sample()));
    request.set_timeout(support::PATIENCE);
    let answer = cluster.nodes[follower].jobs().submit_job(request).await.unwrap();
    let leader_id = header(answer.metadata(), "ferry-leader-id").unwrap();
    assert_ne!(leader_id, cluster.nodes[leader].id);
    let mut forwarded = Request::new(v1::CancelJobRequest { job_id: answer.into_inner().job.unwrap().job_id });
    forwarded.metadata_mut().insert("ferry-forwarded", "1".parse().unwrap());
    let leads_now = cluster.leader().await;
    let follows = (0..3).find(|place| ![leader, leads_now].contains(place)).unwrap();
    let status = cluster.nodes[follows].jobs().cancel_job(forwarded).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "a call is passed on once: {}", status.message());
    assert_eq!(header(status.metadata(), "ferry-leader-id"), Some(cluster.nodes[leads_now].id));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_a_node_says_so_and_still_answers_what_it_can() {
    let mut cluster = Cluster::start(3).await;
    let request = submit(&sample());
    let job_id = cluster.nodes[0].jobs().submit_job(request).await.unwrap().into_inner().job.unwrap().job_id;
    for node in &cluster.nodes {
        node.jobs().get_job(v1::GetJobRequest { job_id, consistency: 0 }).await.unwrap();
    }
    cluster.stop(1).await;
    cluster.stop(2).await;
    let alone = &cluster.nodes[0];
    let within = |message| {
        let mut request = Request::new(message);
        request.set_timeout(std::time::Duration::from_secs(1));
        request
    };
    let status = alone.jobs().get_job(v1::GetJobRequest { job_id, consistency: 0 }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
    let status = alone.jobs().cancel_job(within(v1::CancelJobRequest { job_id })).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
    let stale = v1::GetJobRequest { job_id, consistency: v1::Consistency::Stale.into() };
    let read = alone.jobs().get_job(stale).await.unwrap();
    assert!(header(read.metadata(), "ferry-staleness-ms").unwrap() >= 1_000);
    let status = alone.cluster().get_status(v1::GetStatusRequest { local_only: false }).await.unwrap().into_inner();
    let reachable: Vec<u64> = status.nodes.iter().filter(|node| node.reachable).map(|node| node.id).collect();
    assert_eq!((reachable, status.nodes.len(), status.leader_id), (vec![1], 3, 0));
    eventually("not ready", || async {
        let (code, text) = get(&alone.admin, "/readyz?verbose").await;
        (code == 503 && text.contains("[-]leader failed")).then_some(())
    })
    .await;
    assert_eq!(get(&alone.admin, "/livez").await.0, 200);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_a_wait_on_a_node_that_is_cut_off_end_and_a_stale_watch_stays() {
    let mut cluster = Cluster::start(3).await;
    let answer = cluster.nodes[0].jobs().submit_job(submit(&sample())).await.unwrap();
    let job_id = answer.into_inner().job.unwrap().job_id;
    let mut jobs = cluster.nodes[0].jobs();
    let watch = |consistency: v1::Consistency| v1::WatchJobRequest { job_id, consistency: consistency.into() };
    let mut fresh = jobs.watch_job(watch(v1::Consistency::Linearizable)).await.unwrap().into_inner();
    let mut stale = jobs.watch_job(watch(v1::Consistency::Stale)).await.unwrap().into_inner();
    for watch in [&mut fresh, &mut stale] {
        assert_eq!(watch.message().await.unwrap().unwrap().job.unwrap().job_id, job_id);
    }
    let mut waiter = cluster.nodes[0].jobs();
    let waiting =
        tokio::spawn(async move { waiter.wait_job(v1::WaitJobRequest { job_id, ..Default::default() }).await });
    cluster.stop(1).await;
    cluster.stop(2).await;
    let ends = async {
        while fresh.message().await?.is_some() {}
        Ok::<(), tonic::Status>(())
    };
    let waited = async { waiting.await.unwrap().map(|_| ()) };
    // Nothing tells that a wait has begun: it may find the node cut off at its first look, which has words of its own.
    for (ended, next_steps) in [(ends.await, ["another node"; 2]), (waited.await, ["another node", "try again"])] {
        let status = ended.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(next_steps.iter().any(|next_step| status.message().contains(next_step)), "{status:?}");
    }
    let more = tokio::time::timeout(std::time::Duration::from_millis(200), async {
        while stale.message().await.unwrap().is_some() {}
    });
    assert!(more.await.is_err(), "whoever asked for what the node has keeps the watch");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_answers_a_write_before_its_client_gives_up() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    for place in (0..3).filter(|place| *place != leader) {
        cluster.stop(place).await;
    }
    let mut request = Request::new(v1::CancelJobRequest { job_id: 1 });
    request.set_timeout(std::time::Duration::from_secs(1));
    let status = cluster.nodes[leader].jobs().cancel_job(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_a_watch_is_given_back_when_its_client_goes_away() {
    let cluster = Cluster::start_with(1, |config| config.limits.watches = 1).await;
    let mut jobs = cluster.nodes[0].jobs();
    let job_id = jobs.submit_job(submit(&sample())).await.unwrap().into_inner().job.unwrap().job_id;
    let request = v1::WatchJobRequest { job_id, consistency: 0 };
    let watch = jobs.watch_job(request).await.unwrap();
    let status = jobs.watch_job(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("1 watches open"), "{}", status.message());
    drop(watch);
    eventually("a free place", || async { jobs.clone().watch_job(request).await.ok().map(|_| ()) }).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_for_any_client() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let cluster = Cluster::start(1).await;
    let channel = cluster.nodes[0].channel.clone();
    for service in ["", "ferry.v1.JobService"] {
        eventually("health", || async {
            let request = HealthCheckRequest { service: service.into() };
            let answer = HealthClient::new(channel.clone()).check(request).await.ok()?.into_inner();
            (answer.status() == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let services = listed_by_reflection(channel).await;
    assert!(services.contains(&"ferry.v1.JobService".to_owned()), "{services:?}");
    assert!(services.iter().all(|name| !name.contains("internal")), "{services:?}");
    cluster.stop_all().await;
}

async fn listed_by_reflection(channel: tonic::transport::Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let requests = tokio_stream::iter([request]);
    let mut answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|each| each.name).collect(),
        other => panic!("{other:?}"),
    }
}
