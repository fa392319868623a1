//! Who belongs to the cluster and who leads it: what ClusterService changes, once it is sure that the change leaves a
//! cluster that works.
//!
//! Invariant: one change at a time, and one that has begun runs to its end whether or not its caller waits for it.

use super::Services;
use crate::status::{invalid, no_leader, of_membership};
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::{AddNodeRequest, GetStatusResponse, Node, RemoveNodeRequest};
use ferry_raft::Member;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

type Members = BTreeMap<u64, Member>;

impl Services {
    /// Adds a node as a learner, waits until it has caught up, and gives it its vote. Every step that is done already
    /// is left out, so that a call that ran out of time can be repeated.
    pub(super) async fn add(&self, request: AddNodeRequest, deadline: Instant) -> Result<(), Status> {
        let AddNodeRequest { node_id, address } = request;
        check_arguments(node_id, &address)?;
        self.leadership(deadline).await?;
        let services = self.clone();
        let adding = async move { services.add_learner(node_id, address).await };
        self.change(deadline, adding).await?;
        if !self.raft.caught_up(node_id, deadline).await {
            return Err(Status::unavailable(format!(
                "node {node_id} is added but has not caught up yet, and has no vote until it has: repeat the call to \
                 go on waiting; if `ferry cluster status` shows it unreachable, see that it runs"
            )));
        }
        let services = self.clone();
        self.change(
            deadline,
            async move { services.raft.add_voter(node_id).await.map_err(|error| of_membership(&error)) },
        )
        .await
    }

    /// Removes a node, and answers which ones there are then. The leader has its successor remove it.
    pub(super) async fn remove(&self, node_id: u64, deadline: Instant) -> Result<Vec<Node>, Status> {
        if node_id == 0 {
            return Err(invalid("node_id", "is 0: name a node by its positive id"));
        }
        self.leadership(deadline).await?;
        if node_id == self.config.id {
            return self.remove_leader(deadline).await;
        }
        let services = self.clone();
        self.change(deadline, async move {
            services.check_removal(node_id).await?;
            services.raft.remove_member(node_id).await.map_err(|error| of_membership(&error))
        })
        .await?;
        Ok(self.nodes().await)
    }

    /// Hands the leadership to a voter, or to the best one for 0, and answers which one leads.
    pub(super) async fn transfer(&self, to: u64, deadline: Instant) -> Result<u64, Status> {
        self.leadership(deadline).await?;
        if to == self.config.id {
            return Ok(to);
        }
        let members = self.raft.status().members;
        let to = match to {
            0 => self.raft.successor().ok_or_else(|| no_successor(&members))?,
            to => {
                check_successor(to, &members)?;
                to
            }
        };
        let address = members.get(&to).map_or("", |member| member.address.as_str());
        if !self.raft.may_lead(to) || self.ask(to, address).await.is_none() {
            return Err(Status::failed_precondition(format!(
                "node {to} does not answer or has not caught up: see `ferry cluster status`, and try again once it has"
            )));
        }
        self.raft.transfer_leader(to, deadline).await.map_err(|error| of_membership(&error))?;
        Ok(to)
    }

    /// Ids only grow, so that one that was used before is told from a new one without a list of all.
    fn next_node_id(&self) -> Result<u64, Status> {
        self.raft.next_node_id().map_err(|error| of_membership(&error))
    }

    async fn add_learner(&self, node_id: u64, address: String) -> Result<(), Status> {
        let members = self.raft.status().members;
        match members.get(&node_id) {
            Some(member) if member.address == address => return Ok(()),
            Some(member) => {
                return Err(Status::already_exists(format!(
                    "node {node_id} is a member already, at {}: give the new node an id of its own, {} or higher",
                    member.address,
                    self.next_node_id()?
                )));
            }
            None => {}
        }
        check_newcomer(node_id, &address, &members, self.next_node_id()?)?;
        self.check_joining(node_id, &address).await?;
        self.raft.add_learner(node_id, address).await.map(|_| ()).map_err(|error| of_membership(&error))
    }

