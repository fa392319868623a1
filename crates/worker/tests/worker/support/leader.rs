//! The leader's side of a session, spoken by the test: each test decides what is answered, and when.

use super::sample::{SEGMENTS, TARGET_SEGMENTS};
use ferry_proto::v1::segment_service_server::{SegmentService, SegmentServiceServer};
use ferry_proto::v1::session_request::Message as Request;
use ferry_proto::v1::session_response::Message as Response;
use ferry_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use ferry_proto::v1::{
    Acknowledged, Assign, Attempt, Claim, Claimed, DrainWorkerRequest, DrainWorkerResponse, Drop, GetSegmentRequest,
    GetSegmentResponse, Hello, Limit, ListSegmentsRequest, ListSegmentsResponse, ListWorkersRequest,
    ListWorkersResponse, Renewed, Segment, SessionRequest, SessionResponse, UndrainWorkerRequest,
    UndrainWorkerResponse, Welcome, WritesBegin, WritesBegun, result,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response as Answer, Status, Streaming};

/// Longer than anything a test waits for: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(60);
const HEARTBEAT_INTERVAL_MS: u64 = 50;
/// A lease that no test outlives.
pub(crate) const LONG_LEASE_MS: u64 = 600_000;

type Outbound = mpsc::UnboundedSender<Result<SessionResponse, Status>>;

struct Incoming {
    inbound: Streaming<SessionRequest>,
    outbound: Outbound,
}

struct Service {
    sessions: mpsc::UnboundedSender<Incoming>,
}

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = UnboundedReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: tonic::Request<Streaming<SessionRequest>>,
    ) -> Result<Answer<Self::SessionStream>, Status> {
        let (outbound, answers) = mpsc::unbounded_channel();
        let incoming = Incoming { inbound: request.into_inner(), outbound };
        self.sessions.send(incoming).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Answer::new(UnboundedReceiverStream::new(answers)))
    }

    async fn list_workers(&self, _: tonic::Request<ListWorkersRequest>) -> Result<Answer<ListWorkersResponse>, Status> {
        Err(Status::unimplemented("only sessions"))
    }

    async fn drain_worker(&self, _: tonic::Request<DrainWorkerRequest>) -> Result<Answer<DrainWorkerResponse>, Status> {
        Err(Status::unimplemented("only sessions"))
    }

    async fn undrain_worker(
        &self,
        _: tonic::Request<UndrainWorkerRequest>,
    ) -> Result<Answer<UndrainWorkerResponse>, Status> {
        Err(Status::unimplemented("only sessions"))
    }
}

/// What the node answers about the segments of a job.
struct Lists {
    segments: Arc<Mutex<Result<Vec<Segment>, Status>>>,
}

/// So few segments at a time that a job has several pages.
const PAGE_SIZE: usize = 2;

#[tonic::async_trait]
impl SegmentService for Lists {
    async fn get_segment(&self, _: tonic::Request<GetSegmentRequest>) -> Result<Answer<GetSegmentResponse>, Status> {
        Err(Status::unimplemented("only lists"))
    }

    async fn list_segments(
        &self,
        request: tonic::Request<ListSegmentsRequest>,
    ) -> Result<Answer<ListSegmentsResponse>, Status> {
        let request = request.into_inner();
        let segments: Vec<Segment> = self.segments.lock().unwrap().clone()?;
        let first: usize = request.page_token.parse().unwrap_or(0);
        let of_job = segments.into_iter().filter(|segment| segment.job_id == request.job_id).collect::<Vec<_>>();
        let next = first + PAGE_SIZE;
        let next_page_token = if next < of_job.len() { next.to_string() } else { String::new() };
        let page = of_job.into_iter().skip(first).take(PAGE_SIZE).collect();
        Ok(Answer::new(ListSegmentsResponse { segments: page, next_page_token }))
    }
}

/// The segments of the sample's copy, as the leader lists them when all tasks have reported.
fn copied() -> Vec<Segment> {
    let segment = |(source, target): (&i64, &i64)| Segment {
        segment_id: *target,
        collection_id: 200,
        partition_id: 300,
        source_segment_id: *source,
        job_id: 77,
        num_of_rows: 1_100,
        ..Segment::default()
    };
    SEGMENTS.iter().zip(&TARGET_SEGMENTS).map(segment).collect()
}

/// A node, as a worker sees it.
pub(crate) struct Node {
    pub(crate) address: String,
    /// What it answers about the segments of a job: at first, those of the sample's copy.
    pub(crate) segments: Arc<Mutex<Result<Vec<Segment>, Status>>>,
    sessions: mpsc::UnboundedReceiver<Incoming>,
    _server: AbortOnDropHandle<()>,
}

