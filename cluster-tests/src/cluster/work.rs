//! What stories of jobs ask again and again: submits, changes, tasks and workers, of any node that runs.

use super::Cluster;
use crate::eventually;
use crate::process::Process;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    CancelJobRequest, CleanUpJobRequest, Job, ListTasksRequest, ListWorkersRequest, PauseJobRequest, ResumeJobRequest,
    SubmitJobRequest, Task, UpdateJobRequest, Worker,
};
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// Submits of this process that named themselves.
static SUBMITS: AtomicU64 = AtomicU64::new(0);

impl Cluster {
    /// Workers, asked of one node.
    #[must_use]
    pub fn workers(&self, id: u64) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel(id))
    }

    /// Starts a worker that knows every node, and the stores that these are told of.
    pub fn start_worker(&mut self, name: &str, slots: u32) {
        let endpoints: Vec<&str> = self.addresses.values().map(String::as_str).collect();
        let slots = slots.to_string();
        let arguments = ["worker", "--endpoints", &endpoints.join(","), "--name", name, "--slots", &slots];
        let mut arguments = arguments.map(str::to_owned).to_vec();
        let stores = self.settings.iter().filter(|setting| setting.starts_with("stores.")).map(String::as_str);
        // Workers may not take more than the nodes allow.
        let shared = self.settings.iter().filter_map(|setting| setting.strip_prefix("leadership."));
        let shared = shared.filter(|setting| setting.starts_with("late-writes="));
        arguments.extend(stores.chain(shared).flat_map(|setting| ["--set".to_owned(), setting.to_owned()]));
        let process = self.start_process(&format!("worker-{name}"), &arguments);
        self.workers.insert(name.to_owned(), process);
    }

    /// The process of a worker.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn worker_process(&self, name: &str) -> &Process {
        self.workers.get(name).expect("the worker runs")
    }

    /// A running node that does not lead.
    ///
    /// # Panics
    /// When there is only one node.
    pub async fn a_follower(&self) -> u64 {
        let leader = self.leader().await;
        self.running().into_iter().find(|id| *id != leader).expect("there is more than one node")
    }

    /// What the node that leads answers. An election takes a moment on a busy machine: like every client, this asks again when
    /// it is told to.
    ///
    /// # Errors
    /// Every other status.
    ///
    /// # Panics
    /// When none but such answers come in time.
    pub async fn ask<T, F>(&self, what: &str, call: impl Fn(JobServiceClient<Channel>) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        eventually(what, || async {
            match call(self.jobs(self.leader().await)).await {
                Err(status) if status.code() == Code::Unavailable => None,
                answer => Some(answer.map(Response::into_inner)),
            }
        })
        .await
    }

    /// What the cluster says to a submit.
    ///
    /// # Errors
    /// The status of a refusal.
    pub async fn try_submit(&self, mut request: SubmitJobRequest) -> Result<Job, Status> {
        if request.request_id.is_empty() {
            // Without it, a submit whose answer was lost would be a second job.
            request.request_id = format!("cluster-tests-{}", SUBMITS.fetch_add(1, Ordering::Relaxed));
        }
        let request = &request;
        let submit = |mut jobs: JobServiceClient<Channel>| async move { jobs.submit_job(request.clone()).await };
        let answer = self.ask("an answer to the submit", submit).await?;
        answer.job.ok_or_else(|| Status::internal("an accepted submit without a job"))
    }

    /// Submits; the id of the job.
    ///
    /// # Panics
    /// When the submit is refused.
    pub async fn submit(&self, request: SubmitJobRequest) -> i64 {
        self.try_submit(request).await.expect("the submit is accepted").job_id
    }

    /// Cancels a job.
    ///
    /// # Panics
    /// When the cancel is refused.
    pub async fn cancel(&self, job_id: i64) -> Job {
        let cancel =
            |mut jobs: JobServiceClient<Channel>| async move { jobs.cancel_job(CancelJobRequest { job_id }).await };
        let answer = self.ask("an answer to the cancel", cancel).await.expect("the job is canceled");
        answer.job.expect("an answer has a job")
    }

    /// Lets a failed job keep what it copied no longer.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn clean_up(&self, job_id: i64) -> Job {
        let clean_up =
            |mut jobs: JobServiceClient<Channel>| async move { jobs.clean_up_job(CleanUpJobRequest { job_id }).await };
        let answer = self.ask("an answer to the clean-up", clean_up).await.expect("the clean-up is accepted");
        answer.job.expect("an answer has a job")
    }

    /// Pauses a job.
    ///
    /// # Panics
    /// When the pause is refused.
    pub async fn pause(&self, job_id: i64) {
        let pause =
            |mut jobs: JobServiceClient<Channel>| async move { jobs.pause_job(PauseJobRequest { job_id }).await };
        self.ask("an answer to the pause", pause).await.expect("the job is paused");
    }

    /// Resumes a job.
    ///
    /// # Panics
    /// When the resume is refused.
    pub async fn resume(&self, job_id: i64) {
        let resume =
            |mut jobs: JobServiceClient<Channel>| async move { jobs.resume_job(ResumeJobRequest { job_id }).await };
        self.ask("an answer to the resume", resume).await.expect("the job is resumed");
    }

    /// Changes live options.
    ///
    /// # Panics
    /// When the change is refused.
    pub async fn update(&self, request: UpdateJobRequest) {
        let update = |mut jobs: JobServiceClient<Channel>| async move { jobs.update_job(request).await };
        self.ask("an answer to the change", update).await.expect("the job is changed");
    }

    /// The tasks of a job that copy, but not the one that publishes.
    ///
    /// # Panics
    /// When no node answers in time.
    pub async fn copies(&self, job_id: i64) -> Vec<Task> {
        let mut tasks = self.tasks(job_id).await;
        tasks.retain(|task| !task.id_mappings.is_empty());
        tasks
    }

    /// The tasks of a job, at most a page of them.
    ///
    /// # Panics
    /// When no node answers in time.
    pub async fn tasks(&self, job_id: i64) -> Vec<Task> {
        eventually("the tasks of the job", || async {
            let request = ListTasksRequest { job_id, page_size: 1_000, ..Default::default() };
            let leader = self.leader().await;
            self.jobs(leader).list_tasks(request).await.ok()
        })
        .await
        .into_inner()
        .tasks
    }

    /// A worker by its name, once there is one for which `is` holds.
    ///
    /// # Panics
    /// When it does not come in time.
    pub async fn worker_when(&self, name: &str, what: &str, is: impl Fn(&Worker) -> bool) -> Worker {
        eventually(what, || async {
            let leader = self.leader().await;
            let listed = self.workers(leader).list_workers(ListWorkersRequest::default()).await.ok()?;
            listed.into_inner().workers.into_iter().find(|worker| worker.name == name && is(worker))
        })
        .await
    }
}
