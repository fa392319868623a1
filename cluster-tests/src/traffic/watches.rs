//! Watches: each state that one shows is an operation of its own, with the revision it came with.

use super::caller::{Ask, Caller};
use super::facts::JobFact;
use super::history::{Answer, Outcome, Promise, Request};
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::{Consistency, WatchJobRequest};
use rand::Rng;
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long a node may take until a watch shows its first state.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// A watch of a job that does not end is left after this long.
const WATCH_MAX_MS: u64 = 12_000;

type States = Streaming<ferry_proto::v1::WatchJobResponse>;

/// Watches a job until it ends, the node breaks off, or it takes too long.
pub(crate) async fn watch(caller: &mut Caller, node: u64, job: i64) {
    let Some(channel) = caller.shared.endpoints.channel(node) else { return };
    let called_us = caller.shared.history.now_us();
    let opened = tokio::time::timeout(OPEN_TIMEOUT, open(channel, job)).await;
    let opened = opened.unwrap_or_else(|_| Err(Status::deadline_exceeded("the watch did not open")));
    let mut states = match opened {
        Ok(states) => states,
        Err(status) => {
            let ask = Ask::new(node, Request::Watch(job, 0), Promise::Linearizable);
            caller.record(ask, called_us, Outcome::of(&status), status.metadata(), Answer::None);
            return;
        }
    };
    let longest = Duration::from_millis(caller.random.random_range(WATCH_MAX_MS / 4..WATCH_MAX_MS));
    let until = tokio::time::Instant::now() + longest;
    let mut shown = 0;
    let outcome = loop {
        match tokio::time::timeout_at(until, states.next()).await {
            Ok(Some(Ok(state))) => {
                note(caller, node, job, shown, called_us, state);
                shown += 1;
            }
            Ok(Some(Err(status))) => break Outcome::of(&status),
            Ok(None) => break Outcome::Ok,
            Err(_) => break Outcome::Unknown(Code::Cancelled, "left by its client".to_owned()),
        }
    };
    let ask = Ask::new(node, Request::WatchEnd(job, shown), Promise::Local);
    caller.record(ask, called_us, outcome, &MetadataMap::new(), Answer::None);
}

async fn open(channel: Channel, job_id: i64) -> Result<States, Status> {
    let request = WatchJobRequest { job_id, consistency: Consistency::Linearizable.into() };
    Ok(JobServiceClient::new(channel).watch_job(request).await?.into_inner())
}

/// The first state reflects everything that was acknowledged before; later ones say only what their node has.
fn note(caller: &Caller, node: u64, job: i64, shown: u32, called_us: u64, state: ferry_proto::v1::WatchJobResponse) {
    let promise = if shown == 0 { Promise::Linearizable } else { Promise::Local };
    let mut metadata = MetadataMap::new();
    metadata.insert("ferry-revision", MetadataValue::from(state.revision));
    let answer = state.job.map_or(Answer::None, |job| Answer::Job(JobFact::of(job)));
    caller.record(Ask::new(node, Request::Watch(job, shown), promise), called_us, Outcome::Ok, &metadata, answer);
}
