//! Nodes come and go, and the leadership moves, while jobs run: what would break the cluster is refused with the next
//! step, and everything else loses nothing.

use cluster_tests::cluster::Cluster;
use cluster_tests::eventually;
use cluster_tests::process::{ferry, free_address};
use cluster_tests::running_job::RunningJob;
use ferry_proto::v1::{AllocateIdsRequest, GetStatusRequest, JobOptions, JobState, Node, NodeRole};
use std::process::Output;
use std::time::{Duration, Instant};

/// `ferry cluster ...` with the addresses of all nodes there ever were.
fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    let endpoints = cluster.endpoints();
    let mut all = vec!["--endpoints", endpoints.as_str(), "cluster"];
    all.extend(arguments);
    ferry(&all)
}

fn done(cluster: &Cluster, arguments: &[&str]) {
    let output = run(cluster, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn refused(cluster: &Cluster, code: i32, words: &[&str], arguments: &[&str]) {
    let output = run(cluster, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: {word:?} is not in: {said}");
    }
}

fn add(cluster: &Cluster, id: u64) {
    let address = cluster.addresses()[&id].clone();
    done(cluster, &["add-node", "--id", &id.to_string(), "--address", &address]);
}

/// Starts a node that knows nobody, and adds it once it answers.
async fn join(cluster: &mut Cluster, id: u64) {
    cluster.start_newcomer(id);
    answers(cluster, id).await;
    add(cluster, id);
}

async fn answers(cluster: &Cluster, id: u64) {
    let request = GetStatusRequest { local_only: true };
    eventually("an answer of the node", || async { cluster.status(id).get_status(request).await.ok() }).await;
}

/// The nodes as the leader sees them.
async fn nodes(cluster: &Cluster) -> Vec<Node> {
    eventually("the nodes of the cluster", || async {
        let leader = cluster.leader().await;
        let status = cluster.status(leader).get_status(GetStatusRequest::default()).await.ok()?;
        Some(status.into_inner().nodes)
    })
    .await
}

/// These are the nodes, and all of them know that they vote.
async fn assert_voters(cluster: &Cluster, expected: &[u64]) {
    eventually("a cluster of voters alone", || async {
        let nodes = nodes(cluster).await;
        assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), expected, "{nodes:?}");
        nodes.iter().all(|node| node.role() != NodeRole::Learner).then_some(())
    })
    .await;
}

/// Any node that runs and does not lead, but this one.
async fn follower(cluster: &Cluster, but: u64) -> u64 {
    let leader = cluster.leader().await;
    cluster.running().into_iter().find(|id| *id != leader && *id != but).expect("the cluster has followers")
}

