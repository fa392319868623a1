//! Events of jobs over the loss of nodes: a webhook that fails every third call and a watch of the client both see
//! every transition in order, and whoever comes too late is told where to begin.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::process::ferry;
use cluster_tests::running_job::RunningJob;
use cluster_tests::{eventually, tree};
use ferry_client::{Client, Options};
use ferry_proto::v1::{
    CancelJobRequest, JobEvent, JobOptions, JobState, JobTransition, PauseJobRequest, ResumeJobRequest,
    WatchEventsRequest,
};
use serde_json::Value;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tonic::{Code, Status};

/// Events that the receiver has taken, at the least, when the leader dies.
const TAKEN_BEFORE: usize = 8;

/// Which event: revision and ordinal.
type Id = (u64, u32);

fn id(event: &JobEvent) -> Id {
    (event.revision, event.ordinal)
}

/// The events that a node has from a revision on.
async fn events_from(cluster: &Cluster, node: u64, from_revision: u64) -> Result<Vec<JobEvent>, Status> {
    let request = WatchEventsRequest { from_revision: Some(from_revision), ..Default::default() };
    let mut watch = cluster.jobs(node).watch_events(request).await?.into_inner();
    let (mut events, mut until) = (Vec::new(), None);
    loop {
        let response = watch.message().await?.expect("a watch of events has no end");
        events.extend(response.events);
        if response.next_revision > *until.get_or_insert(response.revision) {
            return Ok(events);
        }
    }
}

/// What happened to a job, in order.
fn transitions(events: &[JobEvent], job_id: i64) -> Vec<JobTransition> {
    events.iter().filter(|event| event.job_id == job_id).map(JobEvent::transition).collect()
}

/// A receiver of the webhook: it fails every third call, and keeps what it has taken.
#[derive(Clone, Default)]
struct Receiver {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    calls: u64,
    refused: u64,
    taken: Vec<Value>,
}

