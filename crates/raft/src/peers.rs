//! Connections to the other nodes: made when first used, kept, and shared by everyone who talks to that node.

use crate::config::Config;
use crate::gate::Gate;
use crate::types::Core;
use ferry_proto::internal::v1 as proto;
use ferry_proto::internal::v1::raft_service_client::RaftServiceClient;
use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Bytes of one message between nodes: far above what a sender puts in one (`log::READ_BYTES_MAX` and one entry more).
pub(crate) const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// An idle connection is probed this often, so that a peer that vanished without a word is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Between two greetings of members that were not met yet.
const GREETING_PAUSE: Duration = Duration::from_millis(500);

/// What a connection is for. Each kind has its own, so that bulk data never delays a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Votes, heartbeats, read indexes: small and urgent.
    Control,
    /// Log entries.
    Log,
    /// Checkpoints.
    Checkpoint,
}

/// The connections of one node; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gate: Gate,
    connect_timeout: Duration,
    answer_timeout: Duration,
    channels: Mutex<HashMap<(Lane, String), Channel>>,
}

/// One node as its peers reach it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) client: RaftServiceClient<Channel>,
    pub(crate) gate: Gate,
    /// After this long without an answer the peer counts as gone.
    pub(crate) answer_timeout: Duration,
}

impl Peer {
    /// A request for this peer, which is greeted first where it was not met yet.
    pub(crate) async fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let folder_id = match self.gate.folder_of(self.id) {
            Some(folder_id) => folder_id,
            None => self.greet().await?,
        };
        Ok(self.gate.request(self.id, folder_id, message))
    }

    /// Has this peer write down this node, then the other way round.
    async fn greet(&self) -> Result<u64, Status> {
        let greeting = self.gate.greeting(self.id, proto::RaftGreetRequest {});
        let answer = self.client.clone().greet(greeting).await.inspect_err(|refusal| self.gate.heed(refusal))?;
        let folder_id = answer.into_inner().folder_id;
        self.gate.meet(self.id, folder_id).await?;
        Ok(folder_id)
    }
}

impl Peers {
    pub(crate) fn new(gate: Gate, config: &Config) -> Self {
        Self(Arc::new(Shared {
            gate,
            connect_timeout: Duration::from_millis(config.election_max_ms),
            answer_timeout: config.peer_timeout(),
            channels: Mutex::default(),
        }))
    }

    /// The peer with this id and address. An address that is none gives a peer that cannot be reached.
    pub(crate) fn get(&self, lane: Lane, id: u64, address: &str) -> Peer {
        let mut channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (lane, address.to_owned());
        let channel = channels.entry(key).or_insert_with(|| self.connect(address)).clone();
        let client = RaftServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Peer { id, client, gate: self.0.gate.clone(), answer_timeout: self.0.answer_timeout }
    }

    fn connect(&self, address: &str) -> Channel {
        let url = match address.contains("://") {
            true => address.to_owned(),
            false => format!("http://{address}"),
        };
        let endpoint = Endpoint::from_shared(url).unwrap_or_else(|error| {
            tracing::error!(address, %error, "the address of a peer is none: correct it in the configuration");
            Endpoint::from_static("http://invalid.invalid:1")
        });
        endpoint
            .connect_timeout(self.0.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(self.0.answer_timeout)
            .keep_alive_while_idle(true)
            .connect_lazy()
    }
}

/// Greets every member until it is met. A follower has nothing else to say to another, but once the leader is dead it
/// must know one that came back without its folder.
pub(crate) async fn meet_members(core: Core, peers: Peers) {
    let gate = &peers.0.gate;
    let mut metrics = core.server_metrics();
    loop {
        let unmet: Vec<Peer> = {
            let metrics = metrics.borrow_and_update();
            let nodes = metrics.membership_config.membership().nodes();
            let unmet = nodes.filter(|(id, _)| **id != metrics.id && gate.folder_of(**id).is_none());
            unmet.map(|(id, node)| peers.get(Lane::Control, *id, &node.address)).collect()
        };
        if unmet.is_empty() {
            if metrics.changed().await.is_err() {
                return;
            }
            continue;
        }
        // Whoever does not answer, or refuses, is asked again; who refuses for good has this node end.
        join_all(unmet.iter().map(|peer| timeout(peer.answer_timeout, peer.greet()))).await;
        sleep(GREETING_PAUSE).await;
    }
}
