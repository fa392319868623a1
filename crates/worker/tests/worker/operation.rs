//! What those who run a worker see: it finds the leader, and says how it is.

use crate::support::leader::{LONG_LEASE_MS, Node, patient};
use crate::support::sample::{Sample, attempt, copied_segments};
use crate::support::worker::{Worker, config};
use ferry_worker::{Config, ConfigError, RunError};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patient(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_leads_to_the_leader() {
    let (mut follower, mut leader) = (Node::start().await, Node::start().await);
    let nobody = free_address().await.to_string();
    let endpoints = vec![nobody, follower.address.clone()];
    let _worker = Worker::start(Config { endpoints, ..config(&follower) });
    follower.refer("").await;
    follower.refer(&leader.address).await;
    let talk = leader.welcome(LONG_LEASE_MS).await;
    assert_eq!((talk.hello.name.as_str(), talk.hello.slots), ("worker", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_tells_whether_the_worker_is_ready_and_what_it_did() {
    let (sample, mut node) = (Sample::new(), Node::start().await);
    let admin = free_address().await;
    let _worker = Worker::start(Config { admin_listen: Some(admin), ..config(&node) });
    let mut talk = node.welcome(LONG_LEASE_MS).await;
    copied_segments(talk.finish(sample.assign(attempt(1, 1))).await);
    assert!(get(admin, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get(admin, "/metrics").await;
    assert!(metrics.contains("ferry_worker_attempts_total{outcome=\"copied\"} 1"), "{metrics}");
    let bytes: usize = sample.expected().values().map(Vec::len).sum();
    assert!(metrics.contains(&format!("ferry_worker_copied_bytes_total {bytes}")), "{metrics}");
    assert!(metrics.contains("ferry_worker_running_attempts 0"), "{metrics}");
}

#[tokio::test]
async fn a_worker_without_a_leader_is_alive_but_not_ready() {
    let node = Node::start().await;
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = admin.local_addr().unwrap();
    drop(admin);
    let options = Config { admin_listen: Some(address), ..config(&node) };
    let _worker = Worker::start(options);
    let answer = patient(async {
        loop {
            match TcpStream::connect(address).await {
                Ok(_) => return get(address, "/readyz").await,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert!(answer.await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_worker_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Config {
        endpoints: vec!["127.0.0.1:1".into()],
        name: "worker".into(),
        admin_listen: Some(taken.local_addr().unwrap()),
        ..Config::default()
    };
    let error = ferry_worker::run(options, std::future::pending()).await.unwrap_err();
    assert!(matches!(&error, RunError::Admin { .. }) && error.to_string().contains("admin-listen"), "{error}");
}

#[tokio::test]
async fn options_that_cannot_work_end_the_worker_at_once() {
    let error = ferry_worker::run(Config::default(), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, RunError::Config(ConfigError::Invalid { key: "endpoints", .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_ends_at_once() {
    let mut node = Node::start().await;
    let worker = Worker::start(config(&node));
    let _talk = node.welcome(LONG_LEASE_MS).await;
    Worker::ended(worker.end()).await;
}
