//! Every kind of client at once on a cluster whose nodes and workers are killed and stopped: nothing that anybody was
//! told contradicts anything else, and everything comes to its end.

use cluster_tests::checkers::{Ending, verify};
use cluster_tests::cluster::Cluster;
use cluster_tests::process::Process;
use cluster_tests::traffic::history::Kind;
use cluster_tests::traffic::{Settings, Traffic};
use std::time::{Duration, Instant};

/// So that clean-ups, which wait for what a lost worker may still write, begin within the test.
const QUICK: [&str; 3] =
    ["leadership.lease=2s", "leadership.heartbeat-interval=500ms", "leadership.request-timeout=2s"];
/// Between two faults.
const CALM: Duration = Duration::from_millis(2_500);
/// Longer than the lease of a leader and of a worker.
const STOPPED: Duration = Duration::from_millis(3_000);
const ROUNDS: u32 = 3;

/// A worker whose requests may not take longer than clean-ups wait for; killed when it is dropped.
fn start_worker(cluster: &Cluster, name: &str) -> Process {
    let endpoints = cluster.endpoints();
    let arguments =
        ["worker", "--endpoints", &endpoints, "--name", name, "--slots", "4", "--set", "request-timeout=2s"];
    Process::start(&arguments, &cluster.path(&format!("worker-{name}.log")))
}

/// Kills the leader, stops a node, kills a worker, and once all nodes.
async fn torment(cluster: &mut Cluster, workers: &mut Vec<Process>) {
    for round in 0..ROUNDS {
        tokio::time::sleep(CALM).await;
        let leader = cluster.leader().await;
        cluster.kill_node(leader);
        tokio::time::sleep(CALM).await;
        cluster.start_node(leader);
        let next = cluster.leader().await;
        cluster.freeze_node(next);
        tokio::time::sleep(STOPPED).await;
        cluster.thaw_node(next);
        drop(workers.pop());
        tokio::time::sleep(CALM).await;
        workers.push(start_worker(cluster, "left"));
        if round == 1 {
            let all = cluster.running();
            all.iter().for_each(|node| cluster.kill_node(*node));
            all.iter().for_each(|node| cluster.start_node(*node));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_are_told_through_kills_and_stops_contradicts_nothing() {
    let mut cluster = Cluster::start_with(3, &QUICK).await;
    let mut workers = vec![start_worker(&cluster, "right"), start_worker(&cluster, "left")];
    let settings = Settings::new(cluster.addresses().clone(), cluster.path("traffic"), 1);
    let (began, traffic) = (Instant::now(), Traffic::start(settings).await);
    torment(&mut cluster, &mut workers).await;
    traffic.calm();
    let history = traffic.stop().await;
    let run = began.elapsed();
    let ending = Ending { endpoints: cluster.addresses().clone(), bound: Duration::from_secs(60), places: None };
    let verdict = verify(&history, &ending).await;
    println!("{verdict}");
    assert!(verdict.violations.is_empty(), "{verdict}\nhistory: {}", history.path().display());
    assert_eq!(verdict.counts.too_thin(run), Vec::<String>::new(), "{verdict}");
    assert!(verdict.counts.ok(Kind::Submit) > 20 && verdict.files.copies > 100, "{verdict}");
    assert!(verdict.explained > 20, "{verdict}");
}
