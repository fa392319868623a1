//! What stories of jobs ask again and again: submits, changes, tasks and workers, of any node that runs.

use super::Cluster;
use crate::eventually;
use crate::process::Process;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    CancelJobRequest, Job, ListTasksRequest, ListWorkersRequest, PauseJobRequest, ResumeJobRequest, SubmitJobRequest,
    Task, UpdateJobRequest, Worker,
};
use tonic::transport::Channel;

impl Cluster {
    /// Workers, asked of one node.
    #[must_use]
    pub fn workers(&self, id: u64) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel(id))
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

    /// Submits at the leader; the id of the job.
    ///
    /// # Panics
    /// When the submit is refused.
    pub async fn submit(&self, request: SubmitJobRequest) -> i64 {
        let leader = self.leader().await;
        let answer = self.jobs(leader).submit_job(request).await.expect("the submit is accepted");
        answer.into_inner().job.expect("an accepted submit has a job").job_id
    }

    /// Cancels at the leader.
    ///
    /// # Panics
    /// When the cancel is refused.
    pub async fn cancel(&self, job_id: i64) -> Job {
        let leader = self.leader().await;
        let answer = self.jobs(leader).cancel_job(CancelJobRequest { job_id }).await.expect("the job is canceled");
        answer.into_inner().job.expect("an answer has a job")
    }

    /// Pauses at the leader.
    ///
    /// # Panics
    /// When the pause is refused.
    pub async fn pause(&self, job_id: i64) {
        let leader = self.leader().await;
        self.jobs(leader).pause_job(PauseJobRequest { job_id }).await.expect("the job is paused");
    }

    /// Resumes at the leader.
    ///
    /// # Panics
    /// When the resume is refused.
    pub async fn resume(&self, job_id: i64) {
        let leader = self.leader().await;
        self.jobs(leader).resume_job(ResumeJobRequest { job_id }).await.expect("the job is resumed");
    }

    /// Changes live options at the leader.
    ///
    /// # Panics
    /// When the change is refused.
    pub async fn update(&self, request: UpdateJobRequest) {
        let leader = self.leader().await;
        self.jobs(leader).update_job(request).await.expect("the job is changed");
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
