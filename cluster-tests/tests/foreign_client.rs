//! A client in another language, with nothing but reflection, gets the whole of a job through a follower.

use cluster_tests::cluster::Cluster;
use cluster_tests::{file_uri, repository, sample};
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_with_reflection_alone_submits_watches_and_allocates() {
    let mut cluster = Cluster::start(3).await;
    cluster.start_worker("one", 2);
    cluster.start_worker("two", 2);
    let python = repository().join(".venv/bin/python");
    assert!(python.is_file(), "{} is missing: run scripts/setup, which makes it", python.display());
    let ran = Command::new(python)
        .arg(repository().join("cluster-tests/tests/foreign_client.py"))
        .arg(file_uri(&sample()))
        .arg(file_uri(&cluster.path("target")))
        .args(cluster.addresses().values())
        .output()
        .expect("python can be started");
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{printed}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(printed.contains("3 segments, 3300 rows"), "{printed}");
}
