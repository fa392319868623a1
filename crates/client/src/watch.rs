//! Watching a job over the loss of nodes.
//!
//! Invariant: what a watch yields only moves forward in revisions, never repeats a state, and ends with a final one.

use crate::jobs::jobs;
use crate::stream::Resumed;
use crate::{Client, Error};
use ferry_proto::v1::{Consistency, Job, JobState, WatchJobRequest, WatchJobResponse};

/// A job as it changes, until it has ended.
pub struct JobWatch {
    client: Client,
    request: WatchJobRequest,
    updates: Resumed<WatchJobResponse>,
    /// The last update that was yielded.
    seen: Option<WatchJobResponse>,
}

impl JobWatch {
    pub(crate) fn new(client: Client, job_id: i64, consistency: Consistency) -> Self {
        let request = WatchJobRequest { job_id, consistency: consistency.into() };
        Self { updates: Resumed::new(client.clone()), client, request, seen: None }
    }

    /// The next state of the job; `None` after the final one.
    pub async fn next(&mut self) -> Result<Option<WatchJobResponse>, Error> {
        if self.seen.as_ref().and_then(|seen| seen.job.as_ref()).is_some_and(is_final) {
            return Ok(None);
        }
        loop {
            let update = self.receive().await?;
            self.client.saw_revision(update.revision);
            if self.is_news(&update) {
                self.seen = Some(update.clone());
                return Ok(Some(update));
            }
        }
    }

    /// A node that is behind, or a new stream, may bring what was seen already.
    fn is_news(&self, update: &WatchJobResponse) -> bool {
        match &self.seen {
            None => true,
            Some(seen) => update.revision >= seen.revision && timeless(update) != timeless(seen),
        }
    }

    async fn receive(&mut self) -> Result<WatchJobResponse, Error> {
        let (endpoint, update) = self
            .updates
            .next(&self.request, |channel, request| async move { jobs(channel).watch_job(request).await })
            .await?;
        if update.job.is_none() {
            return Err(Error::Incomplete { endpoint, field: "job" });
        }
        Ok(update)
    }
}

/// The job without its age, which grows although nothing has happened.
fn timeless(update: &WatchJobResponse) -> Option<Job> {
    update.job.clone().map(|job| Job { duration_ms: 0, ..job })
}

/// The job has ended and will not change its state again.
pub fn is_final(job: &Job) -> bool {
    match job.state() {
        JobState::Completed | JobState::Failed | JobState::Canceled => true,
        JobState::Unspecified | JobState::Pending | JobState::Executing => false,
    }
}
