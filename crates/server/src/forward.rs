//! Calls that only the leader can answer, on a node that does not lead: passed on as they are, once.
//!
//! Invariant: a call that was passed on is never passed on again, and one is sent a second time only when the first
//! connection was not even made.

use crate::channels::Channels;
use crate::deadline;
use crate::status::no_leader;
use bytes::Bytes;
use ferry_raft::Raft;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

/// Marks a call that another node passed on.
const FORWARDED: &str = "ferry-forwarded";
/// Calls that only the leader can answer: every write, and what lives in the leader's memory.
const LEADER_ONLY: [&str; 14] = [
    "/ferry.v1.JobService/SubmitJob",
    SUBMIT_STREAM,
    "/ferry.v1.JobService/CancelJob",
    "/ferry.v1.JobService/CleanUpJob",
    "/ferry.v1.JobService/PauseJob",
    "/ferry.v1.JobService/ResumeJob",
    "/ferry.v1.JobService/UpdateJob",
    "/ferry.v1.JobService/ExplainJob",
    "/ferry.v1.AllocatorService/AllocateIds",
    "/ferry.v1.WorkerService/DrainWorker",
    "/ferry.v1.WorkerService/UndrainWorker",
    "/ferry.v1.ClusterService/AddNode",
    "/ferry.v1.ClusterService/RemoveNode",
    "/ferry.v1.ClusterService/TransferLeadership",
];
/// The one of them whose request is a stream.
const SUBMIT_STREAM: &str = "/ferry.v1.JobService/SubmitJobStream";
/// A new look for the leader after a connection was refused.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// A leader that hangs or vanished is waited for this long once another one leads.
const DEPOSED_ANSWERS_FOR: Duration = Duration::from_millis(500);
/// What the length prefix of a message adds to it.
const PREFIX_BYTES: usize = 5;

/// Finds the leader and passes calls on to it.
#[derive(Clone)]
pub(crate) struct Forwarder {
    pub(crate) raft: Raft,
    pub(crate) node_id: u64,
    pub(crate) channels: Channels,
    /// For calls without a deadline of their own.
    pub(crate) timeout: Duration,
    /// Largest request message.
    pub(crate) message_bytes_max: usize,
}

/// Where a call is answered.
pub(crate) enum Route {
    /// By this node's own services.
    Here(Request<Body>),
    /// It is answered already, by the leader or because there is none.
    Answered(Response<Body>),
}

impl Forwarder {
    /// Answers a call, or leaves it to this node's services.
    pub(crate) async fn route(&self, request: Request<Body>) -> Route {
        if !LEADER_ONLY.contains(&request.uri().path()) || self.leads() {
            return Route::Here(request);
        }
        if request.headers().contains_key(FORWARDED) {
            return Route::Answered(no_leader(self.raft.leader().map(|(id, _)| id)).into_http());
        }
        let forwarded = match request.uri().path() == SUBMIT_STREAM {
            true => self.forward_stream(request).await,
            false => self.forward(request).await,
        };
        match forwarded {
            Ok(route) => route,
            Err(status) => Route::Answered(status.into_http()),
        }
    }

    /// When a call that only the leader answers is given up here, so that its client still hears of it.
    pub(crate) fn give_up_at(&self, request: &Request<Body>) -> Option<Instant> {
        let given = LEADER_ONLY.contains(&request.uri().path()).then(|| deadline::given_in(request.headers()))?;
        given.map(|given| deadline::for_answer(Instant::now() + given))
    }

    fn leads(&self) -> bool {
        self.raft.leader().is_some_and(|(id, _)| id == self.node_id)
    }

    /// The answer to a message beyond the limit.
    pub(crate) fn too_large(&self) -> Status {
        Status::resource_exhausted(format!(
            "the request message is larger than {} bytes: shorten its fields, or send fewer mappings in one message \
             (SubmitJobStream takes any number of messages)",
            self.message_bytes_max
        ))
    }

