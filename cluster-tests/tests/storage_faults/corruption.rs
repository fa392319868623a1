//! Files of a node that stopped are flipped, cut and removed: the node starts with the right data, or refuses and names
//! the file and the way back.

use crate::load::{LABELS, Load};
use cluster_tests::cluster::Cluster;
use cluster_tests::process::ferry;
use cluster_tests::{PATIENCE, eventually, tree};
use ferry_proto::v1::{Consistency, GetStatusRequest, ListJobsRequest, ListSegmentsRequest};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const WAY_BACK: &str = "ferry cluster add-node";

fn damage(path: &Path, how: &str) {
    let mut bytes = fs::read(path).expect("a file of the node");
    match how {
        "flip" => {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 0x55;
            }
            fs::write(path, bytes).expect("written");
        }
        "cut" => fs::write(path, &bytes[..bytes.len() / 2]).expect("written"),
        "remove" => fs::remove_file(path).expect("removed"),
        other => panic!("{other} is no damage"),
    }
}

fn copy_folder(source: &Path, target: &Path) {
    fs::create_dir_all(target).expect("a folder");
    for entry in fs::read_dir(source).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = target.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => _ = fs::copy(&path, &to).expect("copied"),
        }
    }
}

/// Every job and segment as the node answers, or what it says instead.
async fn everything(cluster: &Cluster, id: u64) -> Result<String, tonic::Status> {
    let consistency = Consistency::Linearizable.into();
    let jobs = ListJobsRequest { page_size: 1_000, consistency, ..Default::default() };
    let mut jobs = cluster.jobs(id).list_jobs(jobs).await?.into_inner().jobs;
    for job in &mut jobs {
        // A map is written down in another order each time.
        assert_eq!(job.labels.drain().count(), LABELS);
        job.options = None;
    }
    let segments = ListSegmentsRequest { page_size: 1_000, consistency, ..Default::default() };
    let segments = cluster.segments(id).list_segments(segments).await?.into_inner().segments;
    Ok(format!("{jobs:?} {segments:?}"))
}

/// What became of a start: the node answers with this, or it ended with this last word.
enum Start {
    Answers(String),
    Ended(String),
}

async fn start(cluster: &mut Cluster, id: u64) -> Start {
    let _ = fs::remove_file(cluster.path(&format!("node-{id}.log")));
    cluster.start_node(id);
    let began = Instant::now();
    loop {
        if cluster.node(id).ended().is_some() {
            return Start::Ended(cluster.node(id).printed());
        }
        match everything(cluster, id).await {
            Ok(answer) => return Start::Answers(answer),
            // The rows cannot be read: said, and no data served.
            Err(status) if status.message().contains("/state/") => return Start::Ended(status.message().to_owned()),
            Err(status) => assert!(began.elapsed() < PATIENCE, "the node neither answers nor ends: {status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_no_damaged_file_of_a_node_makes_it_serve_wrong_data() {
    let mut cluster = Cluster::prepare(1, &["storage.memory=16MiB", "storage.checkpoint-interval-entries=100"]);
    cluster.start_all().await;
    let mut load = Load::start(&mut cluster);
    load.progress(60).await;
    load.pause().await;
    load.assert_kept(&cluster).await;
    cluster.kill_worker("busy");
    let expected = everything(&cluster, 1).await.expect("a sound node answers");
    assert_eq!(cluster.stop_node(1), Some(0));
    let (folder, sound) = (cluster.data_folder(1), cluster.path("sound"));
    copy_folder(&folder, &sound);
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for file in tree::files(&sound) {
        for how in ["flip", "cut", "remove"] {
            fs::remove_dir_all(&folder).expect("removed");
            copy_folder(&sound, &folder);
            damage(&folder.join(&file), how);
            match start(&mut cluster, 1).await {
                Start::Answers(answer) => {
                    right += 1;
                    if answer != expected {
                        wrong.push(format!("{how} {}: serves {answer}, not {expected}", file.display()));
                    }
                }
                Start::Ended(said) => {
                    refused += 1;
                    if !names_the_way_back(&said, &file) {
                        wrong.push(format!(
                            "{how} {}: names not both the place and the way back: {said}",
                            file.display()
                        ));
                    }
                }
            }
            cluster.kill_node(1);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{right} damages did no harm, {refused} were refused");
    assert!(right > 0 && refused > 5, "{right} right, {refused} refused: the damage does not bite");
}

/// The message names the file, or the database it belongs to, and what to do.
fn names_the_way_back(said: &str, file: &Path) -> bool {
    let place = match file.parent().and_then(Path::file_name) {
        Some(folder) => folder.to_string_lossy(),
        None => file.to_string_lossy(),
    };
    said.contains(&*place) && (said.contains(WAY_BACK) || said.contains("choose an empty folder"))
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_a_node_with_a_damaged_vote_refuses_and_comes_back_under_a_new_id_as_it_says() {
    for how in ["flip", "remove"] {
        let mut cluster = Cluster::start(3).await;
        let mut load = Load::start(&mut cluster);
        load.progress(10).await;
        let leader = cluster.leader().await;
        let node = leader % 3 + 1;
        cluster.kill_node(node);
        let vote = cluster.data_folder(node).join("vote");
        damage(&vote, how);
        cluster.start_node(node);
        let words = [&*vote.to_string_lossy(), "remove-node", "empty its folder", WAY_BACK];
        cluster.ended_saying(node, &words).await;
        load.progress(10).await;
        let endpoints = cluster.endpoints();
        let id = node.to_string();
        run(&["--endpoints", &endpoints, "cluster", "remove-node", "--id", &id]);
        cluster.wipe_node(node);
        cluster.start_newcomer(4);
        let request = GetStatusRequest { local_only: true };
        eventually("an answer of the new node", || async { cluster.status(4).get_status(request).await.ok() }).await;
        let address = cluster.addresses()[&4].clone();
        run(&["--endpoints", &endpoints, "cluster", "add-node", "--id", "4", "--address", &address]);
        load.progress(10).await;
        load.pause().await;
        load.assert_kept(&cluster).await;
        cluster.assert_sound().await;
    }
}

fn run(arguments: &[&str]) {
    let output = ferry(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
