//! ClusterService: how the nodes stand, asked of each of them, and the recount of the invariants.

use super::Services;
use super::backup::{self, BackupStream};
use super::digest::Digested;
use crate::wire;
use ferry_machine::view;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::cluster_service_server::ClusterService;
use ferry_proto::v1::{
    AddNodeRequest, AddNodeResponse, BackupRequest, CheckInvariantsRequest, CheckInvariantsResponse, GetStatusRequest,
    GetStatusResponse, Node, NodeRole, RemoveNodeRequest, RemoveNodeResponse, TransferLeadershipRequest,
    TransferLeadershipResponse,
};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status, async_trait};

/// Checks of all rows that run at once; others wait for their turn.
pub(crate) const CHECKS_AT_ONCE_MAX: usize = 2;
/// A node that does not answer within this time counts as not reachable.
const PEER_TIMEOUT: Duration = Duration::from_millis(1_000);

#[async_trait]
impl ClusterService for Services {
    type BackupStream = BackupStream;

    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let mut status = self.local_status();
        if !request.into_inner().local_only {
            self.ask_peers(&mut status).await;
        }
        Ok(self.reads.stamp().answer(status))
    }

    async fn check_invariants(
        &self,
        request: Request<CheckInvariantsRequest>,
    ) -> Result<Response<CheckInvariantsResponse>, Status> {
        let place = self.checks.clone().acquire_owned().await;
        let place = place.map_err(|_| Status::unavailable("this node stops: ask another"))?;
        let reading = self.reads.open(request.get_ref().consistency, request.metadata()).await?;
        // Every row is read, which takes as long as it takes: not on a thread that others wait for. It goes on when its
        // caller is gone, so it keeps its place until its end.
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            let violations = ferry_machine::check(&reading.view);
            (violations, Digested::of(&reading.view), reading)
        });
        let (violations, digested, reading) = checked.await.map_err(|error| Status::internal(error.to_string()))?;
        let violations = violations.iter().map(ToString::to_string).collect();
        let Digested { rows, digest } = digested;
        reading.answer(CheckInvariantsResponse { violations, rows_checked: rows, rows_digest: digest })
    }

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<BackupStream>, Status> {
        backup::backup(self, request).await
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Result<Response<AddNodeResponse>, Status> {
        let deadline = self.reads.deadline(request.metadata());
        self.add(request.into_inner(), deadline).await?;
        Ok(self.reads.stamp().answer(AddNodeResponse { nodes: self.nodes().await }))
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Result<Response<RemoveNodeResponse>, Status> {
        let deadline = self.reads.deadline(request.metadata());
        let nodes = self.remove(request.into_inner().node_id, deadline).await?;
        Ok(self.reads.stamp().answer(RemoveNodeResponse { nodes }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let deadline = self.reads.deadline(request.metadata());
        let leader_id = self.transfer(request.into_inner().node_id, deadline).await?;
        let term = self.raft.status().term;
        Ok(self.reads.stamp().answer(TransferLeadershipResponse { leader_id, term }))
    }
}

impl Services {
    /// Every node, as each says of itself; but who votes is what this node, which leads, has had agreed on: a node that
    /// was just given its vote may not know yet.
    pub(super) async fn nodes(&self) -> Vec<Node> {
        let mut status = self.local_status();
        self.ask_peers(&mut status).await;
        let members = self.raft.status().members;
        for node in &mut status.nodes {
            if node.role() == NodeRole::Learner && members.get(&node.id).is_some_and(|member| member.voter) {
                node.set_role(NodeRole::Follower);
            }
        }
        status.nodes
    }

    /// What this node knows by itself.
    fn local_status(&self) -> GetStatusResponse {
        let raft = self.raft.status();
        let role = wire::node_role(raft.role);
        let mut nodes: Vec<Node> = raft
            .members
            .iter()
            .map(|(id, member)| Node { id: *id, address: member.address.clone(), ..Node::default() })
            .collect();
        let this = match nodes.iter_mut().position(|node| node.id == self.config.id) {
            Some(index) => &mut nodes[index],
            None => {
                let address = self.config.advertised().to_owned();
                nodes.push(Node { id: self.config.id, address, ..Node::default() });
                let last = nodes.len() - 1;
                &mut nodes[last]
            }
        };
        this.role = role.into();
        this.last_applied_index = raft.applied_index;
        this.last_log_index = raft.last_log_index.unwrap_or(0);
        this.reachable = true;
        env!("CARGO_PKG_VERSION").clone_into(&mut this.version);
        GetStatusResponse {
            cluster_id: raft.cluster_id.unwrap_or(0),
            leader_id: raft.leader.filter(|_| self.reads.is_fresh()).map_or(0, |(id, _)| id),
            term: raft.term,
            nodes,
            node_id: self.config.id,
            cluster_time_ms: view::cluster(&self.raft.view()).map_or(0, |cluster| cluster.now.0),
        }
    }

    /// Every other node says for itself how it stands; the leader is whoever leads the highest term.
    async fn ask_peers(&self, status: &mut GetStatusResponse) {
        let others: Vec<(u64, String)> = status
            .nodes
            .iter()
            .filter(|node| node.id != self.config.id)
            .map(|node| (node.id, node.address.clone()))
            .collect();
        let answers = join_all(others.iter().map(|(id, address)| self.ask(*id, address))).await;
        let mut leading = leads(status).then_some((status.term, status.node_id));
        for answer in answers.into_iter().flatten() {
            leading = leading.max(leads(&answer).then_some((answer.term, answer.node_id)));
            status.term = status.term.max(answer.term);
            let Some(itself) = answer.nodes.into_iter().find(|node| node.id == answer.node_id) else { continue };
            if let Some(node) = status.nodes.iter_mut().find(|node| node.id == itself.id) {
                *node = itself;
            }
        }
        if let Some((_, id)) = leading {
            status.leader_id = id;
        }
    }

    /// What a node knows by itself; none where it does not answer, or another node does.
    pub(super) async fn ask(&self, id: u64, address: &str) -> Option<GetStatusResponse> {
        let mut client = ClusterServiceClient::new(self.channels.get(address)?);
        let answer = timeout(PEER_TIMEOUT, client.get_status(GetStatusRequest { local_only: true })).await;
        let answer = answer.ok()?.ok()?.into_inner();
        (answer.node_id == id).then_some(answer)
    }
}

/// Whether the node that answered leads, and was confirmed in that a moment ago.
fn leads(answer: &GetStatusResponse) -> bool {
    answer.leader_id == answer.node_id
}
