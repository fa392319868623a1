//! The leader as attempts reach it beside the session: over the connection that the session has.

use crate::failure::Fault;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::{ListSegmentsRequest, Segment};
use std::time::Duration;
use tokio::sync::watch;
use tonic::transport::Channel;

/// Segments that one call lists, the most that a node gives.
const PAGE_SIZE: u32 = 1_000;

/// The connection to the leader, while there is one.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    channel: watch::Receiver<Option<Channel>>,
}

impl Leader {
    pub(crate) fn new(channel: watch::Receiver<Option<Channel>>) -> Leader {
        Leader { channel }
    }

    /// Every target segment of a job, by id.
    pub(crate) async fn segments(&self, job_id: i64, request_timeout: Duration) -> Result<Vec<Segment>, Fault> {
        let channel = self.channel.borrow().clone();
        let channel =
            channel.ok_or_else(|| Fault::Transient("there is no leader to list the segments; try again".into()))?;
        let mut client = SegmentServiceClient::new(channel);
        let mut segments = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListSegmentsRequest { page_size: PAGE_SIZE, page_token, job_id, ..Default::default() };
            let failed =
                |why: &str| Fault::Transient(format!("the leader did not list the job's segments: {why}; try again"));
            let page = tokio::time::timeout(request_timeout, client.list_segments(request)).await;
            let page = page.map_err(|_| failed("no answer in time"))?.map_err(|status| failed(status.message()))?;
            let page = page.into_inner();
            segments.extend(page.segments);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(segments);
            }
        }
    }
}
