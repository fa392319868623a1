//! The sending half of replication: one stream of requests to a peer, its answers in the same order.
//!
//! The requests are pulled by the very stream that yields the answers: when openraft drops it, nothing goes on
//! reading the log on behalf of a session that is over.

use crate::peers::Peer;
use crate::types::Types;
use crate::wire;
use ferry_proto::internal::v1 as proto;
use futures::StreamExt;
use futures::stream::{BoxStream, Stream};
use openraft::RPCTypes;
use openraft::errors::{NetworkError, RPCError, Timeout, Unreachable};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// Requests on their way before the sender waits for an answer; each holds up to `log::READ_BYTES_MAX`.
const REQUESTS_IN_FLIGHT_MAX: usize = 16;

pub(crate) type Appended = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Sends `input` to the peer and yields its answers.
pub(crate) async fn exchange<'s, S>(
    peer: &Peer,
    from: u64,
    mut input: S,
) -> Result<BoxStream<'s, Appended>, RPCError<Types>>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    // The stream is opened with its first request: an idle follower costs nothing, a heartbeat one round trip.
    let Some(first) = input.next().await else { return Ok(Box::pin(futures::stream::empty())) };
    let (sender, receiver) = mpsc::channel(REQUESTS_IN_FLIGHT_MAX);
    let gone = timed_out(peer, from);
    sender.try_send(wire::append_to_proto(first)).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
    let answers = async { peer.client.clone().append(peer.request(ReceiverStream::new(receiver)).await?).await };
    let answers = match timeout(peer.answer_timeout, answers).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Err(rpc_error(&status)),
        Err(_) => return Err(gone),
    };
    let deadline = Some(Instant::now() + peer.answer_timeout);
    let session =
        Session { input: Some(input), sender: Some(sender), answers, waiting: 1, deadline, gone, peer: peer.clone() };
    Ok(Box::pin(futures::stream::unfold(Some(session), step)))
}

struct Session<S> {
    input: Option<S>,
    sender: Option<mpsc::Sender<proto::RaftAppendRequest>>,
    answers: Streaming<proto::RaftAppendResponse>,
    /// Requests without an answer.
    waiting: usize,
    /// When the oldest of them is given up.
    deadline: Option<Instant>,
    gone: RPCError<Types>,
    peer: Peer,
}

/// What happened next in a session.
enum Event {
    Request(Option<AppendEntriesRequest<Types>>),
    Answer(Result<Option<proto::RaftAppendResponse>, Status>),
    Late,
}

async fn step<S>(session: Option<Session<S>>) -> Option<(Appended, Option<Session<S>>)>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    let mut session = session?;
    loop {
        if session.input.is_none() && session.waiting == 0 {
            return None;
        }
        match session.next_event().await {
            Event::Request(request) => session.send(request).await,
            Event::Answer(Ok(Some(answer))) => return Some(session.answered(answer)),
            Event::Answer(Ok(None)) => return Some((Err(closed()), None)),
            Event::Answer(Err(status)) => return Some((Err(rpc_error(&status)), None)),
            Event::Late => return Some((Err(session.gone), None)),
        }
    }
}

impl<S> Session<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    async fn next_event(&mut self) -> Event {
        let may_send = self.waiting < REQUESTS_IN_FLIGHT_MAX;
        let deadline = self.deadline;
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let request = async {
            match &mut self.input {
                Some(input) if may_send => input.next().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = self.answers.message() => Event::Answer(answer),
            request = request => Event::Request(request),
            () = late => Event::Late,
        }
    }

    async fn send(&mut self, request: Option<AppendEntriesRequest<Types>>) {
        let (Some(request), Some(sender)) = (request, &self.sender) else {
            self.input = None;
            self.sender = None;
            return;
        };
        // There is room: fewer requests wait than the channel holds. A closed channel shows as the end of the answers.
        let sent = sender.send(wire::append_to_proto(request)).await;
        self.waiting += 1;
        self.deadline.get_or_insert_with(|| Instant::now() + self.peer.answer_timeout);
        if sent.is_err() {
            self.input = None;
            self.sender = None;
        }
    }

    fn answered(mut self, answer: proto::RaftAppendResponse) -> (Appended, Option<Self>) {
        self.waiting = self.waiting.saturating_sub(1);
        self.deadline = (self.waiting > 0).then(|| Instant::now() + self.peer.answer_timeout);
        match wire::appended_from_proto(answer) {
            Ok(Ok(matched)) => (Ok(Ok(matched)), Some(self)),
            Ok(Err(refused)) => (Ok(Err(refused)), None),
            Err(error) => (Err(RPCError::Network(NetworkError::new(&error))), None),
        }
    }
}

fn closed() -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string("the peer ended the stream"))
}

/// A peer that let a request time out.
pub(crate) fn timed_out(peer: &Peer, from: u64) -> RPCError<Types> {
    let action = RPCTypes::AppendEntries;
    RPCError::Timeout(Timeout { action, id: from, target: peer.id, timeout: peer.answer_timeout })
}

/// A failed request as openraft wants it: all but a stream that broke in the middle is backed off from.
pub(crate) fn rpc_error(status: &Status) -> RPCError<Types> {
    let message = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled | Code::Unknown | Code::Internal => RPCError::Network(NetworkError::from_string(message)),
        _ => RPCError::Unreachable(Unreachable::from_string(message)),
    }
}
