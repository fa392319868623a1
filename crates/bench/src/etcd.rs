//! The peer: three nodes of etcd 3.5 with its defaults, which sync every write, each a process with a folder of its own.

use crate::load::CONNECTIONS;
use crate::process::{Process, free_addresses};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

use api::kv_client::KvClient;
use api::maintenance_client::MaintenanceClient;
use api::{PutRequest, RequestOp, TxnRequest, request_op};

/// The part of etcd's API that is spoken here; see `proto/etcd.proto`.
#[expect(unreachable_pub, reason = "generated")]
#[expect(clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
pub(crate) mod api {
    tonic::include_proto!("etcdserverpb");
}

/// How long the nodes may take to elect one of them.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const NODES: usize = 3;
/// Operations that etcd takes in one transaction, by its default.
pub(crate) const OPERATIONS_MAX: usize = 128;

/// Makes one of etcd's calls.
pub(crate) type Kv = KvClient<Channel>;

/// Where etcd is found, for the benchmarks that compare with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// The etcd that is measured beside Ferry; `scripts/setup --bench` puts one there.
    #[arg(long, value_name = "FILE", default_value = ".tools/etcd")]
    etcd: PathBuf,
}

/// The nodes; killed when dropped.
pub(crate) struct Etcd {
    _processes: Vec<Process>,
    /// Addresses for clients.
    leader: String,
    followers: Vec<String>,
    version: String,
}

impl Etcd {
    /// Starts the nodes and waits until one leads.
    pub(crate) async fn start(peer: &Peer, folder: &Path) -> anyhow::Result<Self> {
        let addresses = free_addresses(2 * NODES)?;
        let (clients, peers) = addresses.split_at(NODES);
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(node, address)| format!("node-{node}=http://{address}")).collect();
        let mut processes = Vec::new();
        for (node, (client, peer_address)) in clients.iter().zip(peers).enumerate() {
            let (client, peer_address) = (format!("http://{client}"), format!("http://{peer_address}"));
            let mut command = Command::new(&peer.etcd);
            command.args(["--name", &format!("node-{node}"), "--log-level", "warn", "--data-dir"]);
            command.arg(folder.join(format!("etcd-{node}")));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer_address, "--initial-advertise-peer-urls", &peer_address]);
            command.args(["--initial-cluster", &cluster.join(","), "--initial-cluster-token", "bench"]);
            let started = Process::start(&mut command, &folder.join(format!("etcd-{node}.log")));
            processes.push(started.context("there is no etcd: run scripts/setup --bench, or name one with --etcd")?);
        }
        let (leader, version) = find_leader(clients, folder).await?;
        let followers = clients.iter().filter(|address| **address != leader).cloned().collect();
        Ok(Self { _processes: processes, leader, followers, version })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Clients of the leader, each with a connection of its own.
    pub(crate) fn clients_of_leader(&self) -> anyhow::Result<Vec<Kv>> {
        (0..CONNECTIONS).map(|_| Ok(KvClient::new(channel(&self.leader)?))).collect()
    }

    /// Clients of the followers in turn, each with a connection of its own.
    pub(crate) fn clients_of_followers(&self) -> anyhow::Result<Vec<Kv>> {
        let addresses = self.followers.iter().cycle().take(CONNECTIONS);
        addresses.map(|address| Ok(KvClient::new(channel(address)?))).collect()
    }
}

/// The address of the node that leads, and its version.
async fn find_leader(addresses: &[String], folder: &Path) -> anyhow::Result<(String, String)> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for address in addresses {
            let asked = MaintenanceClient::new(channel(address)?).status(api::StatusRequest {}).await;
            let status = asked.map(tonic::Response::into_inner).unwrap_or_default();
            let member = status.header.as_ref().map(|header| header.member_id);
            if status.leader != 0 && member == Some(status.leader) {
                return Ok((address.clone(), status.version));
            }
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("no node of etcd leads after {PATIENCE:?}; see the logs in {}", folder.display())
}

/// Connects as Ferry's client does.
pub(crate) fn channel(address: &str) -> anyhow::Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect_lazy())
}

/// Writes one key.
pub(crate) async fn put(mut kv: Kv, key: String, value: Vec<u8>) -> anyhow::Result<()> {
    kv.put(PutRequest { key: key.into(), value: value.into() }).await?;
    Ok(())
}

/// Does all of this in one transaction.
pub(crate) async fn transaction(mut kv: Kv, operations: Vec<RequestOp>) -> anyhow::Result<()> {
    kv.txn(TxnRequest { success: operations }).await?;
    Ok(())
}

/// Writes one key, as a part of a transaction.
pub(crate) fn put_operation((key, value): (String, Vec<u8>)) -> RequestOp {
    let put = PutRequest { key: key.into(), value: value.into() };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Reads keys, as a part of a transaction.
pub(crate) fn range_operation(range: api::RangeRequest) -> RequestOp {
    RequestOp { request: Some(request_op::Request::RequestRange(range)) }
}
