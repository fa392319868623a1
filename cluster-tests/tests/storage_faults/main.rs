//! Disks that lose their power, fill up, fail, crawl, hang or lie, under a cluster at work: nothing acknowledged is
//! lost, the cluster goes on, and the node that cannot go on says why and how it comes back.

mod corruption;
mod load;

use cluster_tests::cluster::Cluster;
use cluster_tests::eventually;
use cluster_tests::faults::disk::{FREEZE_TOOLS, POWER_LOSS_TOOLS, TOOLS};
use cluster_tests::faults::privileges::may;
use cluster_tests::faults::shim;
use load::Load;

const DISK_BYTES: u64 = 256 << 20;
/// Little memory, so that logs and rows reach the disk often; checkpoints under the load too.
const SETTINGS: &[&str] =
    &["storage.memory=16MiB", "storage.checkpoint-interval-entries=300", "storage.stall-timeout=4s"];
/// Jobs that must be acknowledged between two faults.
const JOBS: usize = 15;
/// Longer than any test waits.
const HANGING_MS: i64 = 600_000;
/// How often all nodes lose their power, where the environment does not say otherwise.
const ROUNDS: &str = "FERRY_POWER_LOSS_ROUNDS";

/// Three nodes, each on a disk of its own.
async fn on_disks() -> Cluster {
    let mut cluster = Cluster::prepare(3, SETTINGS);
    for id in 1..=3 {
        cluster.put_on_disk(id, DISK_BYTES);
    }
    cluster.start_all().await;
    cluster
}

/// Three nodes with faults preloaded.
async fn with_faults(settings: &[&str]) -> Cluster {
    let mut cluster = Cluster::prepare(3, settings);
    for id in 1..=3 {
        cluster.preload_faults(id);
    }
    cluster.start_all().await;
    cluster
}

async fn follower(cluster: &Cluster) -> u64 {
    let leader = cluster.leader().await;
    cluster.running().into_iter().find(|id| *id != leader).expect("the cluster has followers")
}

/// A node that was away answers for a job with the consistency of all others.
async fn rejoins(cluster: &mut Cluster, id: u64, load: &Load) {
    if cluster.running().contains(&id) {
        cluster.kill_node(id);
    }
    cluster.start_node(id);
    let job_id = load.some_job();
    eventually("an answer of the node that is back", || async { cluster.job(id, job_id).await.ok() }).await;
}

