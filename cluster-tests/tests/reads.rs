//! Reads of nodes that were frozen, deposed or left behind: nobody is told an older state than was acknowledged, unless
//! the answer says how old it is; and a deposed leader renews no lease.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    Consistency, GetJobRequest, GetJobResponse, Heartbeat, Hello, JobOptions, JobState, SessionRequest,
    SessionResponse, UpdateJobRequest,
};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

const COLLECTION: i64 = 200;
/// How often the leader is frozen and deposed.
const ROUNDS: i32 = 5;
/// Readers that ask one node at once.
const READERS_PER_NODE: usize = 8;

/// A job that waits: its priority is a register that is easily written.
async fn paused_job(cluster: &Cluster) -> i64 {
    let source = cluster.path("source");
    tree::make(&source, 2, 1_000);
    let mut request = submit_request(&source, &cluster.path("target"), COLLECTION);
    request.options = Some(JobOptions { start_paused: true, no_timeout: true, ..Default::default() });
    cluster.submit(request).await
}

/// Writes the register through a node, and answers the revision of it.
async fn write(cluster: &Cluster, node: u64, job_id: i64, priority: i32) -> u64 {
    eventually("a write", || async {
        let request = UpdateJobRequest { job_id, priority: Some(priority), ..Default::default() };
        let answer = cluster.jobs(node).update_job(request).await.ok()?;
        number(answer.metadata(), "ferry-revision")
    })
    .await
}

fn number(metadata: &MetadataMap, name: &str) -> Option<u64> {
    metadata.get(name)?.to_str().ok()?.parse().ok()
}

fn get(job_id: i64, consistency: Consistency, revision_min: Option<u64>) -> Request<GetJobRequest> {
    let mut request = Request::new(GetJobRequest { job_id, consistency: consistency.into() });
    if let Some(revision) = revision_min {
        request.metadata_mut().insert("ferry-min-revision", MetadataValue::from(revision));
    }
    request
}

fn priority(answer: &Response<GetJobResponse>) -> i32 {
    answer.get_ref().job.as_ref().expect("an answer has a job").priority
}

