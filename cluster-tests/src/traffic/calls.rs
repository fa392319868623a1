//! Every call that clients make, each as one recorded operation.

use super::caller::{Ask, Caller};
use super::facts::{JobFact, SegmentFact, TaskFact};
use super::history::{Answer, Operation, Promise, Request};
use super::plans::GROUP_LABEL;
use super::submission::Submission;
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::job_service_client::JobServiceClient;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::{
    AllocateIdsRequest, CancelJobRequest, CheckInvariantsRequest, Consistency, GetJobRequest, GetJobsRequest,
    GetSegmentRequest, GetStatusRequest, GetTaskRequest, Job, ListJobsRequest, ListSegmentsRequest, ListTasksRequest,
    PauseJobRequest, ResumeJobRequest, UpdateJobRequest, WaitJobRequest,
};
use std::collections::HashMap;
use std::sync::Arc;
use tonic::transport::Channel;

/// The largest page there is.
const PAGE_SIZE: u32 = 1_000;

/// What became of a call; none where its node is gone.
pub(crate) type Called = Option<Arc<Operation>>;

/// How a read is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) node: u64,
    pub(crate) promise: Promise,
    pub(crate) revision_min: Option<u64>,
}

impl How {
    pub(crate) fn linearizable(node: u64) -> Self {
        Self { node, promise: Promise::Linearizable, revision_min: None }
    }

    pub(crate) fn stale(node: u64) -> Self {
        Self { node, promise: Promise::Stale, revision_min: None }
    }

    fn ask(self, request: Request) -> Ask {
        Ask { node: self.node, request, promise: self.promise, revision_min: self.revision_min }
    }

    fn consistency(self) -> i32 {
        match self.promise {
            Promise::Write | Promise::Linearizable => Consistency::Linearizable.into(),
            Promise::Stale | Promise::Local => Consistency::Stale.into(),
        }
    }
}

fn jobs(channel: Channel) -> JobServiceClient<Channel> {
    JobServiceClient::new(channel)
}

fn job_answer(job: Option<Job>) -> Answer {
    job.map_or(Answer::None, |job| Answer::Job(JobFact::of(job)))
}

impl Caller {
    pub(crate) async fn submit(&mut self, node: u64, submission: &Arc<Submission>) -> Called {
        self.submit_as(node, Request::Submit(Arc::clone(submission)), submission).await
    }

    /// The same request id with another request.
    pub(crate) async fn reuse(&mut self, node: u64, other: &Arc<Submission>) -> Called {
        self.submit_as(node, Request::ReuseRequestId(Arc::clone(other)), other).await
    }

    async fn submit_as(&mut self, node: u64, request: Request, submission: &Submission) -> Called {
        let ask = Ask::new(node, request, Promise::Write);
        let message = submission.request.clone();
        self.call(
            ask,
            message,
            |channel, request| async move { jobs(channel).submit_job(request).await },
            |answer| {
                let already_existed = answer.already_existed;
                answer.job.map_or(Answer::None, |job| Answer::Submitted { job: JobFact::of(job), already_existed })
            },
        )
        .await
    }