/// A write that a majority agreed on.
async fn write(cluster: &Cluster) {
    eventually("a write", || async {
        let leader = cluster.leader().await;
        cluster.ids(leader).allocate_ids(AllocateIdsRequest { count: 1 }).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_node_joins_serves_reads_and_votes() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    cluster.start_newcomer(4);
    answers(&cluster, 4).await;
    assert!(cluster.node(4).printed().contains("it waits until it is added"), "{}", cluster.node(4).printed());
    add(&cluster, 4);
    add(&cluster, 4);
    assert_voters(&cluster, &[1, 2, 3, 4]).await;
    job.completes(&cluster).await;
    let read = cluster.job(4, job.job_id).await.expect("the new node serves linearizable reads");
    assert_eq!(read.state(), JobState::Completed);

    assert_eq!(cluster.stop_node(4), Some(0));
    cluster.start_node(4);
    eventually("a read from the restarted node", || async { cluster.job(4, job.job_id).await.ok() }).await;
    let founder = follower(&cluster, 4).await;
    cluster.kill_node(founder);
    // Three of four are needed now, so the new node's vote counts.
    write(&cluster).await;
    eventually("a sound cluster", || async { cluster.job(4, job.job_id).await.ok() }).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_gone_and_does_not_come_back_under_its_id() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    if leader == 3 {
        done(&cluster, &["transfer-leadership", "--to", "1"]);
    }
    done(&cluster, &["remove-node", "--id", "3"]);
    assert_voters(&cluster, &[1, 2]).await;
    write(&cluster).await;
    assert!(cluster.job(3, 1).await.is_err_and(|status| status.code() == tonic::Code::Unavailable));
    refused(&cluster, 3, &["node 3 is no node of this cluster", "1, 2"], &["remove-node", "--id", "3"]);
    refused(
        &cluster,
        4,
        &["ids are never used again", "an empty folder", "4 or higher"],
        &["add-node", "--id", "3", "--address", &cluster.addresses()[&3].clone()],
    );
    let nowhere = free_address();
    let used = ["ids are never used again", "4 or higher"];
    refused(&cluster, 4, &used, &["add-node", "--id", "3", "--address", &nowhere]);
    let missing = ["start it there first", "ferry server --id 4"];
    refused(&cluster, 4, &missing, &["add-node", "--id", "4", "--address", &nowhere]);
    refused(
        &cluster,
        4,
        &["is the address of node 1"],
        &["add-node", "--id", "4", "--address", &cluster.addresses()[&1].clone()],
    );
    refused(&cluster, 2, &["address"], &["add-node", "--id", "4", "--address", "nowhere"]);

    let leader = cluster.leader().await;
    done(&cluster, &["remove-node", "--id", &leader.to_string()]);
    cluster.kill_node(leader);
    cluster.kill_node(3);
    assert_voters(&cluster, &[3 - leader]).await;
    write(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_would_break_the_quorum_is_refused() {
    let mut cluster = Cluster::start(3).await;
    let dead = follower(&cluster, 0).await;
    let other = follower(&cluster, dead).await;
    cluster.kill_node(dead);
    let words = ["2 voters, of which 1 answer and 2 are needed", &format!("start node {dead} again")];
    refused(&cluster, 4, &words, &["remove-node", "--id", &other.to_string()]);
    let leader = cluster.leader().await;
    refused(&cluster, 4, &words, &["remove-node", "--id", &leader.to_string()]);
    assert_voters(&cluster, &[1, 2, 3]).await;
    done(&cluster, &["remove-node", "--id", &dead.to_string()]);
    write(&cluster).await;
    assert_eq!(nodes(&cluster).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_replaced_while_a_job_runs() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let wiped = follower(&cluster, 0).await;
    cluster.wipe_node(wiped);
    done(&cluster, &["remove-node", "--id", &wiped.to_string()]);
    join(&mut cluster, 4).await;
    job.completes(&cluster).await;
    let expected: Vec<u64> = (1..=4).filter(|id| *id != wiped).collect();
    assert_voters(&cluster, &expected).await;
    assert_eq!(cluster.job(4, job.job_id).await.expect("the new node reads").state(), JobState::Completed);
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_when_every_node_that_it_was_started_with_was_replaced() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left"], JobOptions::default()).await;
    cluster.pause(job.job_id).await;
    for id in 4..=6 {
        join(&mut cluster, id).await;
    }
    let newest = cluster.addresses()[&6].clone();
    eventually("a renewal that names the newest node", || async {
        let named = |line: &str| line.contains("these are the nodes of the cluster") && line.contains(&newest);
        cluster.worker_log("left").lines().any(named).then_some(())
    })
    .await;
    // The session breaks when nothing is left of what it was started with: until then anyone of that names the leader.
    done(&cluster, &["transfer-leadership", "--to", "3"]);
    for id in 1..=3 {
        cluster.kill_node(id);
        done(&cluster, &["remove-node", "--id", &id.to_string()]);
    }
    assert_voters(&cluster, &[4, 5, 6]).await;
    cluster.resume(job.job_id).await;
    job.completes(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_comes_back_without_its_folder_ends_and_is_replaced_as_it_says() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let founder = follower(&cluster, 0).await;
    cluster.all_met(founder).await;
    cluster.wipe_node(founder);
    write(&cluster).await;
    cluster.start_node(founder);
    let removal = format!("ferry cluster remove-node --id {founder}");
    let words = ["came back with another folder", &removal, "ferry cluster add-node", "under a new id"];
    cluster.ended_saying(founder, &words).await;
    // Its supervisor starts it again.
    cluster.kill_node(founder);
    cluster.start_node(founder);
    cluster.ended_saying(founder, &words).await;
    write(&cluster).await;

    cluster.wipe_node(founder);
    done(&cluster, &["remove-node", "--id", &founder.to_string()]);
    join(&mut cluster, 4).await;
    job.completes(&cluster).await;
    let expected: Vec<u64> = (1..=4).filter(|id| *id != founder).collect();
    assert_voters(&cluster, &expected).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_transferred_while_a_job_runs() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let next = follower(&cluster, 0).await;
    done(&cluster, &["transfer-leadership", "--to", &next.to_string()]);
    assert_eq!(cluster.leader().await, next);
    done(&cluster, &["transfer-leadership"]);
    assert_ne!(cluster.leader().await, next);
    refused(&cluster, 3, &["node 9 is no node of this cluster"], &["transfer-leadership", "--to", "9"]);
    job.completes(&cluster).await;
    let dead = follower(&cluster, 0).await;
    cluster.kill_node(dead);
    refused(&cluster, 4, &["does not answer"], &["transfer-leadership", "--to", &dead.to_string()]);
    write(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_over_first_and_its_job_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let leader = cluster.leader().await;
    let term = |status: tonic::Response<ferry_proto::v1::GetStatusResponse>| status.into_inner().term;
    let request = GetStatusRequest { local_only: true };
    let before = term(cluster.status(leader).get_status(request).await.expect("the leader answers"));
    cluster.node(leader).signal(nix::sys::signal::Signal::SIGTERM);
    let stopped_at = Instant::now();
    let rest: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    let (next, after) = eventually("a new leader", || async {
        for id in &rest {
            let status = cluster.status(*id).get_status(request).await.ok()?.into_inner();
            if status.leader_id == *id {
                return Some((*id, status.term));
            }
        }
        None
    })
    .await;
    let gap: Duration = stopped_at.elapsed();
    println!("node {next} led {gap:?} after the SIGTERM");
    assert_eq!(after, before + 1, "one handover, no contested election");
    assert_eq!(cluster.stop_node(leader), Some(0));
    let log = std::fs::read_to_string(cluster.path(&format!("node-{leader}.log"))).expect("the node has a log");
    assert!(log.contains("leadership handed over"), "{log}");
    job.completes(&cluster).await;
    cluster.start_node(leader);
    eventually("a read from the restarted node", || async { cluster.job(leader, job.job_id).await.ok() }).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_works_keeps_its_last_voter_and_grows() {
    let mut cluster = Cluster::start(1).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    refused(&cluster, 4, &["is the only voter", "ferry cluster add-node"], &["remove-node", "--id", "1"]);
    refused(&cluster, 4, &["is the only voter"], &["transfer-leadership"]);
    assert_eq!(cluster.stop_node(1), Some(0));
    cluster.start_node(1);
    job.completes(&cluster).await;
    join(&mut cluster, 2).await;
    join(&mut cluster, 3).await;
    assert_voters(&cluster, &[1, 2, 3]).await;
    cluster.kill_node(1);
    write(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_lose_two_shrink_to_three_and_grow_again_under_a_job() {
    let mut cluster = Cluster::start(5).await;
    let job = RunningJob::begin(&mut cluster, &["left", "right"], JobOptions::default()).await;
    let dead = [cluster.leader().await, follower(&cluster, 0).await];
    for id in dead {
        cluster.kill_node(id);
    }
    for id in dead {
        done(&cluster, &["remove-node", "--id", &id.to_string()]);
    }
    join(&mut cluster, 6).await;
    join(&mut cluster, 7).await;
    job.completes(&cluster).await;
    let expected: Vec<u64> = (1..=7).filter(|id| !dead.contains(id)).collect();
    assert_voters(&cluster, &expected).await;
    cluster.assert_sound().await;
}
