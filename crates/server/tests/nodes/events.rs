//! WatchEvents on real nodes: all of them tell the same, from every place on, and say what they cannot tell.

use crate::support::{Cluster, Node, eventually, get, sample, submit};
use ferry_proto::v1;
use std::time::Duration;
use tonic::{Code, Status};

/// From the very first one on.
fn all() -> v1::WatchEventsRequest {
    v1::WatchEventsRequest { from_revision: Some(0), ..v1::WatchEventsRequest::default() }
}

/// The events up to what the node had applied when it was asked.
async fn events(node: &Node, request: v1::WatchEventsRequest) -> Result<Vec<v1::JobEvent>, Status> {
    let mut watch = node.jobs().watch_events(request).await?.into_inner();
    let (mut events, mut until) = (Vec::new(), None);
    loop {
        let response = watch.message().await?.expect("a watch of events has no end");
        events.extend(response.events);
        if response.next_revision > *until.get_or_insert(response.revision) {
            return Ok(events);
        }
    }
}

/// A job that is canceled before anything is copied.
async fn canceled(node: &Node, collection_id: i64) -> i64 {
    let mut request = submit(&sample());
    request.target.as_mut().unwrap().collection_id = collection_id;
    let job_id = node.jobs().submit_job(request).await.unwrap().into_inner().job.unwrap().job_id;
    node.jobs().cancel_job(v1::CancelJobRequest { job_id }).await.unwrap();
    job_id
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_the_same_events_from_every_place_on() {
    let cluster = Cluster::start(3).await;
    let mut jobs = Vec::new();
    for collection_id in [300, 301, 302] {
        jobs.push(canceled(&cluster.nodes[0], collection_id).await);
    }
    let told = events(&cluster.nodes[0], all()).await.unwrap();
    let ids: Vec<_> = told.iter().map(|event| (event.revision, event.ordinal)).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    for job_id in &jobs {
        let of_job: Vec<_> =
            told.iter().filter(|event| event.job_id == *job_id).map(v1::JobEvent::transition).collect();
        assert_eq!(of_job.first(), Some(&v1::JobTransition::Submitted));
        assert_eq!(of_job.iter().filter(|transition| **transition == v1::JobTransition::Canceled).count(), 1);
    }
    for node in &cluster.nodes {
        for (place, event) in told.iter().enumerate() {
            let from = v1::WatchEventsRequest {
                from_revision: Some(event.revision),
                from_ordinal: event.ordinal,
                ..v1::WatchEventsRequest::default()
            };
            let rest = events(node, from).await.unwrap();
            assert_eq!(rest[..told.len() - place], told[place..]);
        }
        let of_job = events(node, v1::WatchEventsRequest { job_id: jobs[1], ..all() }).await.unwrap();
        let of_collection = events(node, v1::WatchEventsRequest { collection_id: 301, ..all() }).await.unwrap();
        assert!(of_job.len() >= 2 && of_job.iter().all(|event| event.job_id == jobs[1]), "{of_job:?}");
        assert_eq!(of_job, of_collection);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_happens_while_it_is_open_and_how_far_it_is_when_nothing_does() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut watch = node.jobs().watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((first.events.len(), first.next_revision), (0, first.revision + 1));
    let job_id = canceled(node, 300).await;
    let mut told: Vec<v1::JobEvent> = Vec::new();
    while told.last().is_none_or(|event| event.transition() != v1::JobTransition::Canceled) {
        told.extend(watch.message().await.unwrap().unwrap().events);
    }
    assert!(told.iter().all(|event| event.job_id == job_id && event.collection_id == 300));
    let progress = loop {
        let response = watch.message().await.unwrap().unwrap();
        if response.events.is_empty() {
            break response;
        }
    };
    let from = v1::WatchEventsRequest {
        from_revision: Some(progress.next_revision),
        from_ordinal: progress.next_ordinal,
        ..v1::WatchEventsRequest::default()
    };
    assert!(progress.next_revision > told.last().unwrap().revision);
    assert_eq!(events(node, from).await.unwrap(), [], "whoever goes on there has seen everything");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused_with_the_next_step() {
    let cluster = Cluster::start_with(1, |config| {
        config.leadership.event_retention = Duration::from_secs(1);
        config.leadership.check_interval = Duration::from_millis(50);
    })
    .await;
    let node = &cluster.nodes[0];
    let refused = |request: v1::WatchEventsRequest| async move { events(node, request).await.unwrap_err() };
    for (request, field) in [
        (v1::WatchEventsRequest { job_id: -1, ..all() }, "job_id"),
        (v1::WatchEventsRequest { collection_id: -1, ..all() }, "collection_id"),
        (v1::WatchEventsRequest { from_revision: None, from_ordinal: 1, ..all() }, "from_ordinal"),
    ] {
        let status = refused(request).await;
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(field), "{}", status.message());
    }
    let status = refused(v1::WatchEventsRequest { from_revision: Some(1 << 40), ..all() }).await;
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("restored from an older backup? Begin at"), "{}", status.message());
    let stale = v1::Consistency::Stale.into();
    let status = refused(v1::WatchEventsRequest { from_revision: Some(1 << 40), consistency: stale, ..all() }).await;
    assert_eq!(status.code(), Code::Unavailable, "{}", status.message());

    canceled(node, 300).await;
    let status = eventually("the end of the events", || async { events(node, all()).await.err() }).await;
    assert_eq!(status.code(), Code::OutOfRange, "{}", status.message());
    // More may expire between the two calls, until nothing is left that could.
    eventually("a place to begin", || async {
        let status = events(node, all()).await.unwrap_err();
        let named = status.message().split("all are kept is ").nth(1).and_then(|rest| rest.split(';').next());
        let from_revision = Some(named.unwrap().parse().unwrap());
        events(node, v1::WatchEventsRequest { from_revision, ..all() }).await.ok()
    })
    .await;
    events(node, v1::WatchEventsRequest { from_revision: None, ..all() }).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_events_takes_a_place_among_the_watches_and_gives_it_back() {
    let cluster = Cluster::start_with(1, |config| config.limits.watches = 1).await;
    let node = &cluster.nodes[0];
    let watch = node.jobs().watch_events(all()).await.unwrap();
    assert_eq!(events(node, all()).await.unwrap_err().code(), Code::ResourceExhausted);
    drop(watch);
    eventually("a free place", || async { events(node, all()).await.ok() }).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_events_on_a_node_that_is_cut_off_ends() {
    let mut cluster = Cluster::start(3).await;
    let mut watch = cluster.nodes[0].jobs().watch_events(all()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    cluster.stop(1).await;
    cluster.stop(2).await;
    let status = loop {
        if let Err(status) = watch.message().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("another node"), "{status:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_nobody_takes_shows_its_lag_and_holds_up_nothing_else() {
    let cluster = Cluster::start_with(1, |config| {
        // A port that nobody listens at: it was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.webhook.url = format!("http://{free}/events");
        config.webhook.retry_first = Duration::from_millis(10);
    })
    .await;
    let node = &cluster.nodes[0];
    canceled(node, 300).await;
    let text = eventually("a lag", || async {
        let (_, text) = get(&node.admin, "/metrics").await;
        let lag = text.lines().find_map(|line| line.strip_prefix("ferry_webhook_lag_seconds "));
        let waits = lag.is_some_and(|seconds| seconds.parse::<f64>().unwrap() > 0.0);
        (waits && text.contains("ferry_webhook_deliveries_total{taken=\"false\"}")).then_some(text)
    })
    .await;
    assert!(!text.contains("taken=\"true\""), "{text}");
    canceled(node, 301).await;
    assert!(events(node, all()).await.unwrap().len() >= 4);
    cluster.stop_all().await;
}
