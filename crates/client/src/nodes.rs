//! The nodes a client knows: the endpoints it was given, and leaders it was pointed to.
//!
//! Invariant: there is always one current node, and its channel connects by itself, again and again.

use crate::{Error, Options};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// How often an open call asks a silent node whether it is still there, and how long it may think about it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A node, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    pub(crate) channel: Channel,
}

/// The nodes a client knows.
#[derive(Debug)]
pub(crate) struct Nodes {
    given: Vec<String>,
    connect_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: String,
    channels: BTreeMap<String, Channel>,
    addresses_by_id: BTreeMap<u64, String>,
}

impl Nodes {
    pub(crate) fn new(endpoints: Vec<String>, options: &Options) -> Result<Self, Error> {
        let current = endpoints.first().ok_or(Error::NoEndpoint)?.clone();
        let mut channels = BTreeMap::new();
        for endpoint in &endpoints {
            channels.insert(endpoint.clone(), connect(endpoint, options.connect_timeout)?);
        }
        let state = State { current, channels, addresses_by_id: BTreeMap::new() };
        Ok(Self { given: endpoints, connect_timeout: options.connect_timeout, state: Mutex::new(state) })
    }

    /// The node to ask now.
    pub(crate) fn current(&self) -> Node {
        let state = self.state();
        Node { endpoint: state.current.clone(), channel: state.channels[&state.current].clone() }
    }

    /// How many tries make a round over all nodes.
    pub(crate) fn count(&self) -> usize {
        self.given.len()
    }

    /// The given addresses.
    pub(crate) fn given(&self) -> &[String] {
        &self.given
    }

    /// Moves on from `failed` to the next given endpoint, unless another call already has.
    pub(crate) fn leave(&self, failed: &str) {
        let mut state = self.state();
        if state.current == failed {
            let place = self.given.iter().position(|endpoint| endpoint == failed);
            let next = place.map_or(0, |place| (place + 1) % self.given.len());
            state.current = self.given[next].clone();
        }
    }

    /// Goes to a node by its id; false when its address is not known.
    pub(crate) fn go_to(&self, node_id: u64) -> bool {
        let mut state = self.state();
        let Some(address) = state.addresses_by_id.get(&node_id).cloned() else { return false };
        state.current = address;
        true
    }

    /// Remembers where nodes are; addresses that cannot be used are passed over.
    pub(crate) fn learn(&self, nodes: impl IntoIterator<Item = (u64, String)>) {
        for (id, address) in nodes {
            if let Ok(channel) = connect(&address, self.connect_timeout) {
                let mut state = self.state();
                state.channels.entry(address.clone()).or_insert(channel);
                state.addresses_by_id.insert(id, address);
            }
        }
    }

    /// The channel to an address, which need not be among the given.
    pub(crate) fn channel(&self, address: &str) -> Result<Channel, Error> {
        let mut state = self.state();
        if let Some(channel) = state.channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = connect(address, self.connect_timeout)?;
        state.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// No code that holds the lock can panic half-way, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel that connects when it is first used, and again whenever its connection broke.
fn connect(endpoint: &str, connect_timeout: Duration) -> Result<Channel, Error> {
    let bad = |reason: String| Error::BadEndpoint { endpoint: endpoint.to_owned(), reason };
    if endpoint.contains("://") || endpoint.contains('/') {
        return Err(bad("an address has no scheme and no path".to_owned()));
    }
    let authority: http::uri::Authority = endpoint.parse().map_err(|error| bad(format!("{error}")))?;
    match authority.port() {
        None => return Err(bad("the port is missing".to_owned())),
        Some(port) if port.as_str().parse::<u16>().is_err() || port.as_str() == "0" => {
            return Err(bad(format!("{port} is not a port")));
        }
        Some(_) if authority.host().is_empty() => return Err(bad("the host is missing".to_owned())),
        Some(_) => {}
    }
    let channel = Endpoint::from_shared(format!("http://{endpoint}"))
        .map_err(|error| bad(error.to_string()))?
        .connect_timeout(connect_timeout)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(channel)
}
