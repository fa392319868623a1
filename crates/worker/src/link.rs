//! Finds the leader and keeps a stream open to it, for ever: any endpoint leads there, and whatever breaks is tried again
//! with growing, jittered pauses.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use ferry_proto::v1::session_response::Message;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{SessionRequest, SessionResponse};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node may take to say whether it leads; committing the worker's name is part of it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle connection is probed, and how long it may stay silent then.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Nodes that point at each other are not followed further than this without a pause.
const HOPS_MAX: u32 = 5;
/// Messages on their way to the leader. What does not fit is said again later.
const OUTBOUND_MAX: usize = 4_096;

/// What happens on the link.
#[derive(Debug)]
pub(crate) enum Event {
    /// A stream is about to open; its first message has to be sent at once.
    Opening {
        /// Takes messages to the node.
        outbound: mpsc::Sender<SessionRequest>,
        /// Ends the stream from our side.
        hang_up: CancellationToken,
    },
    /// The leader says something.
    Message(Box<Message>),
    /// The stream is gone.
    Closed,
}

/// Which node to try next.
#[derive(Debug)]
struct Route {
    /// What the worker was started with.
    endpoints: Vec<String>,
    /// The nodes of the cluster, as the last leader knew them, and then what the worker was started with.
    known: Vec<String>,
    next: usize,
    hint: Option<String>,
    hops: u32,
}

impl Route {
    fn new(endpoints: Vec<String>) -> Route {
        Route { known: endpoints.clone(), endpoints, next: 0, hint: None, hops: 0 }
    }

    fn address(&mut self) -> String {
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        let address = self.known[self.next % self.known.len()].clone();
        self.next += 1;
        address
    }

    /// The leader says where the nodes are now; one of an older version does not.
    fn learn(&mut self, addresses: &[String]) {
        if addresses.is_empty() {
            return;
        }
        let others = self.endpoints.iter().filter(|endpoint| !addresses.contains(&without_scheme(endpoint)));
        let known: Vec<String> = addresses.iter().chain(others).cloned().collect();
        if known != self.known {
            tracing::info!(nodes = ?addresses, "these are the nodes of the cluster");
            self.known = known;
            self.next = 0;
        }
    }

    /// A node says who leads; whether to go there at once.
    fn follow(&mut self, leader: String) -> bool {
        self.hops += 1;
        if leader.is_empty() || self.hops > HOPS_MAX {
            self.hops = 0;
            return false;
        }
        self.hint = Some(leader);
        true
    }

    /// The leader was found: the next search begins with the nodes that it named.
    fn arrived(&mut self) {
        self.hops = 0;
        self.next = 0;
    }
}

/// How a visit to a node ended.
#[derive(Debug)]
enum Visit {
    /// It does not lead.
    Elsewhere(String),
    /// It led, until the stream broke.
    Led,
    /// It led, and said in the end who leads now.
    HandedOver(String),
    /// It could not be reached, or did not answer.
    Failed(String),
}

/// Runs until nobody listens to the events; `leader` has the connection while its session is open.
pub(crate) async fn run(endpoints: Vec<String>, events: mpsc::Sender<Event>, leader: watch::Sender<Option<Channel>>) {
    let mut route = Route::new(endpoints);
    let mut pauses = pauses();
    let mut said = BTreeMap::new();
    while !events.is_closed() {
        let address = route.address();
        let visited = visit(&address, &mut route, &events, &leader).await;
        leader.send_replace(None);
        match visited {
            Visit::Elsewhere(leader) => {
                tracing::debug!(%address, %leader, "this node does not lead");
                if route.follow(leader) {
                    continue;
                }
            }
            Visit::HandedOver(leader) => {
                tracing::info!(%address, %leader, "the leadership was handed over");
                route.arrived();
                pauses = self::pauses();
                said.clear();
                if route.follow(leader) {
                    continue;
                }
            }
            Visit::Led => {
                tracing::warn!(%address, "the session with the leader has ended; looking for the leader");
                route.arrived();
                pauses = self::pauses();
                said.clear();
            }
            // Each reason is said aloud once per node, however often it is tried.
            Visit::Failed(reason) if said.get(&address) == Some(&reason) => {
                tracing::debug!(%address, %reason, "this node still cannot be asked");
            }
            Visit::Failed(reason) => {
                tracing::warn!(%address, %reason, "this node cannot be asked for the leader; trying again");
                said.insert(address, reason);
            }
        }
        tokio::time::sleep(pauses.next().unwrap_or(PAUSE_MAX)).await;
    }
}

fn pauses() -> ExponentialBackoff {
    let builder = ExponentialBuilder::new().with_min_delay(PAUSE_FIRST).with_max_delay(PAUSE_MAX);
    builder.without_max_times().with_jitter().build()
}

