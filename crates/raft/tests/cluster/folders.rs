//! A node that comes back under its id with another folder has lost what it voted and acknowledged: who met it refuses
//! it, and it ends. One that comes for the first time, however late, is let in.

use crate::support::{Cluster, PATIENCE, until};
use ferry_machine::command::Command;
use ferry_raft::{ProposeError, Role};
use tokio::time::timeout;

/// How it ends: with the way back.
async fn ends(cluster: &Cluster, id: u64) {
    let reason = timeout(PATIENCE, cluster.raft(id).stopped()).await.expect("it ends");
    for words in ["came back with another folder", &format!("`ferry cluster remove-node --id {id}`"), "under a new id"]
    {
        assert!(reason.contains(words), "{words:?} is not in: {reason}");
    }
}

/// Three nodes of which the leader has an entry that one follower has and the other lacks.
async fn with_an_entry_on_two_of_three() -> (Cluster, [u64; 3]) {
    let mut cluster = Cluster::planned(3, |config| config.propose_timeout_ms = 1_000);
    for id in 1..=3 {
        cluster.start(id).await;
    }
    let (leader, _) = cluster.leader().await;
    let founder = cluster.follower_of(leader);
    let lagging = (1..=3).find(|id| *id != leader && *id != founder).unwrap();
    for (one, other) in [(leader, founder), (founder, lagging), (lagging, founder), (lagging, leader)] {
        cluster.met(one, other).await;
    }
    cluster.kill(lagging);
    cluster.propose(Command::ReserveIds { count: 5 }).await;
    (cluster, [leader, founder, lagging])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_lost_its_folder_is_refused_by_its_leader_and_the_cluster_goes_on_without_it() {
    let (mut cluster, [leader, founder, lagging]) = with_an_entry_on_two_of_three().await;
    cluster.kill(founder);
    cluster.wipe(founder);
    cluster.start(founder).await;
    ends(&cluster, founder).await;
    // Its acknowledgements do not count.
    let proposed = cluster.raft(leader).propose(Command::ReserveIds { count: 1 }).await;
    assert!(matches!(proposed, Err(ProposeError::Unknown { .. } | ProposeError::NotLeader { .. })), "{proposed:?}");
    cluster.kill(founder);
    cluster.start(lagging).await;
    cluster.propose(Command::ReserveIds { count: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_have_met_and_do_not_elect_one_that_lost_its_folder_once_the_leader_is_dead() {
    let (mut cluster, [leader, founder, lagging]) = with_an_entry_on_two_of_three().await;
    let acknowledged = cluster.raft(leader).applied_index();
    cluster.kill(leader);
    cluster.kill(founder);
    cluster.wipe(founder);
    // The one that met it was restarted since.
    cluster.start(lagging).await;
    cluster.start(founder).await;
    ends(&cluster, founder).await;
    assert_ne!(cluster.raft(lagging).status().role, Role::Leader);
    assert!(cluster.raft(lagging).applied_index() < acknowledged, "the two would have gone on without the entry");
    cluster.kill(founder);
    cluster.start(leader).await;
    let proposed = cluster.propose(Command::ReserveIds { count: 1 }).await;
    assert!(proposed.index > acknowledged);
    cluster.all_applied(proposed.index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_is_started_late_is_met_by_all_and_votes() {
    let mut cluster = Cluster::planned(3, |_| {});
    cluster.start(1).await;
    cluster.start(2).await;
    let before = cluster.propose(Command::ReserveIds { count: 5 }).await;
    until("the two know their cluster", || {
        std::future::ready([1, 2].iter().all(|id| cluster.raft(*id).status().cluster_id.is_some()).then_some(()))
    })
    .await;
    cluster.start(3).await;
    cluster.all_applied(before.index).await;
    for (one, other) in [(1, 3), (2, 3), (3, 1), (3, 2)] {
        cluster.met(one, other).await;
    }
    cluster.kill(1);
    cluster.propose(Command::ReserveIds { count: 1 }).await;
}
