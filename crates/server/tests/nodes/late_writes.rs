//! What a worker says of requests that its store did not answer: the clean-up is done after the last of them may come.

use crate::support::{Cluster, MANIFEST, ScriptedWorker, eventually, sample, submit};
use ferry_proto::v1::session_request::Message as Say;
use ferry_proto::v1::session_response::Message as Hear;
use ferry_proto::v1::{self, CleanupState, TaskWork, WaitingOn};

/// How long the store may carry out what the worker gave up: long enough to be looked at.
const LATE_MS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_up_is_done_after_the_last_late_write_may_come_and_says_so_until_then() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let mut request = submit(&sample());
    request.target.as_mut().unwrap().uri = "s3://bucket/place".to_owned();
    let job_id = node.jobs().submit_job(request).await.unwrap().into_inner().job.unwrap().job_id;
    let mut worker = ScriptedWorker::open(node.workers(), "scripted", 1).await;
    let assign = worker.assigned().await;
    let manifests = vec![MANIFEST; assign.id_mappings.len()];
    worker.send(Say::Claim(v1::Claim { attempt: assign.attempt, total_bytes: 1_000, manifests })).await;
    worker.wait(|message| matches!(message, Hear::Claimed(_)).then_some(())).await;
    node.jobs().cancel_job(v1::CancelJobRequest { job_id }).await.unwrap();
    let dropped = worker.wait(|message| if let Hear::Drop(drop) = message { drop.attempt } else { None }).await;
    worker.send(Say::Dropped(v1::Dropped { attempt: Some(dropped), writes_for_ms: LATE_MS })).await;
    let cleaned_up = || Some(v1::result::Outcome::CleanedUp(v1::CleanedUp {}));
    for attempt in [2, 3] {
        let assign = worker.assigned().await;
        assert_eq!((assign.attempt.unwrap().attempt, assign.work()), (attempt, TaskWork::CleanUp));
        let result = v1::Result { attempt: assign.attempt, outcome: cleaned_up(), writes_for_ms: 0 };
        worker.send(Say::Result(result)).await;
        worker.wait(|message| matches!(message, Hear::Acknowledged(_)).then_some(())).await;
        if attempt == 2 {
            let request = v1::ExplainJobRequest { job_id };
            let explained = node.jobs().explain_job(request).await.unwrap().into_inner();
            assert_eq!(explained.waiting_on(), WaitingOn::CleanUp);
            assert_eq!(explained.clean_up_waiting_on(), WaitingOn::LateWrites);
            assert!((1..=LATE_MS).contains(&explained.remaining_ms), "{explained:?}");
            assert!(explained.holds_targets && explained.explanation.contains("1 attempt of task"), "{explained:?}");
            assert_eq!(explained.job.unwrap().cleanup(), CleanupState::Pending);
        }
    }
    eventually("the clean-up is done", async || {
        let request = v1::GetJobRequest { job_id, ..v1::GetJobRequest::default() };
        let job = node.jobs().get_job(request).await.ok()?.into_inner().job?;
        (job.cleanup() == CleanupState::Done).then_some(())
    })
    .await;
    cluster.stop_all().await;
}
