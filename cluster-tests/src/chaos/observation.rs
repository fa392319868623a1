//! What the nodes say of themselves, asked over the network with a new connection each time: the proof that a fault had
//! its effect.

use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::{GetStatusRequest, NodeRole};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A node that does not answer within this time is not heard.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// A node, as it sees itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) term: u64,
    /// It says that it leads, and that it has heard so from a majority.
    pub(crate) leads: bool,
    pub(crate) applied: u64,
    /// The nodes it knows.
    pub(crate) members: Vec<u64>,
    /// It has no vote.
    pub(crate) learns: bool,
}

/// Who leads, and in which term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leader {
    pub(crate) term: u64,
    pub(crate) id: u64,
}

/// A connection that is used for one question or a few.
///
/// # Panics
/// When the address is none.
pub(crate) fn channel(address: &str, timeout: Duration) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URI");
    endpoint.connect_timeout(timeout).timeout(timeout).connect_lazy()
}

/// Asks one node.
pub(crate) async fn ask(address: &str) -> Option<Seen> {
    let mut client = ClusterServiceClient::new(channel(address, PATIENCE));
    let question = client.get_status(GetStatusRequest { local_only: true });
    let status = tokio::time::timeout(PATIENCE, question).await.ok()?.ok()?.into_inner();
    let itself = status.nodes.iter().find(|node| node.id == status.node_id)?;
    Some(Seen {
        id: status.node_id,
        term: status.term,
        leads: status.leader_id == status.node_id && itself.role() == NodeRole::Leader,
        applied: itself.last_applied_index,
        learns: itself.role() == NodeRole::Learner,
        members: status.nodes.iter().map(|node| node.id).collect(),
    })
}

/// The leader of the highest term among those seen.
pub(crate) fn leader(seen: &[Seen]) -> Option<Leader> {
    seen.iter().filter(|node| node.leads).map(|node| Leader { term: node.term, id: node.id }).max()
}