impl Node {
    pub(crate) async fn start() -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, sessions) = mpsc::unbounded_channel();
        let segments = Arc::new(Mutex::new(Ok(copied())));
        let server = tonic::transport::Server::builder()
            .add_service(WorkerServiceServer::new(Service { sessions: sender }))
            .add_service(SegmentServiceServer::new(Lists { segments: Arc::clone(&segments) }))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = AbortOnDropHandle::new(tokio::spawn(async move { server.await.unwrap() }));
        Node { address, segments, sessions, _server: server }
    }

    /// Waits for a worker and welcomes it; its lease is renewed.
    pub(crate) async fn welcome(&mut self, lease_ms: u64) -> Talk {
        self.greet(lease_ms, true).await
    }

    /// Waits for a worker and welcomes it, but gives it no lease.
    pub(crate) async fn welcome_silently(&mut self, lease_ms: u64) -> Talk {
        self.greet(lease_ms, false).await
    }

    async fn greet(&mut self, lease_ms: u64, renewing: bool) -> Talk {
        self.hear().await.welcome(lease_ms, renewing)
    }

    /// Waits for a worker and its hello.
    pub(crate) async fn hear(&mut self) -> Heard {
        let mut incoming = patient(self.sessions.recv()).await.expect("the server runs");
        let hello = patient(incoming.inbound.message()).await.unwrap().and_then(|request| request.message);
        let Some(Request::Hello(hello)) = hello else { panic!("the first message is no hello: {hello:?}") };
        Heard { hello, incoming }
    }

    /// Waits for a worker and sends it to another node.
    pub(crate) async fn refer(&mut self, address: &str) {
        let incoming = patient(self.sessions.recv()).await.expect("the server runs");
        let leader = ferry_proto::v1::Leader { address: address.to_owned(), leader_id: 2 };
        let message = Some(Response::Leader(leader));
        incoming.outbound.send(Ok(SessionResponse { message })).unwrap();
    }
}

/// A worker that has said hello and waits.
pub(crate) struct Heard {
    pub(crate) hello: Hello,
    incoming: Incoming,
}

impl Heard {
    pub(crate) fn welcome(self, lease_ms: u64, renewing: bool) -> Talk {
        let talk = Talk::begin(self.hello, self.incoming, renewing);
        let heartbeat_interval_ms = HEARTBEAT_INTERVAL_MS;
        talk.say(Response::Welcome(Welcome { worker_id: 1, lease_ms, heartbeat_interval_ms, hears_writes: true }));
        talk
    }
}

/// An open session. Heartbeats are answered as long as the lease is renewed, and seen by the test when it is not; dropping
/// it breaks the stream.
pub(crate) struct Talk {
    pub(crate) hello: Hello,
    outbound: Outbound,
    inbox: mpsc::UnboundedReceiver<Request>,
    renewing: Arc<AtomicBool>,
    _pump: AbortOnDropHandle<()>,
}

impl Talk {
    fn begin(hello: Hello, incoming: Incoming, renewing: bool) -> Talk {
        let (sender, inbox) = mpsc::unbounded_channel();
        let renewing = Arc::new(AtomicBool::new(renewing));
        let pump = pump(incoming.inbound, incoming.outbound.clone(), sender, Arc::clone(&renewing));
        let outbound = incoming.outbound;
        Talk { hello, outbound, inbox, renewing, _pump: AbortOnDropHandle::new(tokio::spawn(pump)) }
    }

    pub(crate) fn renew(&self, renewing: bool) {
        self.renewing.store(renewing, Ordering::SeqCst);
    }

    fn say(&self, message: Response) {
        self.outbound.send(Ok(SessionResponse { message: Some(message) })).expect("the session is open");
    }

    pub(crate) fn assign(&self, assign: Assign) {
        self.say(Response::Assign(assign));
    }

    pub(crate) fn claimed(&self, attempt: Attempt) {
        self.say(Response::Claimed(Claimed { attempt: Some(attempt) }));
    }

    pub(crate) fn acknowledge(&self, attempt: Attempt) {
        self.say(Response::Acknowledged(Acknowledged { attempt: Some(attempt) }));
    }

    pub(crate) fn limit(&self, job_id: i64, bandwidth_bytes_per_second: u64) {
        self.say(Response::Limit(Limit { job_id, bandwidth_bytes_per_second, ..Limit::default() }));
    }