    /// The process at the address is the node that is meant, and has never had a part in any cluster.
    async fn check_joining(&self, node_id: u64, address: &str) -> Result<(), Status> {
        let Some(answer) = self.ask(node_id, address).await else {
            return Err(Status::failed_precondition(format!(
                "no node {node_id} answers at {address}: start it there first, with `ferry server --id {node_id} \
                 --listen {address} --data-dir DIR` and without --peers, then repeat the call"
            )));
        };
        if is_blank(&answer) {
            return Ok(());
        }
        let own = self.raft.status().cluster_id;
        let whose = match own == Some(answer.cluster_id) {
            true => "was a node of this cluster before",
            false => "has a cluster or peers of its own",
        };
        Err(Status::failed_precondition(format!(
            "node {node_id} at {address} {whose}: stop it, empty its folder, and start it without --peers under a new \
             id, {} or higher; then add that",
            self.next_node_id()?.max(node_id.saturating_add(1))
        )))
    }

    async fn remove_leader(&self, deadline: Instant) -> Result<Vec<Node>, Status> {
        let node_id = self.config.id;
        self.check_removal(node_id).await?;
        let leader = self.transfer(0, deadline).await?;
        let members = self.raft.status().members;
        let channel = members.get(&leader).and_then(|member| self.channels.get(&member.address));
        let mut client = ClusterServiceClient::new(channel.ok_or_else(|| no_leader(Some(leader)))?);
        let mut request = Request::new(RemoveNodeRequest { node_id });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        Ok(client.remove_node(request).await?.into_inner().nodes)
    }

    /// Enough of the voters that would remain answer to agree on what comes next.
    async fn check_removal(&self, node_id: u64) -> Result<(), Status> {
        let members = self.raft.status().members;
        let Some(member) = members.get(&node_id) else {
            return Err(Status::not_found(format!(
                "node {node_id} is no node of this cluster; its nodes are {}",
                listed(members.keys().copied())
            )));
        };
        if !member.voter {
            return Ok(());
        }
        let rest: Vec<(u64, &str)> = members
            .iter()
            .filter(|(id, member)| **id != node_id && member.voter)
            .map(|(id, member)| (*id, member.address.as_str()))
            .collect();
        let asked = rest
            .iter()
            .map(|(id, address)| async move { *id == self.config.id || self.ask(*id, address).await.is_some() });
        let silent: Vec<u64> = join_all(asked)
            .await
            .into_iter()
            .zip(&rest)
            .filter(|(answers, _)| !answers)
            .map(|(_, (id, _))| *id)
            .collect();
        match majority_lost(node_id, rest.len(), &silent) {
            Some(reason) => Err(Status::failed_precondition(reason)),
            None => Ok(()),
        }
    }

    /// Runs one change to its end; its caller waits no longer than to its deadline.
    async fn change<F>(&self, deadline: Instant, change: F) -> Result<(), Status>
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let waited = || {
            Status::unavailable(
                "the nodes have not agreed on a change of the membership in time; it may still come: see \
                 `ferry cluster status`, then repeat the call",
            )
        };
        let turn = timeout_at(deadline, Arc::clone(&self.changing).lock_owned()).await.map_err(|_| waited())?;
        let running = tokio::spawn(async move {
            let _turn = turn;
            change.await
        });
        match timeout_at(deadline, running).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(_) => Err(waited()),
        }
    }
}

fn check_arguments(node_id: u64, address: &str) -> Result<(), Status> {
    if node_id == 0 {
        return Err(invalid("node_id", "is 0: ids are positive"));
    }
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if valid { Ok(()) } else { Err(invalid("address", "is no host:port: write it as in \"10.0.0.4:7401\"")) }
}

