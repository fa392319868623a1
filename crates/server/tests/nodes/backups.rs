//! Backups hold threads and files, so a node sends few at once, and those of clients that are gone count no more.

use crate::support::{Cluster, SAMPLE_SEGMENTS, eventually, sample, submit};
use ferry_proto::v1;
use std::collections::HashMap;
use tonic::{Code, Status, Streaming};

/// Of 32 KB each: more than a node and a connection keep of a backup that nobody reads.
const JOBS: usize = 300;
const BACKUPS_MAX: usize = 2;

fn random_text() -> String {
    (0..7).map(|_| uuid::Uuid::new_v4().to_string()).collect()
}

async fn fill(node: &crate::support::Node) {
    let labels = || -> HashMap<String, String> { (0..64).map(|_| (random_text(), random_text())).collect() };
    for _ in 0..JOBS {
        let mut request = submit(&sample());
        request.id_mappings = vec![v1::IdMapping { source_segment_id: SAMPLE_SEGMENTS[0], ..v1::IdMapping::default() }];
        request.options = Some(v1::JobOptions { labels: labels(), start_paused: true, ..v1::JobOptions::default() });
        node.jobs().submit_job(request).await.unwrap();
    }
}

async fn backup(node: &crate::support::Node) -> Result<Streaming<v1::BackupResponse>, Status> {
    Ok(node.cluster().backup(v1::BackupRequest::default()).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_backup_is_refused_until_one_of_two_that_nobody_reads_is_gone() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    fill(node).await;
    let mut unread = Vec::new();
    for _ in 0..BACKUPS_MAX {
        unread.push(backup(node).await.unwrap());
    }
    let refused = backup(node).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("ask another, or later"), "{refused}");

    drop(unread.pop());
    let mut third = eventually("a place for a backup", || async { backup(node).await.ok() }).await;
    let mut last = None;
    while let Some(part) = third.message().await.unwrap() {
        last = part.part;
    }
    assert!(matches!(last, Some(v1::backup_response::Part::End(_))), "it is whole: {last:?}");
    cluster.stop_all().await;
}
