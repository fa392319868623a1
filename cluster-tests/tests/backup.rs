//! Backups of real nodes become new clusters: what was acknowledged is there, what ran goes on, and no id comes twice.

use cluster_tests::cluster::Cluster;
use cluster_tests::eventually;
use cluster_tests::process::ferry;
use cluster_tests::running_job::RunningJob;
use ferry_proto::v1::{AllocateIdsRequest, JobOptions, JobState};
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Output;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn refused(output: &Output, words: &str) {
    assert!(!output.status.success() && said(output).contains(words), "{words:?} is not in: {}", said(output));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn restore(cluster: &Cluster, id: u64, input: &Path) -> Output {
    let peers: Vec<String> = cluster.addresses().iter().map(|(id, address)| format!("{id}={address}")).collect();
    let folder = cluster.data_folder(id);
    let node = ["--data-dir", text(&folder), "--id", &id.to_string(), "--peers", &peers.join(",")].map(str::to_owned);
    let mut arguments = ["cluster", "restore", "--file", text(input)].map(str::to_owned).to_vec();
    arguments.extend(node);
    ferry(&arguments)
}

/// Three new nodes that were made of a backup, and that run.
async fn restored(input: &Path) -> Cluster {
    let mut cluster = Cluster::prepare(3, &[]);
    let clusters: BTreeSet<String> = (1..=3)
        .map(|id| {
            let said = succeeds(&restore(&cluster, id, input));
            let (_, behind) = said.split_once("of the new cluster ").expect("the new cluster is named");
            behind.split_whitespace().next().expect("its id").to_owned()
        })
        .collect();
    assert_eq!(clusters.len(), 1, "all founders are of one cluster: {clusters:?}");
    refused(&restore(&cluster, 1, input), "is not empty");
    cluster.start_all().await;
    succeeds(&ferry(&["--endpoints", &cluster.endpoints(), "cluster", "check"]));
    cluster
}

async fn ids(cluster: &Cluster) -> Range<i64> {
    eventually("ids", || async {
        let leader = cluster.leader().await;
        let given = cluster.ids(leader).allocate_ids(AllocateIdsRequest { count: 10 }).await.ok()?.into_inner();
        Some(given.first_id..given.first_id + i64::from(given.count))
    })
    .await
}

/// A single lost attempt would end the job.
async fn copying(cluster: &mut Cluster) -> RunningJob {
    RunningJob::begin(cluster, &["left"], JobOptions { attempts_max: 1, ..Default::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ran_when_a_follower_was_backed_up_completes_in_a_new_cluster() {
    let mut old = Cluster::start(3).await;
    let job = copying(&mut old).await;
    let before = ids(&old).await;
    let leader = old.leader().await;
    let follower = old.running().into_iter().find(|id| *id != leader).expect("there are followers");
    let file = old.path("backup");
    // Its attempts are leased still. What it would begin and claim after the backup would be in the way of a restore.
    old.kill_worker("left");
    let backup = ["--endpoints", &old.addresses()[&follower], "cluster", "backup", "--file", text(&file)];
    succeeds(&ferry(&backup));
    refused(&ferry(&backup), "is there already");
    let after = ids(&old).await;
    let running = old.job(leader, job.job_id).await.expect("the old cluster goes on");
    assert_eq!(running.state(), JobState::Executing, "the backup was made while the job ran: {running:?}");
    for id in old.running() {
        old.kill_node(id);
    }

    let mut new = restored(&file).await;
    let later = ids(&new).await;
    assert!(before.end <= after.start && after.end <= later.start, "{before:?}, {after:?}, {later:?}");
    new.start_worker("left", 2);
    job.completes(&new).await;
    new.assert_sound().await;

    // A node of the old cluster in the place of one of the new: nothing of either reaches the other.
    let place = new.data_folder(3);
    new.stop_node(3);
    fs::rename(&place, new.path("aside")).expect("the folder can be renamed");
    fs::rename(old.data_folder(3), &place).expect("the folder can be renamed");
    new.start_node(3);
    eventually("a refusal", || {
        let refused = new.running().into_iter().any(|id| new.node(id).printed().contains("the sender to cluster"));
        async move { refused.then_some(()) }
    })
    .await;
    let last = ids(&new).await;
    assert!(later.end <= last.start, "{later:?}, {last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_comes_back_from_the_one_node_that_is_left_of_three() {
    let mut old = Cluster::start(3).await;
    let job = copying(&mut old).await;
    job.completes(&old).await;
    let before = ids(&old).await;
    // Whoever leads has everything that was acknowledged.
    let survivor = old.leader().await;
    let (folder, file) = (old.data_folder(survivor), old.path("backup"));
    let backup = ["cluster", "backup", "--data-dir", text(&folder), "--file", text(&file)];
    refused(&ferry(&backup), "in use");
    assert!(!file.exists());
    for id in old.running().into_iter().filter(|id| *id != survivor) {
        old.wipe_node(id);
    }
    old.kill_node(survivor);
    let no_node = old.path("no-node");
    fs::create_dir(&no_node).expect("a folder");
    refused(&ferry(&["cluster", "backup", "--data-dir", text(&no_node), "--file", text(&file)]), "is no node's folder");
    succeeds(&ferry(&backup));
    old.start_node(survivor);
    let ended =
        eventually("the end of a node whose folder was backed up", || std::future::ready(old.node(survivor).code()))
            .await;
    let printed = old.node(survivor).printed();
    assert!(ended == 1 && printed.contains("was backed up while its node was stopped"), "{ended}: {printed}");

    let new = restored(&file).await;
    job.completes(&new).await;
    let later = ids(&new).await;
    assert!(before.end <= later.start, "{before:?}, {later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_is_restored_once_more_after_it_ran_ends_and_the_cluster_goes_on() {
    let old = Cluster::start(1).await;
    ids(&old).await;
    let file = old.path("backup");
    succeeds(&ferry(&["--endpoints", &old.endpoints(), "cluster", "backup", "--file", text(&file)]));
    let mut new = restored(&file).await;
    let leader = new.leader().await;
    let founder = new.running().into_iter().find(|id| *id != leader).expect("there are followers");
    new.all_met(founder).await;
    let before = ids(&new).await;
    new.wipe_node(founder);
    succeeds(&restore(&new, founder, &file));
    new.start_node(founder);
    let removal = format!("ferry cluster remove-node --id {founder}");
    new.ended_saying(founder, &["came back with another folder", &removal, "under a new id"]).await;
    new.kill_node(founder);
    let after = ids(&new).await;
    assert!(before.end <= after.start, "{before:?}, {after:?}");
    new.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_before_anything_is_written() {
    let old = Cluster::start(1).await;
    ids(&old).await;
    let (file, damaged) = (old.path("backup"), old.path("damaged"));
    succeeds(&ferry(&["--endpoints", &old.endpoints(), "cluster", "backup", "--file", text(&file)]));
    let bytes = fs::read(&file).expect("the backup is there");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let new = Cluster::prepare(3, &[]);
    for content in [&bytes[..bytes.len() - 1], &flipped] {
        fs::write(&damaged, content).expect("written");
        refused(&restore(&new, 1, &damaged), "no whole backup");
        assert!(!new.data_folder(1).exists(), "nothing is written");
    }
    let foreign = new.data_folder(2);
    fs::create_dir_all(&foreign).expect("a folder");
    fs::write(foreign.join("letter"), "mine").expect("written");
    refused(&restore(&new, 2, &file), "is not empty");
    assert_eq!(fs::read_dir(&foreign).expect("it is there").count(), 1, "nothing is written beside");
}