async fn visit(
    address: &str,
    route: &mut Route,
    events: &mpsc::Sender<Event>,
    leader: &watch::Sender<Option<Channel>>,
) -> Visit {
    let channel = match connect(address).await {
        Ok(channel) => channel,
        Err(error) => return Visit::Failed(causes(&error)),
    };
    let (outbound, requests) = mpsc::channel(OUTBOUND_MAX);
    let hang_up = CancellationToken::new();
    if events.send(Event::Opening { outbound, hang_up: hang_up.clone() }).await.is_err() {
        return Visit::Failed("the worker is ending".into());
    }
    let visit = tokio::select! {
        () = hang_up.cancelled() => Visit::Led,
        visit = converse(channel, requests, route, events, leader) => visit,
    };
    // Nobody listens only when the worker is ending.
    let _ = events.send(Event::Closed).await;
    visit
}

fn without_scheme(endpoint: &str) -> String {
    endpoint.split_once("://").map_or(endpoint, |(_, address)| address).to_owned()
}

/// An error with its causes: a transport's own message does not say why.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(uri)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    endpoint.connect().await
}

async fn converse(
    channel: Channel,
    requests: mpsc::Receiver<SessionRequest>,
    route: &mut Route,
    events: &mpsc::Sender<Event>,
    leader: &watch::Sender<Option<Channel>>,
) -> Visit {
    let opened = tokio::time::timeout(OPEN_TIMEOUT, open(channel.clone(), requests)).await;
    let (first, mut answers) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(status)) => return Visit::Failed(status.to_string()),
        Err(_) => return Visit::Failed("no answer in time".into()),
    };
    let mut next = first;
    let mut welcomed = false;
    loop {
        match next.and_then(|answer| answer.message) {
            Some(Message::Leader(other)) if welcomed => return Visit::HandedOver(other.address),
            Some(Message::Leader(other)) => return Visit::Elsewhere(other.address),
            Some(message) => {
                if !welcomed {
                    leader.send_replace(Some(channel.clone()));
                    welcomed = true;
                }
                if let Message::Renewed(renewed) = &message {
                    route.learn(&renewed.addresses);
                }
                if events.send(Event::Message(Box::new(message))).await.is_err() {
                    return Visit::Led;
                }
            }
            None => return Visit::Led,
        }
        next = match answers.message().await {
            Ok(answer) => answer,
            Err(status) => {
                tracing::debug!(%status, "the stream broke");
                return Visit::Led;
            }
        };
    }
}

type Opened = (Option<SessionResponse>, Streaming<SessionResponse>);

/// Opens the stream and waits for the node's first answer.
async fn open(channel: Channel, requests: mpsc::Receiver<SessionRequest>) -> Result<Opened, tonic::Status> {
    let mut client = WorkerServiceClient::new(channel);
    let mut answers = client.session(ReceiverStream::new(requests)).await?.into_inner();
    Ok((answers.message().await?, answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route::new(vec!["a".into(), "b".into()])
    }

    #[test]
    fn endpoints_are_tried_in_turn() {
        let mut route = route();
        assert_eq!([route.address(), route.address(), route.address()], ["a", "b", "a"]);
    }

    #[test]
    fn nodes_that_the_leader_named_are_tried_before_the_endpoints_and_these_for_ever() {
        let mut route = Route::new(vec!["a".into(), "http://b".into()]);
        let mut round = |named: &[&str]| {
            route.learn(&named.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            (0..4).map(|_| route.address()).collect::<Vec<_>>()
        };
        assert_eq!(round(&["c", "b"]), ["c", "b", "a", "c"]);
        assert_eq!(round(&["c", "b"]), ["b", "a", "c", "b"], "naming them again begins nothing anew");
        assert_eq!(round(&["c"]), ["c", "a", "http://b", "c"], "one was removed");
        assert_eq!(round(&[]), ["a", "http://b", "c", "a"], "an older leader names none");
    }

    #[test]
    fn every_search_begins_with_the_nodes_that_the_leader_named() {
        let mut route = route();
        route.learn(&["c".into(), "d".into()]);
        assert_eq!([route.address(), route.address(), route.address()], ["c", "d", "a"]);
        route.arrived();
        assert_eq!(route.address(), "c");
    }

    #[test]
    fn a_hint_is_followed_once() {
        let mut route = route();
        assert!(route.follow("leader".into()));
        assert_eq!([route.address(), route.address()], ["leader", "a"]);
    }

    #[test]
    fn no_leader_known_means_a_pause() {
        assert!(!route().follow(String::new()));
    }

    #[test]
    fn nodes_that_point_at_each_other_are_not_followed_for_ever() {
        let mut route = route();
        let followed = (0..20).take_while(|_| route.follow("other".into())).count();
        assert_eq!(followed, HOPS_MAX as usize);
    }
}
