//! Watching a job over the loss of nodes.
//!
//! Invariant: what a watch yields only moves forward in revisions, never repeats a state, and ends with a final one.

use crate::call::Manner;
use crate::jobs::jobs;
use crate::{Client, Error};
use ferry_proto::v1::{Consistency, Job, JobState, WatchJobRequest, WatchJobResponse};
use tokio::time::Instant;
use tonic::Streaming;

/// A job as it changes, until it has ended.
pub struct JobWatch {
    client: Client,
    request: WatchJobRequest,
    stream: Option<(String, Streaming<WatchJobResponse>)>,
    /// The last update that was yielded.
    seen: Option<WatchJobResponse>,
    /// Since when no update has come although streams were opened, with the pauses between them.
    silence: Option<(Instant, Box<dyn Iterator<Item = std::time::Duration> + Send>)>,
}

impl JobWatch {
    pub(crate) fn new(client: Client, job_id: i64, consistency: Consistency) -> Self {
        let request = WatchJobRequest { job_id, consistency: consistency.into() };
        Self { client, request, stream: None, seen: None, silence: None }
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
        loop {
            let (endpoint, stream) = self.stream().await?;
            let endpoint = endpoint.clone();
            let error = match stream.message().await {
                Ok(Some(update)) if update.job.is_none() => {
                    return Err(Error::Incomplete { endpoint, field: "job" });
                }
                Ok(Some(update)) => {
                    self.silence = None;
                    return Ok(update);
                }
                Ok(None) => {
                    let cause = "the watch ended before the job".to_owned();
                    Error::Unreachable { endpoint: endpoint.clone(), cause }
                }
                Err(status) => Error::from_status(&status, &endpoint),
            };
            self.stream = None;
            if !error.is_passing() {
                return Err(error);
            }
            tracing::debug!(endpoint, %error, "watching on another node");
            self.client.leave_endpoint(&endpoint);
            self.pause(error).await?;
        }
    }

    /// The open stream; a new one begins at the highest revision seen, so that it cannot fall back.
    async fn stream(&mut self) -> Result<&mut (String, Streaming<WatchJobResponse>), Error> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        Ok(self.stream.insert(stream))
    }

    // Not `&self`: a watch can be sent to another thread, but not shared with one.
    async fn open(&mut self) -> Result<(String, Streaming<WatchJobResponse>), Error> {
        let manner = Manner { streaming: true, ..self.client.short() };
        let opened = self
            .client
            .call(manner, self.request, |channel, request| async move { jobs(channel).watch_job(request).await })
            .await?;
        Ok((opened.endpoint, opened.message))
    }

    /// Streams that open and break at once are not to be opened in a hurry, nor for ever.
    async fn pause(&mut self, error: Error) -> Result<(), Error> {
        let timeout = self.client.shared.options.timeout;
        let (since, pauses) = self.silence.get_or_insert_with(|| (Instant::now(), Box::new(self.client.pauses())));
        if since.elapsed() >= timeout {
            return Err(error);
        }
        tokio::time::sleep(pauses.next().unwrap_or_default()).await;
        Ok(())
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
