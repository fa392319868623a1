//! Jobs and tasks: one method per call, and a wait that holds out over the loss of nodes.

use crate::events::EventWatch;
use crate::watch::JobWatch;
use crate::{Answer, Client, Error};
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::{
    CancelJobRequest, CancelJobResponse, CleanUpJobRequest, CleanUpJobResponse, Consistency, ExplainJobRequest,
    ExplainJobResponse, GetJobRequest, GetJobResponse, GetJobsRequest, GetJobsResponse, GetTaskRequest,
    GetTaskResponse, GetTasksRequest, GetTasksResponse, ListJobsRequest, ListJobsResponse, ListTasksRequest,
    ListTasksResponse, PauseJobRequest, PauseJobResponse, ResumeJobRequest, ResumeJobResponse, SubmitJobRequest,
    SubmitJobResponse, UpdateJobRequest, UpdateJobResponse, WaitJobRequest, WaitJobResponse, WatchEventsRequest,
};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;

/// The longest a node is asked to wait in one call; a longer wait is made of several.
const WAIT_STEP_MAX: Duration = Duration::from_secs(20);

/// The most a node may answer in one message: a dry run of a large job lists every mapping.
const ANSWER_BYTES_MAX: usize = 512 << 20;

pub(crate) fn jobs(channel: Channel) -> JobServiceClient<Channel> {
    JobServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl Client {
    /// Submits a job. Without a request id it gets one here, so that every try of this call is the same submit.
    pub async fn submit_job(&self, mut request: SubmitJobRequest) -> Result<Answer<SubmitJobResponse>, Error> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::new_v4().to_string();
        }
        self.call(self.long(self.shared.options.timeout), request, |channel, request| async move {
            jobs(channel).submit_job(request).await
        })
        .await
    }

    /// One job.
    pub async fn get_job(&self, request: GetJobRequest) -> Result<Answer<GetJobResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).get_job(request).await }).await
    }

    /// Many jobs by id.
    pub async fn get_jobs(&self, request: GetJobsRequest) -> Result<Answer<GetJobsResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).get_jobs(request).await }).await
    }

    /// A page of jobs.
    pub async fn list_jobs(&self, request: ListJobsRequest) -> Result<Answer<ListJobsResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).list_jobs(request).await }).await
    }

    /// The job now and at each change until it has ended, over the loss of any node.
    pub fn watch_job(&self, job_id: i64, consistency: Consistency) -> JobWatch {
        JobWatch::new(self.clone(), job_id, consistency)
    }

    /// The events of jobs from a place on, without an end, over the loss of any node.
    pub fn watch_events(&self, request: WatchEventsRequest) -> EventWatch {
        EventWatch::new(self.clone(), request)
    }

    /// Waits until the job has ended; DEADLINE_EXCEEDED when that takes longer than `timeout`, or for ever without one.
    pub async fn wait_job(&self, job_id: i64, timeout: Option<Duration>) -> Result<Answer<WaitJobResponse>, Error> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        // Short enough that a step which a lost node interrupts can be waited again on another within its patience.
        let step_max = WAIT_STEP_MAX.min(self.shared.options.timeout / 2).max(Duration::from_millis(1));
        loop {
            let remaining = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let step = remaining.unwrap_or(step_max).clamp(Duration::from_millis(1), step_max);
            match self.wait_job_step(job_id, step).await {
                Err(error) if error.code() == Code::DeadlineExceeded && remaining.is_none_or(|left| left > step) => {}
                answer_or_error => return answer_or_error,
            }
        }
    }

    async fn wait_job_step(&self, job_id: i64, step: Duration) -> Result<Answer<WaitJobResponse>, Error> {
        let timeout_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let request = WaitJobRequest { job_id, timeout_ms, consistency: Consistency::Linearizable.into() };
        let manner = self.long(step + self.shared.options.timeout);
        self.call(manner, request, |channel, request| async move { jobs(channel).wait_job(request).await }).await
    }

    /// Ends a job that has not ended.
    pub async fn cancel_job(&self, job_id: i64) -> Result<Answer<CancelJobResponse>, Error> {
        self.call(self.short(), CancelJobRequest { job_id }, |channel, request| async move {
            jobs(channel).cancel_job(request).await
        })
        .await
    }

    /// Deletes what a failed job keeps.
    pub async fn clean_up_job(&self, job_id: i64) -> Result<Answer<CleanUpJobResponse>, Error> {
        self.call(self.short(), CleanUpJobRequest { job_id }, |channel, request| async move {
            jobs(channel).clean_up_job(request).await
        })
        .await
    }

    /// Starts no further attempt of the job.
    pub async fn pause_job(&self, job_id: i64) -> Result<Answer<PauseJobResponse>, Error> {
        self.call(self.short(), PauseJobRequest { job_id }, |channel, request| async move {
            jobs(channel).pause_job(request).await
        })
        .await
    }

    /// Takes back a pause.
    pub async fn resume_job(&self, job_id: i64) -> Result<Answer<ResumeJobResponse>, Error> {
        self.call(self.short(), ResumeJobRequest { job_id }, |channel, request| async move {
            jobs(channel).resume_job(request).await
        })
        .await
    }

    /// Changes live options of a job.
    pub async fn update_job(&self, request: UpdateJobRequest) -> Result<Answer<UpdateJobResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).update_job(request).await })
            .await
    }

    /// What the job waits for.
    pub async fn explain_job(&self, job_id: i64) -> Result<Answer<ExplainJobResponse>, Error> {
        self.call(self.short(), ExplainJobRequest { job_id }, |channel, request| async move {
            jobs(channel).explain_job(request).await
        })
        .await
    }

    /// A page of a job's tasks.
    pub async fn list_tasks(&self, request: ListTasksRequest) -> Result<Answer<ListTasksResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).list_tasks(request).await })
            .await
    }

    /// One task.
    pub async fn get_task(&self, request: GetTaskRequest) -> Result<Answer<GetTaskResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).get_task(request).await }).await
    }

    /// Many tasks by id.
    pub async fn get_tasks(&self, request: GetTasksRequest) -> Result<Answer<GetTasksResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move { jobs(channel).get_tasks(request).await }).await
    }
}