/// Neither its id nor its address belongs to another node, and its id never did.
fn check_newcomer(node_id: u64, address: &str, members: &Members, next: u64) -> Result<(), Status> {
    if let Some((id, _)) = members.iter().find(|(_, member)| member.address == address) {
        return Err(Status::already_exists(format!(
            "{address} is the address of node {id}: give node {node_id} an address of its own, or remove node {id} first"
        )));
    }
    if node_id < next {
        return Err(Status::failed_precondition(format!(
            "node id {node_id} is not above every id that a node of this cluster ever had, and ids are never used again: \
             start the node with an empty folder under id {next} or higher"
        )));
    }
    Ok(())
}

/// It has no cluster, no log, and no peers with which it could begin one.
fn is_blank(answer: &GetStatusResponse) -> bool {
    answer.cluster_id == 0 && answer.nodes.iter().all(|node| node.id == answer.node_id && node.last_log_index == 0)
}

fn check_successor(to: u64, members: &Members) -> Result<(), Status> {
    match members.get(&to) {
        Some(member) if member.voter => Ok(()),
        Some(_) => Err(Status::failed_precondition(format!(
            "node {to} has no vote yet: finish adding it with `ferry cluster add-node`"
        ))),
        None => Err(Status::not_found(format!(
            "node {to} is no node of this cluster; its nodes are {}",
            listed(members.keys().copied())
        ))),
    }
}

fn no_successor(members: &Members) -> Status {
    let voters = members.values().filter(|member| member.voter).count();
    let message = match voters {
        0 | 1 => "this node is the only voter: add another node first (`ferry cluster add-node`)",
        _ => "no other voter answers and has caught up: see `ferry cluster status`, and try again once one has",
    };
    Status::failed_precondition(message)
}

/// Why `rest` voters, of which some are silent, could not go on without a node; none where they could.
fn majority_lost(node_id: u64, rest: usize, silent: &[u64]) -> Option<String> {
    let (answering, needed) = (rest - silent.len(), rest / 2 + 1);
    if rest == 0 {
        return Some(format!(
            "node {node_id} is the only voter, and a cluster needs one: add another node first (`ferry cluster \
             add-node`), or stop node {node_id} to end the cluster"
        ));
    }
    (answering < needed).then(|| {
        format!(
            "without node {node_id} the cluster would have {rest} voters, of which {answering} answer and {needed} are \
             needed to agree on anything: start node {} again, or remove what is silent first, then remove node \
             {node_id}",
            listed(silent.iter().copied())
        )
    })
}

fn listed(ids: impl Iterator<Item = u64>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{is_blank, majority_lost};
    use ferry_proto::v1::{GetStatusResponse, Node};

    #[test]
    fn a_removal_is_refused_exactly_when_the_rest_has_no_majority_that_answers() {
        let table: [(usize, &[u64], bool); 8] = [
            (0, &[], false),
            (1, &[], true),
            (1, &[2], false),
            (2, &[], true),
            (2, &[2], false),
            (3, &[2], true),
            (4, &[2], true),
            (4, &[2, 3], false),
        ];
        for (rest, silent, allowed) in table {
            assert_eq!(majority_lost(1, rest, silent).is_none(), allowed, "{rest} voters, {silent:?} silent");
        }
    }

    #[test]
    fn a_node_with_a_past_is_not_blank() {
        let node = |id, last_log_index| Node { id, last_log_index, ..Node::default() };
        let status = |cluster_id, nodes| GetStatusResponse { cluster_id, nodes, node_id: 4, ..Default::default() };
        assert!(is_blank(&status(0, vec![node(4, 0)])));
        assert!(!is_blank(&status(7, vec![node(4, 0)])), "it has a cluster");
        assert!(!is_blank(&status(0, vec![node(4, 9)])), "it has a log");
        assert!(!is_blank(&status(0, vec![node(1, 0), node(4, 0)])), "it was given peers");
    }
}