    pub(crate) fn drop_attempt(&self, attempt: Attempt) {
        self.say(Response::Drop(Drop { attempt: Some(attempt) }));
    }

    /// The next message for which `pick` has an answer; others, repeats among them, are passed over.
    pub(crate) async fn wait<T>(&mut self, mut pick: impl FnMut(Request) -> Option<T>) -> T {
        loop {
            let message = patient(self.inbox.recv()).await.expect("the session is open");
            if let Some(found) = pick(message) {
                return found;
            }
        }
    }

    /// The same, until the session breaks.
    pub(crate) async fn wait_or_end<T>(&mut self, mut pick: impl FnMut(Request) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = pick(patient(self.inbox.recv()).await?) {
                return Some(found);
            }
        }
    }

    pub(crate) async fn claim(&mut self, attempt: Attempt) -> Claim {
        let claim = |message| match message {
            Request::Claim(claim) if claim.attempt == Some(attempt) => Some(claim),
            Request::Result(result) if result.attempt == Some(attempt) => panic!("no claim but {result:?}"),
            _ => None,
        };
        self.wait(claim).await
    }

    pub(crate) async fn progress(&mut self, attempt: Attempt) -> u64 {
        let progress = |message| match message {
            Request::Progress(progress) if progress.attempt == Some(attempt) => Some(progress.copied_bytes),
            Request::Result(result) if result.attempt == Some(attempt) => panic!("no progress but {result:?}"),
            _ => None,
        };
        self.wait(progress).await
    }

    pub(crate) async fn result(&mut self, attempt: Attempt) -> result::Outcome {
        self.wait(|message| outcome_of(message, attempt)).await
    }

    /// The result of an attempt that must end without having asked to write.
    pub(crate) async fn result_without_claim(&mut self, attempt: Attempt) -> result::Outcome {
        let outcome = |message| match message {
            Request::Claim(claim) if claim.attempt == Some(attempt) => panic!("it asks to write: {claim:?}"),
            message => outcome_of(message, attempt),
        };
        self.wait(outcome).await
    }

    pub(crate) async fn dropped(&mut self, attempt: Attempt) {
        self.wait(|message| is_dropped(&message, attempt).then_some(())).await;
    }

    /// Lets the attempt write, and gives its acknowledged result.
    pub(crate) async fn finish(&mut self, assign: Assign) -> result::Outcome {
        let (attempt, claimed) = (assign.attempt.unwrap(), assign.claimed);
        self.assign(assign);
        let outcome = loop {
            let (claim, outcome) = self
                .wait(|message| match message {
                    Request::Claim(claim) if claim.attempt == Some(attempt) && !claimed => Some((true, None)),
                    message => outcome_of(message, attempt).map(|outcome| (false, Some(outcome))),
                })
                .await;
            if claim {
                self.claimed(attempt);
            }
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        self.acknowledge(attempt);
        outcome
    }
}

pub(crate) fn outcome_of(message: Request, attempt: Attempt) -> Option<result::Outcome> {
    match message {
        Request::Result(result) if result.attempt == Some(attempt) => result.outcome,
        _ => None,
    }
}

pub(crate) fn is_dropped(message: &Request, attempt: Attempt) -> bool {
    matches!(message, Request::Dropped(dropped) if dropped.attempt == Some(attempt))
}

async fn pump(
    mut inbound: Streaming<SessionRequest>,
    outbound: Outbound,
    inbox: mpsc::UnboundedSender<Request>,
    renewing: Arc<AtomicBool>,
) {
    while let Ok(Some(SessionRequest { message: Some(message) })) = inbound.message().await {
        let open = match message {
            Request::Heartbeat(heartbeat) if renewing.load(Ordering::SeqCst) => {
                let message = Some(Response::Renewed(Renewed { sequence: heartbeat.sequence, addresses: Vec::new() }));
                outbound.send(Ok(SessionResponse { message })).is_ok()
            }
            Request::WritesBegin(WritesBegin { attempt, sequence }) => {
                let message = Some(Response::WritesBegun(WritesBegun { attempt, sequence }));
                outbound.send(Ok(SessionResponse { message })).is_ok()
            }
            // When that is said is a matter of time, and tests of stories read what comes in their order.
            Request::WritesSettled(_) => true,
            message => inbox.send(message).is_ok(),
        };
        if !open {
            return;
        }
    }
}

pub(crate) async fn patient<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.expect("what the test waits for happens")
}

/// Waits until the state of the world is as told; looks often.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    patient(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