impl Receiver {
    /// Serves until the test ends; its URL.
    async fn start(&self) -> String {
        let app = axum::Router::new().route("/events", post(hear)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/events")
    }

    fn taken(&self) -> Vec<Value> {
        self.heard.lock().expect("no call panics").taken.clone()
    }

    /// What it went through; refusals must have been part of it.
    fn report(&self, events: usize) {
        let heard = self.heard.lock().expect("no call panics");
        let (calls, refused, repeats) = (heard.calls, heard.refused, heard.taken.len() - events);
        println!("{events} events, {calls} calls, {refused} refused, {repeats} repeats taken");
        assert!(refused >= 10, "{refused} calls were refused");
        assert!(repeats < TAKEN_BEFORE, "{repeats} repeats: the new leader did not go on where the old one had noted");
    }

    /// What was taken, each event when it came first.
    fn first_taken(&self) -> Vec<Id> {
        let mut first = Vec::new();
        for id in self.taken().iter().map(id_of_posted) {
            if !first.contains(&id) {
                first.push(id);
            }
        }
        first
    }
}

async fn hear(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
    let event: Value = serde_json::from_str(&body).expect("an event is JSON");
    let (revision, ordinal) = id_of_posted(&event);
    let named = format!("{}-{revision}-{ordinal}", event["cluster_id"].as_str().expect("a cluster"));
    assert_eq!(headers["ferry-event-id"], named);
    let mut heard = receiver.heard.lock().expect("no call panics");
    heard.calls += 1;
    if heard.calls.is_multiple_of(3) {
        heard.refused += 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    heard.taken.push(event);
    StatusCode::OK
}

fn id_of_posted(event: &Value) -> Id {
    let revision = event["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision");
    let ordinal = event["ordinal"].as_u64().and_then(|number| number.try_into().ok()).expect("an ordinal");
    (revision, ordinal)
}

/// A small job of its own source; its id.
async fn submit(cluster: &Cluster, source: &Path, collection: i64, options: JobOptions) -> i64 {
    let mut request = submit_request(source, &cluster.path(&format!("target-{collection}")), collection);
    request.options = Some(options);
    let client = Client::new(cluster.addresses().values().cloned(), Options::default()).expect("good endpoints");
    client.submit_job(request).await.expect("the submit is accepted").message.job.expect("a job").job_id
}

/// Jobs of every fate: three complete, one fails and is collected, one is resumed, paused and canceled.
async fn jobs_of_every_fate(cluster: &Cluster, whole: &Path, broken: &Path, collection: i64) -> Vec<i64> {
    let mut jobs = Vec::new();
    for number in 0..3 {
        jobs.push(submit(cluster, whole, collection + number, JobOptions::default()).await);
    }
    jobs.push(submit(cluster, broken, collection + 3, JobOptions { retention_ms: 500, ..Default::default() }).await);
    // So slow that nothing can end it but its user.
    let paused = JobOptions { start_paused: true, bandwidth_bytes_per_second: 100, ..Default::default() };
    let job_id = submit(cluster, whole, collection + 4, paused).await;
    let mut client = cluster.jobs(cluster.leader().await);
    client.resume_job(ResumeJobRequest { job_id }).await.expect("resumed");
    client.pause_job(PauseJobRequest { job_id }).await.expect("paused");
    client.cancel_job(CancelJobRequest { job_id }).await.expect("canceled");
    jobs.push(job_id);
    jobs
}

/// A source that copies, and one whose last segment lacks an object.
fn sources(cluster: &Cluster) -> (std::path::PathBuf, std::path::PathBuf) {
    let (whole, broken) = (cluster.path("whole"), cluster.path("broken"));
    for source in [&whole, &broken] {
        tree::make(source, 3, 1_024);
    }
    let lost = tree::files(&broken.join("insert_log")).pop().expect("there are objects");
    std::fs::remove_file(broken.join("insert_log").join(lost)).expect("an object can be removed");
    (whole, broken)
}

/// The ends that the jobs of `jobs_of_every_fate` must come to.
fn assert_fates(events: &[JobEvent], jobs: &[i64]) {
    let begin = [JobTransition::Submitted, JobTransition::Executing];
    for job_id in &jobs[..3] {
        assert_eq!(transitions(events, *job_id), [&begin[..], &[JobTransition::Completed]].concat());
    }
    let failed = transitions(events, jobs[3]);
    assert_eq!(failed[..3], [&begin[..], &[JobTransition::Failed]].concat());
    assert_eq!(failed.last(), Some(&JobTransition::Collected), "{failed:?}");
    let canceled = transitions(events, jobs[4]);
    // Its tasks may have existed before or after its resume, and an attempt may have begun.
    let either_way = [JobTransition::Executing, JobTransition::CleanedUp];
    let steps: Vec<_> = canceled.into_iter().filter(|step| !either_way.contains(step)).collect();
    assert_eq!(
        steps,
        [
            JobTransition::Submitted,
            JobTransition::Paused,
            JobTransition::Resumed,
            JobTransition::Paused,
            JobTransition::Canceled
        ]
    );
}

async fn collected(cluster: &Cluster, jobs: &[i64]) {
    eventually("the collection of the failed job", || async {
        let node = cluster.running()[0];
        cluster.job(node, jobs[3]).await.err().filter(|status| status.code() == Code::NotFound)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_every_third_call_sees_every_transition_in_order_over_the_loss_of_the_leader() {
    let receiver = Receiver::default();
    let url = receiver.start().await;
    let url = format!("webhook.url={url}");
    let settings = [url.as_str(), "webhook.retry-first=20ms", "webhook.retry-max=200ms"];
    let mut cluster = Cluster::start_with(3, &settings).await;
    let (whole, broken) = sources(&cluster);
    let running = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let before = jobs_of_every_fate(&cluster, &whole, &broken, 300).await;
    eventually("some deliveries", || std::future::ready((receiver.taken().len() >= TAKEN_BEFORE).then_some(()))).await;
    let lost = cluster.leader().await;
    cluster.kill_node(lost);
    cluster.leader_but(&[lost]).await;
    let after = jobs_of_every_fate(&cluster, &whole, &broken, 310).await;
    cluster.start_node(lost);
    running.completes(&cluster).await;
    for jobs in [&before, &after] {
        for job_id in [&jobs[..3], &jobs[4..]].concat() {
            cluster.ended(job_id).await;
        }
        collected(&cluster, jobs).await;
    }

    let told = eventually("the last delivery", || async {
        let told = events_from(&cluster, cluster.leader().await, 0).await.ok()?;
        (receiver.first_taken() == told.iter().map(id).collect::<Vec<_>>()).then_some(told)
    })
    .await;
    for node in cluster.running() {
        let on_node = eventually("the events of a node", || async { events_from(&cluster, node, 0).await.ok() }).await;
        assert_eq!(on_node, told, "node {node} tells something else");
    }
    assert_fates(&told, &before);
    assert_fates(&told, &after);
    assert_eq!(transitions(&told, running.job_id).last(), Some(&JobTransition::Completed));
    // What was posted says the same as what is watched.
    for posted in receiver.taken() {
        let event = told.iter().find(|event| id(event) == id_of_posted(&posted)).expect("only what happened is posted");
        assert_eq!(posted["job_id"], event.job_id.to_string());
        assert_eq!(posted["transition"], event.transition().as_str_name());
        assert_eq!(posted["state"], event.state().as_str_name());
        assert_eq!(posted["collection_id"], event.collection_id.to_string());
    }
    receiver.report(told.len());
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_events_survives_the_loss_of_its_node_and_misses_and_repeats_nothing() {
    let mut cluster = Cluster::start(3).await;
    let (whole, broken) = sources(&cluster);
    cluster.start_worker("only", 2);
    let leader = cluster.leader().await;
    let addresses = cluster.addresses().clone();
    let rest = addresses.iter().filter(|(node, _)| **node != leader).map(|(_, address)| address.clone());
    let endpoints = std::iter::once(addresses[&leader].clone()).chain(rest);
    let client = Client::new(endpoints, Options::default()).expect("good endpoints");
    let seen = Arc::new(Mutex::new(Vec::<JobEvent>::new()));
    let mut watch = client.watch_events(WatchEventsRequest { from_revision: Some(0), ..Default::default() });
    let all = Arc::clone(&seen);
    let watching = tokio::spawn(async move {
        loop {
            let response = watch.next().await.expect("a watch goes on at another node");
            all.lock().expect("no watch panics").extend(response.events);
        }
    });
    let mut jobs = jobs_of_every_fate(&cluster, &whole, &broken, 300).await;
    eventually("some events", || std::future::ready((seen.lock().expect("sound").len() >= 4).then_some(()))).await;
    cluster.kill_node(leader);
    cluster.leader_but(&[leader]).await;
    let second = jobs_of_every_fate(&cluster, &whole, &broken, 310).await;
    cluster.start_node(leader);
    eventually("a read of the node that was lost", || async { cluster.job(leader, jobs[0]).await.ok() }).await;
    // The watch is at one of the others: the loss of both, one after the other, meets it.
    for lost in cluster.running().into_iter().filter(|node| *node != leader).collect::<Vec<_>>() {
        cluster.freeze_node(lost);
        cluster.leader_but(&[lost]).await;
        let collection = 320 + i64::try_from(lost).expect("small") * 10;
        jobs.push(submit(&cluster, &whole, collection, JobOptions::default()).await);
        cluster.thaw_node(lost);
        eventually("a read of the node that froze", || async { cluster.job(lost, jobs[0]).await.ok() }).await;
    }
    for job_id in [&jobs[..3], &second[..3], &jobs[5..]].concat() {
        assert_eq!(cluster.ended(job_id).await.state(), JobState::Completed);
    }
    collected(&cluster, &second).await;
    let told = eventually("everything in the watch", || async {
        let told = events_from(&cluster, cluster.leader().await, 0).await.ok()?;
        (*seen.lock().expect("no watch panics") == told).then_some(told)
    })
    .await;
    assert_fates(&told, &second);
    assert_shown(&cluster, jobs[0]);
    println!("{} events seen once each", told.len());
    watching.abort();
    cluster.assert_sound().await;
}

/// `ferry job events`: its exit code, and what it said on stderr and showed on stdout.
fn job_events(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String, String) {
    let endpoints = cluster.endpoints();
    let output = ferry(&[&["--endpoints", endpoints.as_str(), "job", "events"][..], arguments].concat());
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    (output.status.code(), said.into_owned(), shown.into_owned())
}

fn assert_shown(cluster: &Cluster, job_id: i64) {
    let job = job_id.to_string();
    let (code, said, shown) = job_events(cluster, &["--job", &job]);
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.lines().count() == 3 && shown.contains(&format!("job {job} Completed")), "{shown}");
    let (_, _, shown) = job_events(cluster, &["--job", &job, "-o", "jsonl"]);
    let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let transitions: Vec<_> = lines.iter().map(|event| event["transition"].as_str().expect("text")).collect();
    let expected = ["SUBMITTED", "EXECUTING", "COMPLETED"].map(|name| format!("JOB_TRANSITION_{name}"));
    assert_eq!(transitions, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_have_expired_are_out_of_range_and_the_command_line_says_where_to_begin() {
    let settings = ["leadership.event-retention=2s", "leadership.check-interval=200ms"];
    let mut cluster = Cluster::start_with(1, &settings).await;
    let (whole, _) = sources(&cluster);
    cluster.start_worker("only", 2);
    let job_id = submit(&cluster, &whole, 300, JobOptions::default()).await;
    assert_eq!(cluster.ended(job_id).await.state(), JobState::Completed);
    let status = eventually("the end of the events", || async { events_from(&cluster, 1, 0).await.err() }).await;
    assert_eq!(status.code(), Code::OutOfRange, "{}", status.message());
    // More may expire between the two commands, until nothing is left that could.
    let said = eventually("a place to begin", || async {
        let (code, said, _) = job_events(&cluster, &["--from-revision", "0"]);
        assert_eq!(code, Some(2), "{said}");
        let named = said.split("all are kept is ").nth(1).and_then(|rest| rest.split(';').next());
        let (code, said, _) = job_events(&cluster, &["--from-revision", named.expect("a revision")]);
        (code == Some(0)).then_some(said)
    })
    .await;
    assert!(said.contains("go on later with --from-revision"), "{said}");
    cluster.assert_sound().await;
}