async fn power_loss_on(cluster: &mut Cluster, load: &mut Load, ids: &[u64]) {
    load.progress(JOBS).await;
    cluster.lose_power(ids);
    for id in ids {
        cluster.start_node(*id);
    }
    cluster.leader().await;
    load.progress(JOBS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_power_loss_on_one_or_two_nodes_loses_nothing_acknowledged() {
    if !may("power-loss", POWER_LOSS_TOOLS) {
        return;
    }
    let mut cluster = on_disks().await;
    let mut load = Load::start(&mut cluster);
    let leader = cluster.leader().await;
    power_loss_on(&mut cluster, &mut load, &[leader]).await;
    let follower = follower(&cluster).await;
    power_loss_on(&mut cluster, &mut load, &[follower]).await;
    let leader = cluster.leader().await;
    let two: Vec<u64> = (1..=3).filter(|id| *id == leader || *id == leader % 3 + 1).collect();
    power_loss_on(&mut cluster, &mut load, &two).await;
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_power_loss_on_all_nodes_at_once_loses_nothing_acknowledged() {
    if !may("power-loss", POWER_LOSS_TOOLS) {
        return;
    }
    let rounds: u32 = std::env::var(ROUNDS).map_or(2, |text| text.parse().expect("a number of rounds"));
    let mut cluster = on_disks().await;
    let mut load = Load::start(&mut cluster);
    for round in 1..=rounds {
        power_loss_on(&mut cluster, &mut load, &[1, 2, 3]).await;
        load.pause().await;
        eprintln!("round {round} of {rounds}");
        load.assert_kept(&cluster).await;
        cluster.assert_sound().await;
        load.resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_a_full_disk_ends_its_node_with_the_cause_and_the_cluster_goes_on() {
    if !may("disk-full", TOOLS) {
        return;
    }
    let mut cluster = on_disks().await;
    let mut load = Load::start(&mut cluster);
    load.progress(JOBS).await;
    for leads in [false, true] {
        let id = if leads { cluster.leader().await } else { follower(&cluster).await };
        cluster.disk(id).fill();
        cluster.ended_saying(id, &["disk-", "No space left on device", "free space", "start the node again"]).await;
        load.progress(JOBS).await;
        cluster.disk(id).free();
        rejoins(&mut cluster, id, &load).await;
    }
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_a_failing_sync_ends_its_node_and_is_not_tried_again() {
    if !may("failing-sync", shim::TOOLS) {
        return;
    }
    let mut cluster = with_faults(SETTINGS).await;
    let mut load = Load::start(&mut cluster);
    load.progress(JOBS).await;
    for leads in [false, true] {
        let id = if leads { cluster.leader().await } else { follower(&cluster).await };
        cluster.faults(id).fail_syncs(shim::IO_ERROR);
        let folder = format!("node-{id}");
        let words = [folder.as_str(), "nput/output error", "check the disk"];
        cluster.ended_saying(id, &words).await;
        assert!(cluster.faults(id).bites().syncs_failed > 0, "the fault did not bite");
        load.progress(JOBS).await;
        cluster.faults(id).fail_syncs(0);
        rejoins(&mut cluster, id, &load).await;
    }
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_a_cluster_goes_on_while_every_sync_takes_300_ms_longer() {
    if !may("slow-sync", shim::TOOLS) {
        return;
    }
    // A vote is saved with a sync, and elections must wait for it, as the node's own warning says.
    let slow = [SETTINGS, &["raft.election-timeout-min=2s", "raft.election-timeout-max=4s"]].concat();
    let mut cluster = with_faults(&slow).await;
    let mut load = Load::start(&mut cluster);
    load.progress(JOBS).await;
    for id in 1..=3 {
        cluster.faults(id).delay_syncs(300);
    }
    load.progress(JOBS).await;
    // An election too: its votes are saved on the same disks.
    let leader = cluster.leader().await;
    cluster.kill_node(leader);
    load.progress(1).await;
    cluster.start_node(leader);
    for id in 1..=3 {
        let bites = cluster.faults(id).bites();
        assert!(bites.syncs_delayed >= 3, "node {id}: {bites:?}");
        assert!(cluster.node(id).is_running(), "node {id}: {}", cluster.node(id).printed());
        cluster.faults(id).delay_syncs(0);
    }
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_a_leader_whose_disk_hangs_gives_way_and_ends() {
    if !may("frozen-disk", FREEZE_TOOLS) {
        return;
    }
    let mut cluster = on_disks().await;
    let mut load = Load::start(&mut cluster);
    load.progress(JOBS).await;
    let leader = cluster.leader().await;
    cluster.disk(leader).freeze();
    load.progress(JOBS).await;
    eventually("the last word of the node", || async {
        let log = std::fs::read_to_string(cluster.path(&format!("node-{leader}.log"))).ok()?;
        log.contains("does not answer: ").then_some(())
    })
    .await;
    load.progress(JOBS).await;
    // Threads that wait for a frozen disk cannot be ended, and keep their process in the table of processes.
    cluster.disk(leader).thaw();
    cluster.ended_saying(leader, &["disk-", "storage.stall-timeout", "start the node again"]).await;
    rejoins(&mut cluster, leader, &load).await;
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s35_a_leader_whose_syncs_hang_gives_way_before_it_ends() {
    if !may("slow-sync", shim::TOOLS) {
        return;
    }
    // Its writes go on, so it would lead on until it ends; it gives way after a part of that time.
    let patient = [&SETTINGS[..2], &["storage.stall-timeout=20s"]].concat();
    let mut cluster = with_faults(&patient).await;
    let mut load = Load::start(&mut cluster);
    load.progress(JOBS).await;
    let leader = cluster.leader().await;
    cluster.faults(leader).delay_syncs(HANGING_MS);
    cluster.leader_but(&[leader]).await;
    assert!(cluster.node(leader).is_running(), "another leads only since the node has ended");
    load.progress(JOBS).await;
    cluster.ended_saying(leader, &["node-", "storage.stall-timeout", "start the node again"]).await;
    cluster.faults(leader).delay_syncs(0);
    rejoins(&mut cluster, leader, &load).await;
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.assert_sound().await;
}
