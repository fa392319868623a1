//! Ids that nodes hand out while leaders die, freeze and come back: each is handed out once, for ever.

use cluster_tests::cluster::{Cluster, submit_request};
use cluster_tests::{eventually, tree};
use ferry_proto::v1::{AllocateIdsRequest, JobOptions, JobState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

const SEGMENTS: i64 = 40;
const COLLECTION: i64 = 200;
/// Leaders that are lost, one way after the other.
const LOSSES: usize = 12;
/// Clients that ask one node.
const CLIENTS_PER_NODE: u32 = 2;
/// Small, so that windows are used up, but no leader is without one for long.
const WINDOW: &str = "leadership.allocator-window=200";

/// What every client was given: first id, count, and by which node.
type Given = Arc<Mutex<Vec<(i64, u32, u64)>>>;

/// Asks one node again and again; what is not answered may be lost, and nothing more.
async fn allocate(cluster: Arc<Mutex<Cluster>>, node: u64, seed: u32, stop: Arc<AtomicBool>, given: Given) {
    let mut ids = cluster.lock().await.ids(node);
    let mut count = seed;
    while !stop.load(Ordering::Relaxed) {
        count = count * 31 % 19 + 1;
        let mut request = tonic::Request::new(AllocateIdsRequest { count });
        request.set_timeout(std::time::Duration::from_secs(2));
        match ids.allocate_ids(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                assert_eq!(answer.count, count);
                given.lock().await.push((answer.first_id, count, node));
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A leader is lost, and comes back once another one has begun to lead.
async fn lose_a_leader(cluster: &Mutex<Cluster>, loss: usize) {
    let mut cluster = cluster.lock().await;
    let leader = cluster.leader().await;
    if loss.is_multiple_of(2) {
        cluster.kill_node(leader);
        cluster.leader().await;
        cluster.start_node(leader);
    } else {
        cluster.freeze_node(leader);
        cluster.leader_but(&[leader]).await;
        cluster.thaw_node(leader);
    }
}

/// Enough was given out by whoever leads now, so that the next loss meets a window that is in use.
async fn more_is_given(given: &Given, than: usize) {
    eventually("more ids", || async { (given.lock().await.len() > than + 60).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_an_id_is_handed_out_once_while_leaders_die_freeze_and_come_back() {
    let mut cluster = Cluster::start_with(3, &[WINDOW]).await;
    let (source, target) = (cluster.path("source"), cluster.path("target"));
    tree::make(&source, SEGMENTS, 64 * 1024);
    cluster.start_worker("only", 2);
    let mut request = submit_request(&source, &target, COLLECTION);
    let bandwidth_bytes_per_second = 512 * 1024;
    request.options = Some(JobOptions { bandwidth_bytes_per_second, ..Default::default() });
    let job_id = cluster.submit(request).await;

    let nodes = cluster.running();
    let cluster = Arc::new(Mutex::new(cluster));
    let (given, stop) = (Given::default(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for (node, seed) in nodes.iter().flat_map(|node| (0..CLIENTS_PER_NODE).map(|seed| (*node, seed))) {
        let seed = seed + u32::try_from(node).expect("small") * 10;
        clients.spawn(allocate(Arc::clone(&cluster), node, seed, Arc::clone(&stop), Arc::clone(&given)));
    }
    for loss in 0..LOSSES {
        let before = given.lock().await.len();
        more_is_given(&given, before).await;
        lose_a_leader(&cluster, loss).await;
    }
    let before = given.lock().await.len();
    more_is_given(&given, before).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client does not panic");
    }

    let cluster = cluster.lock().await;
    let job = cluster.ended(job_id).await;
    assert_eq!(job.state(), JobState::Completed, "what a deposed leader assigned or reported took no effect: {job:?}");
    let leader = cluster.leader().await;
    let mut ranges: Vec<(i64, i64, String)> = given
        .lock()
        .await
        .iter()
        .map(|(first, count, node)| (*first, first + i64::from(*count), format!("ids by node {node}")))
        .collect();
    let answers = ranges.len();
    // What the cluster takes for itself comes from the same source.
    ranges.push((job_id, job_id + 1, "the job".to_owned()));
    for segment in cluster.targets(leader, job_id).await.expect("the leader knows the targets") {
        tree::assert_copied(&source, &target, segment.source_segment_id, segment.segment_id, COLLECTION);
        ranges.push((segment.segment_id, segment.segment_id + 1, "a target".to_owned()));
    }
    for task in cluster.tasks(job_id).await {
        ranges.push((task.task_id, task.task_id + 1, "a task".to_owned()));
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{:?} and {:?} overlap", pair[0], pair[1]);
    }
    assert!(ranges[0].0 >= 1 << 40, "the callers' own ids are never handed out: {:?}", ranges[0]);
    let mut by_node: BTreeMap<u64, usize> = BTreeMap::new();
    given.lock().await.iter().for_each(|(_, _, node)| *by_node.entry(*node).or_default() += 1);
    println!("{answers} allocations over {LOSSES} lost leaders, by node {by_node:?}");
    assert_eq!(by_node.len(), nodes.len(), "every node has answered: {by_node:?}");
    cluster.assert_sound().await;
}
