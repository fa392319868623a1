//! Three nodes over real sockets and stores: they elect, agree, lose nodes and take them back.

use crate::support::{Cluster, cluster_row, deadline, ids, until};
use ferry_machine::command::Command;
use ferry_machine::outcome::Outcome;
use ferry_proto::internal::v1::RaftVoteRequest;
use ferry_proto::internal::v1::raft_service_client::RaftServiceClient;
use ferry_raft::{ConfirmError, ProposeError, Role};
use ferry_store::{Options, Store};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn many_proposers_get_outcomes_that_all_nodes_agree_on() {
    let cluster = Cluster::running(3).await;
    let (leader, _) = cluster.leader().await;
    let proposers = (0..32).map(|proposer| {
        let raft = cluster.raft(leader).clone();
        tokio::spawn(async move {
            let mut reserved = Vec::new();
            for _ in 0..10 {
                reserved.push(raft.propose(Command::ReserveIds { count: 1 + proposer % 3 }).await.unwrap());
            }
            reserved
        })
    });
    let reserved: Vec<_> = join_all(proposers).await.into_iter().flat_map(Result::unwrap).collect();
    let all: Vec<i64> = reserved.iter().flat_map(ids).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an id was given twice");
    cluster.all_applied(reserved.iter().map(|proposed| proposed.index).max().unwrap()).await;
    let rows: Vec<_> = cluster.nodes.values().map(|node| cluster_row(&node.raft).unwrap()).collect();
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    assert_eq!(rows[0].next_id, all.iter().max().unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_made_at_once_share_entries_and_a_single_one_waits_for_nobody() {
    let cluster = Cluster::running(3).await;
    let (leader, _) = cluster.leader().await;
    let raft = cluster.raft(leader);
    let single = raft.propose(Command::Tick).await.unwrap();
    assert_eq!(single.outcome, Outcome::Done);
    let at_once = (0..64).map(|_| raft.propose(Command::ReserveIds { count: 1 }));
    let indexes: BTreeSet<u64> = join_all(at_once).await.into_iter().map(|proposed| proposed.unwrap().index).collect();
    assert!(indexes.len() < 64, "64 proposals took {} entries", indexes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_survives_its_leader_and_takes_it_back() {
    let mut cluster = Cluster::running(3).await;
    let (first, first_term) = cluster.leader().await;
    let before = cluster.propose(Command::ReserveIds { count: 5 }).await;
    cluster.kill(first);
    let (second, second_term) = cluster.leader().await;
    assert_ne!(first, second);
    assert!(second_term > first_term);
    let after = cluster.propose(Command::ReserveIds { count: 5 }).await;
    assert!(ids(&after).start >= ids(&before).end, "{before:?} {after:?}");
    cluster.start(first).await;
    cluster.all_applied(after.index).await;
    assert_eq!(cluster_row(cluster.raft(first)).unwrap().next_id, cluster_row(cluster.raft(second)).unwrap().next_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_a_follower_sees_every_write_that_was_answered_before_it() {
    let cluster = Cluster::running(3).await;
    let (leader, _) = cluster.leader().await;
    let follower = cluster.raft(cluster.follower_of(leader));
    for _ in 0..30 {
        let written = cluster.propose(Command::ReserveIds { count: 1 }).await;
        let readers = (0..8).map(|_| follower.read_index(deadline()));
        for index in join_all(readers).await {
            assert!(index.unwrap() >= written.index);
        }
        assert!(cluster_row(follower).unwrap().next_id >= ids(&written).end);
    }
    assert!(cluster.raft(leader).read_index(deadline()).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deposed_leader_proposes_never_lands_not_even_when_it_leads_again() {
    let cluster = Cluster::running(3).await;
    let (first, old_term) = cluster.leader().await;
    let second = cluster.follower_of(first);
    let raft = cluster.raft(first);
    raft.confirm_leadership(old_term).await.unwrap();
    raft.propose_as(old_term, Command::ReserveIds { count: 1 }).await.unwrap();
    raft.transfer_leader(second, deadline()).await.unwrap();
    let refused = raft.propose_as(old_term, Command::ReserveIds { count: 1_000 }).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    until("the second node leads and hands back", || async {
        cluster.raft(second).transfer_leader(first, deadline()).await.ok()
    })
    .await;
    let mut leadership = raft.leadership();
    let new_term = leadership.wait_for(Option::is_some).await.unwrap().unwrap();
    assert!(new_term > old_term);
    let refused = raft.propose_as(old_term, Command::ReserveIds { count: 1_000 }).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    assert_eq!(raft.confirm_leadership(old_term).await, Err(ConfirmError::Lost { term: old_term.number() }));
    let before = raft.propose_as(new_term, Command::ReserveIds { count: 1 }).await.unwrap();
    assert_eq!(cluster_row(raft).unwrap().next_id, ids(&before).end);
    assert!(ids(&before).end < cluster_row(raft).unwrap().id_start + 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_confirms_nothing_and_decides_nothing() {
    let mut cluster = Cluster::planned(3, |config| config.propose_timeout_ms = 500);
    for id in 1..=3 {
        cluster.start(id).await;
    }
    let (leader, term) = cluster.leader().await;
    let followers: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    for follower in &followers {
        cluster.kill(*follower);
    }
    let raft = cluster.raft(leader);
    let unconfirmed = raft.confirm_leadership(term).await;
    assert!(unconfirmed.is_err(), "{unconfirmed:?}");
    let proposed = raft.propose(Command::ReserveIds { count: 1 }).await;
    assert!(matches!(proposed, Err(ProposeError::Unknown { .. } | ProposeError::NotLeader { .. })), "{proposed:?}");
    cluster.start(followers[0]).await;
    cluster.propose(Command::ReserveIds { count: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_announced_only_after_its_barrier_and_cluster_time_goes_on() {
    let mut cluster = Cluster::running(3).await;
    let (first, _) = cluster.leader().await;
    let bootstrapped = cluster_row(cluster.raft(first)).expect("the first leader has named the cluster");
    let written = cluster.propose(Command::Tick).await;
    let before = cluster_row(cluster.raft(first)).unwrap().now;
    cluster.kill(first);
    let (second, _) = cluster.leader().await;
    let row = cluster_row(cluster.raft(second)).unwrap();
    assert!(cluster.raft(second).applied_index() >= written.index);
    assert_eq!(row.cluster_id, bootstrapped.cluster_id);
    assert!(cluster.raft(second).now().unwrap().at >= before);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let cluster = Cluster::running(1).await;
    cluster.leader().await;
    until("the node knows its cluster", || std::future::ready(cluster.raft(1).status().cluster_id)).await;
    let mut client = RaftServiceClient::connect(format!("http://{}", cluster.addresses[&1])).await.unwrap();
    let request = |metadata: &[(&'static str, &'static str)]| {
        let mut request = Request::new(RaftVoteRequest::default());
        for (key, value) in metadata {
            request.metadata_mut().insert(*key, value.parse().unwrap());
        }
        request
    };
    let refused = client.vote(request(&[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = client.vote(request(&[("ferry-to-node", "1"), ("ferry-cluster-id", "1")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let refused = client.vote(request(&[("ferry-to-node", "2")])).await.unwrap_err();
    assert!(refused.message().contains("not node 2"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_remembers_its_cluster_and_never_leads_a_term_twice() {
    let mut cluster = Cluster::running(1).await;
    let (_, first_term) = cluster.leader().await;
    let written = cluster.propose(Command::ReserveIds { count: 7 }).await;
    let cluster_id =
        until("the node knows its cluster", || std::future::ready(cluster.raft(1).status().cluster_id)).await;
    cluster.kill(1);
    cluster.start_with_peers(1, BTreeMap::new()).await;
    assert_eq!(cluster.raft(1).status().cluster_id, Some(cluster_id));
    let (_, second_term) = cluster.leader().await;
    assert!(second_term > first_term);
    assert_eq!(cluster_row(cluster.raft(1)).unwrap().next_id, ids(&written).end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_added_made_a_voter_and_given_the_lead() {
    let mut cluster = Cluster::planned(4, |_| {});
    let first_voters: BTreeMap<u64, String> =
        cluster.addresses.iter().filter(|(id, _)| **id <= 3).map(|(id, address)| (*id, address.clone())).collect();
    for id in 1..=3 {
        cluster.start_with_peers(id, first_voters.clone()).await;
    }
    cluster.start_with_peers(4, BTreeMap::new()).await;
    let (leader, _) = cluster.leader().await;
    let raft = cluster.raft(leader);
    let added = raft.add_learner(4, cluster.addresses[&4].clone()).await.unwrap();
    cluster.raft(4).wait_applied(added, deadline()).await.unwrap();
    assert!(!raft.status().members[&4].voter);
    raft.add_voter(4).await.unwrap();
    assert!(raft.status().members.values().all(|member| member.voter));
    until("the newcomer knows that it votes", || {
        let status = cluster.raft(4).status();
        std::future::ready(status.members.get(&4).filter(|member| member.voter).map(|_| ()))
    })
    .await;
    raft.transfer_leader(4, deadline()).await.unwrap();
    let mut leadership = cluster.raft(4).leadership();
    leadership.wait_for(Option::is_some).await.unwrap();
    assert_eq!(cluster.raft(4).status().role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_id_of_a_removed_node_is_remembered_on_every_node_and_by_a_checkpoint() {
    let mut cluster = Cluster::planned(6, |config| {
        (config.checkpoint_every_entries, config.log_keep_entries) = (20, 0);
    });
    let first_voters: BTreeMap<u64, String> =
        cluster.addresses.iter().filter(|(id, _)| **id <= 3).map(|(id, address)| (*id, address.clone())).collect();
    for id in 1..=3 {
        cluster.start_with_peers(id, first_voters.clone()).await;
    }
    let (leader, _) = cluster.leader().await;
    let raft = cluster.raft(leader).clone();
    assert_eq!(raft.next_node_id(), Ok(4));
    // A learner that never comes up had the id all the same.
    raft.add_learner(6, cluster.addresses[&6].clone()).await.unwrap();
    assert_eq!(raft.next_node_id(), Ok(7));
    raft.remove_member(6).await.unwrap();
    let proposed = cluster.propose(Command::ReserveIds { count: 1 }).await;
    cluster.all_applied(proposed.index).await;
    for id in 1..=3 {
        assert!(!cluster.raft(id).status().members.contains_key(&6));
        assert_eq!(cluster.raft(id).next_node_id(), Ok(7), "node {id}");
    }
    // A node that learns of it by a checkpoint alone.
    until("the log no longer reaches back to the removal", || async {
        cluster.propose(Command::ReserveIds { count: 1 }).await;
        (raft.status().purged_index > Some(proposed.index)).then_some(())
    })
    .await;
    cluster.start_with_peers(5, BTreeMap::new()).await;
    let added = raft.add_learner(5, cluster.addresses[&5].clone()).await.unwrap();
    cluster.raft(5).wait_applied(added, deadline()).await.unwrap();
    assert_eq!(cluster.raft(5).next_node_id(), Ok(7), "by a checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn raft_that_was_shut_down_says_so_and_frees_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1, &Options::default()).unwrap();
    let mut config = ferry_raft::Config::new(1, "127.0.0.1:1");
    config.peers = BTreeMap::from([(1, config.address.clone())]);
    let (raft, service) = ferry_raft::Raft::start(config, store).await.unwrap();
    raft.leadership().wait_for(Option::is_some).await.unwrap();
    raft.shutdown().await;
    raft.stopped().await;
    assert!(matches!(raft.propose(Command::Tick).await, Err(ProposeError::Stopped)));
    drop((raft, service));
    until("the folder is free", || std::future::ready(Store::open(folder.path(), 1, &Options::default()).ok())).await;
}
