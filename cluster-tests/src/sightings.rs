//! What readers of a node see of a job while it becomes visible.

use crate::PATIENCE;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::{GetSegmentRequest, SegmentState};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// The answer to a read; a node that cannot answer in time, since it is behind, is asked again.
///
/// # Errors
/// Any other answer of the node.
///
/// # Panics
/// When the node has not answered within `PATIENCE`.
pub async fn answered<R, F>(mut ask: impl FnMut() -> F) -> Result<R, Status>
where
    F: Future<Output = Result<Response<R>, Status>> + Send,
{
    let began = Instant::now();
    loop {
        match ask().await {
            Err(status) if is_passing(&status) => {
                assert!(began.elapsed() < PATIENCE, "{status:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answered => return answered.map(Response::into_inner),
        }
    }
}

/// Not answered in time: nothing was seen.
fn is_passing(status: &Status) -> bool {
    [Code::Unavailable, Code::Cancelled, Code::DeadlineExceeded].contains(&status.code())
}

/// What readers saw of the job and some of its targets, by revision.
#[derive(Debug, Default)]
pub struct Sightings {
    /// Not published at this revision, the highest one.
    pub hidden_last: u64,
    /// Published at this revision, the lowest one.
    pub published_first: Option<u64>,
    /// How often a target was looked at.
    pub looks: u64,
}

impl Sightings {
    fn saw(&mut self, revision: u64, published: bool) {
        self.looks += 1;
        if published {
            self.published_first = Some(self.published_first.map_or(revision, |first| first.min(revision)));
        } else {
            self.hidden_last = self.hidden_last.max(revision);
        }
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.looks += other.looks;
        self.hidden_last = self.hidden_last.max(other.hidden_last);
        self.published_first = self.published_first.into_iter().chain(other.published_first).min();
    }
}

/// Reads some targets on one node, over and over, until told to stop and once after that.
///
/// # Panics
/// When an answer is none that a reader may get.
pub async fn watch(mut client: SegmentServiceClient<Channel>, targets: Vec<i64>, stop: Arc<AtomicBool>) -> Sightings {
    let mut sightings = Sightings::default();
    loop {
        let mut last = stop.load(Ordering::Relaxed);
        for segment_id in &targets {
            let request = GetSegmentRequest { segment_id: *segment_id, consistency: 0 };
            match client.get_segment(request).await {
                Ok(answer) => {
                    let revision = answer.metadata().get("ferry-revision").expect("an answer tells its revision");
                    let revision = revision.to_str().expect("a number").parse().expect("a number");
                    let state = answer.into_inner().segment.expect("an answer has a segment").state();
                    assert_ne!(state, SegmentState::Dropped, "{segment_id}");
                    sightings.saw(revision, state == SegmentState::Flushed);
                }
                // A follower that is too far behind says so, and is asked again.
                Err(status) if is_passing(&status) => last = false,
                // Not submitted yet.
                Err(status) => assert_eq!(status.code(), Code::NotFound, "{status:?}"),
            }
        }
        if last {
            return sightings;
        }
    }
}