    async fn forward(&self, request: Request<Body>) -> Result<Route, Status> {
        let (mut head, body) = request.into_parts();
        let given = deadline::given_in(&head.headers).map(|given| deadline::for_answer(Instant::now() + given));
        let deadline = given.unwrap_or_else(|| Instant::now() + self.timeout);
        let body = self.whole(body).await?;
        head.headers.insert(FORWARDED, HeaderValue::from_static("1"));
        loop {
            let Some((id, address)) = self.raft.wait_leader(deadline).await else { return Err(no_leader(None)) };
            let request = Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
            if id == self.node_id {
                return Ok(Route::Here(request));
            }
            let channel = self.channels.get(&address).ok_or_else(|| no_leader(Some(id)))?;
            match self.send_to(id, channel, request, given).await {
                Ok(response) => return Ok(Route::Answered(response)),
                Err(Unsent::Never) if Instant::now() + RETRY_INTERVAL < deadline => {
                    // Either that one comes back, or another leads: what is first is tried.
                    let _ = timeout(RETRY_INTERVAL, self.raft.other_leader(id)).await;
                }
                Err(Unsent::Never) => return Err(no_leader(Some(id))),
                Err(Unsent::Perhaps(reason)) => return Err(broke(id, &reason)),
            }
        }
    }

    /// A stream is passed on as it comes, never held; what was sent of it is gone, so it is sent once.
    async fn forward_stream(&self, request: Request<Body>) -> Result<Route, Status> {
        let (mut head, body) = request.into_parts();
        let given = deadline::given_in(&head.headers).map(|given| deadline::for_answer(Instant::now() + given));
        head.headers.insert(FORWARDED, HeaderValue::from_static("1"));
        let deadline = given.unwrap_or_else(|| Instant::now() + self.timeout);
        let Some((id, address)) = self.raft.wait_leader(deadline).await else { return Err(no_leader(None)) };
        let request = Request::from_parts(head, body);
        if id == self.node_id {
            return Ok(Route::Here(request));
        }
        let channel = self.channels.get(&address).ok_or_else(|| no_leader(Some(id)))?;
        match self.send_to(id, channel, request, given).await {
            Ok(response) => Ok(Route::Answered(response)),
            Err(Unsent::Never) => Err(no_leader(Some(id))),
            Err(Unsent::Perhaps(reason)) => Err(broke(id, &reason)),
        }
    }

    async fn send_to(
        &self,
        leader: u64,
        channel: Channel,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Unsent> {
        tokio::select! {
            answered = send(channel, request, deadline) => answered,
            () = self.deposed(leader) => Err(Unsent::Perhaps("it does not answer, and leads no more".to_owned())),
        }
    }

    /// Ends when another node leads and the former leader had the time to answer what it was still asked.
    async fn deposed(&self, leader: u64) {
        self.raft.other_leader(leader).await;
        sleep(DEPOSED_ANSWERS_FOR).await;
    }

    async fn whole(&self, body: Body) -> Result<Bytes, Status> {
        let collected = Limited::new(body, self.message_bytes_max + PREFIX_BYTES).collect().await;
        match collected {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(self.too_large()),
            Err(error) => Err(Status::cancelled(format!("the request broke off: {error}"))),
        }
    }
}

fn broke(leader: u64, reason: &str) -> Status {
    let message = format!(
        "the connection to the leader, node {leader}, broke: {reason}; repeat the call (with the same request_id for a \
         submit)"
    );
    Status::new(Code::Unavailable, message)
}

/// Why a call has no answer from the leader.
enum Unsent {
    /// No connection was made.
    Never,
    /// It may have arrived.
    Perhaps(String),
}

/// Sends a call; without a deadline of its client the leader takes the time it needs, as it would without this node.
async fn send(
    mut channel: Channel,
    request: Request<Body>,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Unsent> {
    let answer = async {
        let channel = channel.ready().await?;
        channel.call(request).await
    };
    let answered = match deadline {
        Some(deadline) => timeout_at(deadline, answer).await,
        None => Ok(answer.await),
    };
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) if never_connected(&error) => Err(Unsent::Never),
        Ok(Err(error)) => Err(Unsent::Perhaps(error.to_string())),
        Err(_) => Err(Unsent::Perhaps("no answer within the deadline".to_owned())),
    }
}

fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