    pub(crate) async fn cancel(&mut self, node: u64, job_id: i64) -> Called {
        let ask = Ask::new(node, Request::Cancel(job_id), Promise::Write);
        let send = |channel, request| async move { jobs(channel).cancel_job(request).await };
        self.call(ask, CancelJobRequest { job_id }, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn pause(&mut self, node: u64, job_id: i64) -> Called {
        let ask = Ask::new(node, Request::Pause(job_id), Promise::Write);
        let send = |channel, request| async move { jobs(channel).pause_job(request).await };
        self.call(ask, PauseJobRequest { job_id }, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn resume(&mut self, node: u64, job_id: i64) -> Called {
        let ask = Ask::new(node, Request::Resume(job_id), Promise::Write);
        let send = |channel, request| async move { jobs(channel).resume_job(request).await };
        self.call(ask, ResumeJobRequest { job_id }, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn update(
        &mut self,
        node: u64,
        job: i64,
        priority: Option<i32>,
        bandwidth: Option<u64>,
    ) -> Called {
        let ask = Ask::new(node, Request::Update { job, priority, bandwidth }, Promise::Write);
        let message = UpdateJobRequest {
            job_id: job,
            priority,
            bandwidth_bytes_per_second: bandwidth,
            ..UpdateJobRequest::default()
        };
        let send = |channel, request| async move { jobs(channel).update_job(request).await };
        self.call(ask, message, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn allocate(&mut self, node: u64, count: u32) -> Called {
        let ask = Ask::new(node, Request::Allocate(count), Promise::Local);
        let send = |channel, request| async move { AllocatorServiceClient::new(channel).allocate_ids(request).await };
        self.call(ask, AllocateIdsRequest { count }, send, |answer| Answer::Ids {
            first: answer.first_id,
            count: answer.count,
        })
        .await
    }

    pub(crate) async fn get_job(&mut self, how: How, job_id: i64) -> Called {
        let message = GetJobRequest { job_id, consistency: how.consistency() };
        let send = |channel, request| async move { jobs(channel).get_job(request).await };
        self.call(how.ask(Request::GetJob(job_id)), message, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn get_jobs(&mut self, how: How, job_ids: Vec<i64>) -> Called {
        let message = GetJobsRequest { job_ids: job_ids.clone(), consistency: how.consistency() };
        let send = |channel, request| async move { jobs(channel).get_jobs(request).await };
        self.call(how.ask(Request::GetJobs(job_ids)), message, send, |answer| Answer::Jobs {
            jobs: answer.jobs.into_iter().map(JobFact::of).collect(),
            complete: true,
        })
        .await
    }

    /// The first page of the jobs of one group.
    pub(crate) async fn list_jobs(&mut self, how: How, group: u32) -> Called {
        let labels = HashMap::from([(GROUP_LABEL.to_owned(), group.to_string())]);
        let consistency = how.consistency();
        let message = ListJobsRequest { page_size: PAGE_SIZE, labels, consistency, ..ListJobsRequest::default() };
        let send = |channel, request| async move { jobs(channel).list_jobs(request).await };
        self.call(how.ask(Request::ListJobs(group)), message, send, |answer| Answer::Jobs {
            complete: answer.next_page_token.is_empty(),
            jobs: answer.jobs.into_iter().map(JobFact::of).collect(),
        })
        .await
    }

    pub(crate) async fn get_segment(&mut self, how: How, segment_id: i64) -> Called {
        let message = GetSegmentRequest { segment_id, consistency: how.consistency() };
        let send = |channel, request| async move { SegmentServiceClient::new(channel).get_segment(request).await };
        self.call(how.ask(Request::GetSegment(segment_id)), message, send, |answer| Answer::Segments {
            segments: answer.segment.iter().map(SegmentFact::of).collect(),
            complete: true,
        })
        .await
    }

    pub(crate) async fn list_segments(&mut self, how: How, job_id: i64) -> Called {
        let consistency = how.consistency();
        let message = ListSegmentsRequest { job_id, page_size: PAGE_SIZE, consistency, ..Default::default() };
        let send = |channel, request| async move { SegmentServiceClient::new(channel).list_segments(request).await };
        self.call(how.ask(Request::ListSegments(job_id)), message, send, |answer| Answer::Segments {
            segments: answer.segments.iter().map(SegmentFact::of).collect(),
            complete: answer.next_page_token.is_empty(),
        })
        .await
    }

    pub(crate) async fn list_tasks(&mut self, how: How, job_id: i64) -> Called {
        let consistency = how.consistency();
        let message = ListTasksRequest { job_id, page_size: PAGE_SIZE, consistency, ..Default::default() };
        let send = |channel, request| async move { jobs(channel).list_tasks(request).await };
        self.call(how.ask(Request::ListTasks(job_id)), message, send, |answer| Answer::Tasks {
            tasks: answer.tasks.iter().map(TaskFact::of).collect(),
            complete: answer.next_page_token.is_empty(),
        })
        .await
    }

    pub(crate) async fn get_task(&mut self, how: How, task_id: i64) -> Called {
        let message = GetTaskRequest { task_id, consistency: how.consistency() };
        let send = |channel, request| async move { jobs(channel).get_task(request).await };
        self.call(how.ask(Request::GetTask(task_id)), message, send, |answer| Answer::Tasks {
            tasks: answer.task.iter().map(TaskFact::of).collect(),
            complete: true,
        })
        .await
    }

    pub(crate) async fn wait(&mut self, how: How, job_id: i64, timeout_ms: u64) -> Called {
        let message = WaitJobRequest { job_id, timeout_ms, consistency: how.consistency() };
        let send = |channel, request| async move { jobs(channel).wait_job(request).await };
        self.call(how.ask(Request::Wait(job_id)), message, send, |answer| job_answer(answer.job)).await
    }

    pub(crate) async fn status(&mut self, node: u64) -> Called {
        let ask = Ask::new(node, Request::Status, Promise::Local);
        let send = |channel, request| async move { ClusterServiceClient::new(channel).get_status(request).await };
        self.call(ask, GetStatusRequest { local_only: true }, send, |answer| {
            let itself = answer.nodes.iter().find(|other| other.id == answer.node_id);
            let applied = itself.map_or(0, |itself| itself.last_applied_index);
            Answer::Status { term: answer.term, leader: answer.leader_id, applied }
        })
        .await
    }

    pub(crate) async fn check(&mut self, how: How) -> Called {
        let message = CheckInvariantsRequest { consistency: how.consistency() };
        let send = |channel, request| async move { ClusterServiceClient::new(channel).check_invariants(request).await };
        self.call(how.ask(Request::Check), message, send, |answer| Answer::Check {
            violations: answer.violations,
            rows: answer.rows_checked,
            digest: Some(answer.rows_digest),
        })
        .await
    }
}
