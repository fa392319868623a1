//! The job service of a test's node.

use super::{End, Node, Reply};
use ferry_proto::v1::job_service_server::JobService;
use ferry_proto::v1::submit_job_stream_request::Part;
use ferry_proto::v1::{
    CancelJobRequest, CancelJobResponse, CleanUpJobRequest, CleanUpJobResponse, ExplainJobRequest, ExplainJobResponse,
    GetJobRequest, GetJobResponse, GetJobsRequest, GetJobsResponse, GetTaskRequest, GetTaskResponse, GetTasksRequest,
    GetTasksResponse, Job, ListJobsRequest, ListJobsResponse, ListTasksRequest, ListTasksResponse, PauseJobRequest,
    PauseJobResponse, ResumeJobRequest, ResumeJobResponse, SubmitJobRequest, SubmitJobResponse, SubmitJobStreamRequest,
    SubmitJobStreamResponse, UpdateJobRequest, UpdateJobResponse, WaitJobRequest, WaitJobResponse, WatchEventsRequest,
    WatchEventsResponse, WatchJobRequest, WatchJobResponse,
};
use std::pin::Pin;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

type Told<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

fn told<R: Send + 'static>(responses: Vec<R>, end: End) -> Response<Told<R>> {
    let end = match end {
        End::Closed => None,
        End::Status(status) => Some(Err(status)),
    };
    let responses = responses.into_iter().map(Ok).chain(end).collect::<Vec<_>>();
    Response::new(Box::pin(tokio_stream::iter(responses)))
}

#[tonic::async_trait]
impl JobService for Node {
    type WatchJobStream = Told<WatchJobResponse>;
    type WatchEventsStream = Told<WatchEventsResponse>;

    async fn watch_job(&self, request: Request<WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        self.note(&request, "");
        match self.next() {
            Reply::Updates(updates, end) => Ok(told(updates, end)),
            Reply::Status(status) => Err(status),
            Reply::At(_) | Reply::Silence | Reply::Events(..) => Ok(Response::new(Box::pin(tokio_stream::pending()))),
        }
    }

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let from = (request.get_ref().from_revision, request.get_ref().from_ordinal);
        self.note(&request, &format!("{from:?}"));
        match self.next() {
            Reply::Events(events, end) => Ok(told(events, end)),
            Reply::Status(status) => Err(status),
            Reply::At(_) | Reply::Silence | Reply::Updates(..) => Ok(Response::new(Box::pin(tokio_stream::pending()))),
        }
    }

    async fn submit_job(&self, request: Request<SubmitJobRequest>) -> Result<Response<SubmitJobResponse>, Status> {
        let request_id = request.get_ref().request_id.clone();
        let job = Job { job_id: 1, request_id: request_id.clone(), ..Default::default() };
        self.answer(&request, &request_id, SubmitJobResponse { job: Some(job), ..Default::default() }).await
    }

    async fn submit_job_stream(
        &self,
        request: Request<Streaming<SubmitJobStreamRequest>>,
    ) -> Result<Response<SubmitJobStreamResponse>, Status> {
        let (metadata, extensions, mut messages) = request.into_parts();
        let (mut request_id, mut received) = (String::new(), Vec::new());
        while let Some(message) = messages.message().await? {
            match message.part {
                Some(Part::Header(header)) => request_id = header.request.unwrap_or_default().request_id,
                Some(Part::Page(page)) => received.extend(page.id_mappings),
                None => return Err(Status::invalid_argument("an empty message")),
            }
        }
        let total_segments = i64::try_from(received.len()).expect("few mappings");
        self.received(received);
        let job = Job { job_id: 1, request_id: request_id.clone(), total_segments, ..Default::default() };
        let request = Request::from_parts(metadata, extensions, ());
        self.answer(&request, &request_id, SubmitJobStreamResponse { job: Some(job), ..Default::default() }).await
    }

    async fn wait_job(&self, request: Request<WaitJobRequest>) -> Result<Response<WaitJobResponse>, Status> {
        self.answer(&request, "", WaitJobResponse { job: Some(Job { job_id: 1, ..Default::default() }) }).await
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<GetJobResponse>, Status> {
        self.answer(&request, "", GetJobResponse::default()).await
    }

    async fn get_jobs(&self, request: Request<GetJobsRequest>) -> Result<Response<GetJobsResponse>, Status> {
        self.answer(&request, "", GetJobsResponse::default()).await
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        self.answer(&request, "", ListJobsResponse::default()).await
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Result<Response<CancelJobResponse>, Status> {
        self.answer(&request, "", CancelJobResponse::default()).await
    }

    async fn clean_up_job(&self, request: Request<CleanUpJobRequest>) -> Result<Response<CleanUpJobResponse>, Status> {
        self.answer(&request, "", CleanUpJobResponse::default()).await
    }

    async fn pause_job(&self, request: Request<PauseJobRequest>) -> Result<Response<PauseJobResponse>, Status> {
        self.answer(&request, "", PauseJobResponse::default()).await
    }

    async fn resume_job(&self, request: Request<ResumeJobRequest>) -> Result<Response<ResumeJobResponse>, Status> {
        self.answer(&request, "", ResumeJobResponse::default()).await
    }

    async fn update_job(&self, request: Request<UpdateJobRequest>) -> Result<Response<UpdateJobResponse>, Status> {
        self.answer(&request, "", UpdateJobResponse::default()).await
    }

    async fn explain_job(&self, request: Request<ExplainJobRequest>) -> Result<Response<ExplainJobResponse>, Status> {
        self.answer(&request, "", ExplainJobResponse::default()).await
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        self.answer(&request, "", ListTasksResponse::default()).await
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        self.answer(&request, "", GetTaskResponse::default()).await
    }

    async fn get_tasks(&self, request: Request<GetTasksRequest>) -> Result<Response<GetTasksResponse>, Status> {
        self.answer(&request, "", GetTasksResponse::default()).await
    }
}
