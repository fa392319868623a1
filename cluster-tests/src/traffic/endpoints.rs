//! The nodes as clients know them, and one connection to each address.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A connection that answers no ping for this long is made anew: after a partition nobody waits for TCP's patience.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const PING_INTERVAL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Addresses by node.
pub(crate) struct Endpoints(Mutex<Known>);

struct Known {
    addresses: BTreeMap<u64, String>,
    channels: BTreeMap<String, Channel>,
}

impl Endpoints {
    pub(crate) fn new(addresses: BTreeMap<u64, String>) -> Self {
        Self(Mutex::new(Known { addresses, channels: BTreeMap::new() }))
    }

    /// Other nodes from now on.
    pub(crate) fn set(&self, addresses: BTreeMap<u64, String>) {
        self.known(|known| known.addresses = addresses);
    }

    /// The ids of all nodes.
    pub(crate) fn nodes(&self) -> Vec<u64> {
        self.known(|known| known.addresses.keys().copied().collect())
    }

    /// The connection to a node, made when it is first used; none for a node that is not there any more.
    ///
    /// # Panics
    /// When its address is none.
    pub(crate) fn channel(&self, node: u64) -> Option<Channel> {
        self.known(|known| {
            let address = known.addresses.get(&node)?.clone();
            let channel = known.channels.entry(address).or_insert_with_key(|address| connect(address));
            Some(channel.clone())
        })
    }

    fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn connect(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_lazy()
}
