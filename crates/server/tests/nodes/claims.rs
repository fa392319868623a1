//! What the leader keeps of a claim, and what it tells the attempts that come after it.

use crate::support::{Cluster, ScriptedWorker, sample, submit};
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::{self, TaskWork};

/// The manifests of the sample's three segments, as a worker reads them.
fn manifests() -> Vec<v1::ManifestPin> {
    (1..=3).map(|number| v1::ManifestPin { size_bytes: 800 + u64::from(number), crc32c: number }).collect()
}

fn claim(assign: &v1::Assign, manifests: Vec<v1::ManifestPin>) -> Say {
    Say::Claim(v1::Claim { attempt: assign.attempt, total_bytes: 1_000, manifests })
}

async fn claimed(worker: &mut ScriptedWorker, assign: &v1::Assign) {
    let attempt = assign.attempt;
    worker.send(claim(assign, manifests())).await;
    worker.wait(|message| matches!(message, Hear::Claimed(claimed) if claimed.attempt == attempt).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_attempts_and_clean_ups_are_told_the_manifests_of_the_claim() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let job_id = node.jobs().submit_job(submit(&sample())).await.unwrap().into_inner().job.unwrap().job_id;
    let mut worker = ScriptedWorker::open(node.workers(), "scripted", 1).await;
    let first = worker.assigned().await;
    assert!(!first.claimed && first.manifests.is_empty());
    claimed(&mut worker, &first).await;
    let failure = v1::Failure { kind: v1::FailureKind::Transient.into(), reason: "throttled".into() };
    let outcome = Some(v1::result::Outcome::Failure(failure));
    worker.send(Say::Result(v1::Result { attempt: first.attempt, outcome, writes_for_ms: 0 })).await;
    let second = worker.assigned().await;
    assert_eq!((second.attempt.unwrap().attempt, second.claimed, second.work()), (2, true, TaskWork::Copy));
    assert_eq!(second.manifests, manifests());
    node.jobs().cancel_job(v1::CancelJobRequest { job_id }).await.unwrap();
    let dropped = worker.wait(|message| if let Hear::Drop(drop) = message { drop.attempt } else { None }).await;
    worker.send(Say::Dropped(v1::Dropped { attempt: Some(dropped), writes_for_ms: 0 })).await;
    let clean_up = worker.assigned().await;
    assert_eq!((clean_up.work(), clean_up.claimed), (TaskWork::CleanUp, true));
    assert_eq!(clean_up.manifests, manifests());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_repeated_with_another_manifest_fails_the_job_and_names_its_segment() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let job_id = node.jobs().submit_job(submit(&sample())).await.unwrap().into_inner().job.unwrap().job_id;
    let mut worker = ScriptedWorker::open(node.workers(), "scripted", 1).await;
    let assign = worker.assigned().await;
    claimed(&mut worker, &assign).await;
    claimed(&mut worker, &assign).await;
    let mut altered = manifests();
    altered[1].crc32c = 0xbad;
    worker.send(claim(&assign, altered)).await;
    let dropped = worker.wait(|message| if let Hear::Drop(drop) = message { drop.attempt } else { None }).await;
    assert_eq!(Some(dropped), assign.attempt);
    let request = v1::WaitJobRequest { job_id, ..v1::WaitJobRequest::default() };
    let job = node.jobs().wait_job(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), v1::JobState::Failed);
    let segment = assign.id_mappings[1].source_segment_id;
    let named = format!("the manifest of source segment {segment} has 802 bytes with CRC32C 00000bad");
    assert!(job.reason.contains(&named) && job.reason.contains("802 bytes with CRC32C 00000002"), "{}", job.reason);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_a_manifest_for_each_segment_is_not_granted_and_counts_as_a_failed_attempt() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    node.jobs().submit_job(submit(&sample())).await.unwrap();
    let mut worker = ScriptedWorker::open(node.workers(), "scripted", 1).await;
    let assign = worker.assigned().await;
    worker.send(claim(&assign, manifests().split_off(1))).await;
    let answer = worker.wait(|message| matches!(message, Hear::Claimed(_) | Hear::Drop(_)).then_some(message)).await;
    assert!(matches!(answer, Hear::Drop(drop) if drop.attempt == assign.attempt));
    let again = worker.assigned().await;
    assert_eq!((again.attempt.unwrap().attempt, again.claimed), (2, false));
    cluster.stop_all().await;
}
