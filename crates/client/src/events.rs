//! Watching the events of all jobs over the loss of nodes.
//!
//! Invariant: every event that was asked for is yielded once and in order, or the watch ends with OUT_OF_RANGE.

use crate::jobs::jobs;
use crate::stream::Resumed;
use crate::{Client, Error};
use ferry_proto::v1::{WatchEventsRequest, WatchEventsResponse};

/// Events of jobs, without an end.
pub struct EventWatch {
    client: Client,
    /// Where the next stream is to begin, should the open one break.
    request: WatchEventsRequest,
    responses: Resumed<WatchEventsResponse>,
}

impl EventWatch {
    pub(crate) fn new(client: Client, request: WatchEventsRequest) -> Self {
        Self { responses: Resumed::new(client.clone()), client, request }
    }

    /// The next events, or none where a node only says how far it is. The place in each response is where another watch
    /// can go on later.
    pub async fn next(&mut self) -> Result<WatchEventsResponse, Error> {
        let (_, response) = self
            .responses
            .next(&self.request, |channel, request| async move { jobs(channel).watch_events(request).await })
            .await?;
        self.client.saw_revision(response.revision);
        self.request.from_revision = Some(response.next_revision);
        self.request.from_ordinal = response.next_ordinal;
        Ok(response)
    }
}