/// Readers that have asked a node, each on a connection of its own.
fn readers(cluster: &Cluster, node: u64, job_id: i64) -> Vec<tokio::task::JoinHandle<Result<i32, Status>>> {
    let read = |mut client: ferry_proto::v1::job_service_client::JobServiceClient<_>| async move {
        let answer = client.get_job(get(job_id, Consistency::Linearizable, None)).await?;
        Ok(priority(&answer))
    };
    (0..READERS_PER_NODE).map(|_| tokio::spawn(read(cluster.jobs(node)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s38_a_deposed_leader_that_was_frozen_answers_no_stale_read_nor_does_anybody_else() {
    let cluster = Cluster::start(3).await;
    let job_id = paused_job(&cluster).await;
    let mut answered = 0;
    for round in 1..=ROUNDS {
        let frozen = cluster.leader().await;
        cluster.freeze_node(frozen);
        let next = cluster.leader_but(&[frozen]).await;
        write(&cluster, next, job_id, round).await;
        // These wait in the frozen node's sockets and are the first thing that it sees; the others ask once it goes on.
        let mut asked = readers(&cluster, frozen, job_id);
        tokio::task::yield_now().await;
        cluster.thaw_node(frozen);
        for node in cluster.running() {
            asked.extend(readers(&cluster, node, job_id));
        }
        for reader in asked {
            match reader.await.expect("a reader does not panic") {
                Ok(read) => {
                    assert_eq!(read, round, "node {frozen} was frozen in round {round}");
                    answered += 1;
                }
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        }
    }
    let asked = usize::try_from(ROUNDS).expect("small") * READERS_PER_NODE * 4;
    println!("{answered} of {asked} linearizable reads were answered, all with the last write");
    assert!(answered >= asked / 2, "too few reads were answered to have shown anything: {answered} of {asked}");
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s38_a_follower_answers_nothing_older_than_was_seen_and_stale_answers_say_their_age() {
    let cluster = Cluster::start(3).await;
    let job_id = paused_job(&cluster).await;
    let leader = cluster.leader().await;
    let followers: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    let mut behind = 0;
    for round in 1..=40 {
        let follower = followers[usize::try_from(round).expect("small") % followers.len()];
        let frozen = round % 4 == 0;
        if frozen {
            cluster.freeze_node(follower);
        }
        let revision = write(&cluster, leader, job_id, round).await;
        let acknowledged = Instant::now();
        if frozen {
            cluster.thaw_node(follower);
        }
        let mut jobs = cluster.jobs(follower);
        let asked = acknowledged.elapsed();
        let stale = jobs.get_job(get(job_id, Consistency::Stale, None)).await.expect("a stale read is answered");
        let age = number(stale.metadata(), "ferry-staleness-ms").expect("a stale answer says its age");
        if priority(&stale) < round {
            behind += 1;
            assert!(u128::from(age) + 1 >= asked.as_millis(), "it lacks what is {asked:?} old, and says {age} ms");
        }
        let read = jobs.get_job(get(job_id, Consistency::Linearizable, None)).await.expect("a read is answered");
        assert_eq!(priority(&read), round, "a linearizable read on follower {follower}");
        assert_eq!(number(read.metadata(), "ferry-staleness-ms"), None);
        assert!(number(read.metadata(), "ferry-revision") >= Some(revision));
        let other = followers[usize::try_from(round + 1).expect("small") % followers.len()];
        let seen = get(job_id, Consistency::Stale, Some(revision));
        let seen = cluster.jobs(other).get_job(seen).await.expect("a stale read of what was seen is answered");
        assert_eq!(priority(&seen), round, "a stale read of at least revision {revision} on follower {other}");
        assert!(number(seen.metadata(), "ferry-staleness-ms").is_some());
    }
    println!("{behind} of 40 stale reads were behind, and said so");
    a_revision_that_does_not_come_is_answered_in_time(&cluster, followers[0], job_id).await;
}

async fn a_revision_that_does_not_come_is_answered_in_time(cluster: &Cluster, node: u64, job_id: i64) {
    for consistency in [Consistency::Stale, Consistency::Linearizable] {
        let mut request = get(job_id, consistency, Some(1_000_000_000));
        request.set_timeout(Duration::from_secs(1));
        let status = cluster.jobs(node).get_job(request).await.expect_err("no such revision");
        assert_eq!(status.code(), Code::Unavailable, "the node itself answers before the deadline: {status:?}");
        let words = ["index 1000000000 is not applied on this node in time", "try again, or another node"];
        assert!(words.iter().all(|word| status.message().contains(word)), "{}", status.message());
        assert!(number(status.metadata(), "ferry-leader-id").is_some(), "{status:?}");
    }
}

/// A session as the protocol sees it.
struct Session {
    say: mpsc::Sender<SessionRequest>,
    hear: Streaming<SessionResponse>,
}

impl Session {
    async fn open(cluster: &Cluster, node: u64, name: &str) -> Self {
        let (say, said) = mpsc::channel(64);
        let hello = Hello { name: name.to_owned(), incarnation: 1, slots: 1, ..Default::default() };
        say.send(SessionRequest { message: Some(Say::Hello(hello)) }).await.expect("the stream takes it");
        let uri = format!("http://{}", cluster.addresses()[&node]);
        let channel = tonic::transport::Endpoint::from_shared(uri).expect("an address makes a URI").connect_lazy();
        let opened = WorkerServiceClient::new(channel).session(ReceiverStream::new(said)).await;
        Self { say, hear: opened.expect("the leader opens a session").into_inner() }
    }

    async fn heartbeat(&self, sequence: u64) {
        let heartbeat = SessionRequest { message: Some(Say::Heartbeat(Heartbeat { sequence })) };
        self.say.send(heartbeat).await.expect("the stream takes it");
    }

    async fn hear(&mut self) -> Option<Hear> {
        self.hear.message().await.ok().flatten().and_then(|response| response.message)
    }

    async fn renewed(&mut self, expected: u64) {
        loop {
            match self.hear().await.expect("the session goes on") {
                Hear::Renewed(renewed) if renewed.sequence == expected => return,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s39_a_deposed_leader_renews_no_lease() {
    let cluster = Cluster::start(3).await;
    for round in 0..3 {
        let leader = cluster.leader().await;
        let mut session = Session::open(&cluster, leader, &format!("worker-{round}")).await;
        session.heartbeat(1).await;
        session.renewed(1).await;
        cluster.freeze_node(leader);
        // They arrive while somebody else is elected, and are seen by one who believes to lead.
        for sequence in 2..=10 {
            session.heartbeat(sequence).await;
        }
        let next = cluster.leader_but(&[leader]).await;
        cluster.thaw_node(leader);
        let mut told = None;
        while let Some(message) = session.hear().await {
            match message {
                Hear::Renewed(renewed) => panic!("a deposed leader renews heartbeat {}", renewed.sequence),
                Hear::Leader(leader) => told = Some(leader.leader_id),
                _ => {}
            }
        }
        assert!(told.is_none_or(|told| told != leader), "{told:?} is named by node {leader}, node {next} leads");
    }
    cluster.assert_sound().await;
}

/// Names and sizes of every file below a folder.
fn sizes(root: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let files = tree::files(root).into_iter();
    let size = |file: &Path| std::fs::metadata(root.join(file)).map_or(0, |found| found.len());
    files.map(|file| (file.clone(), size(&file))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s39_a_leader_without_a_quorum_renews_no_lease_and_its_worker_stops_by_its_own_clock() {
    let settings = ["leadership.lease=3s", "leadership.heartbeat-interval=500ms"];
    let mut cluster = Cluster::start_with(3, &settings).await;
    let (source, target) = (cluster.path("source"), cluster.path("target"));
    tree::make(&source, 40, 64 * 1024);
    cluster.start_worker("only", 2);
    let mut request = submit_request(&source, &target, COLLECTION);
    let bandwidth_bytes_per_second = 512 * 1024;
    request.options = Some(JobOptions { segments_per_task_max: 10, bandwidth_bytes_per_second, ..Default::default() });
    let job_id = cluster.submit(request).await;
    eventually("a first file", || async { (!tree::files(&target).is_empty()).then_some(()) }).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(&cluster, leader, "scripted").await;
    session.heartbeat(1).await;
    session.renewed(1).await;

    let followers: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    followers.iter().for_each(|id| cluster.freeze_node(*id));
    session.heartbeat(2).await;
    // Nobody can have been elected yet: whoever could elect is frozen.
    let stopped = "the lease has ended: every attempt is stopped";
    eventually("a worker that stops", || async { cluster.worker_log("only").contains(stopped).then_some(()) }).await;
    let left = eventually("nothing under way", || async {
        let files = sizes(&target);
        (!files.iter().any(|(file, _)| file.starts_with(".ferry"))).then_some(files)
    })
    .await;
    for _ in 0..20 {
        assert_eq!(sizes(&target), left, "a worker without a lease writes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    followers.iter().for_each(|id| cluster.thaw_node(*id));
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "{job:?}");
    for segment in cluster.targets(cluster.leader().await, job_id).await.expect("the leader knows the targets") {
        tree::assert_copied(&source, &target, segment.source_segment_id, segment.segment_id, COLLECTION);
    }
    cluster.assert_sound().await;
}
