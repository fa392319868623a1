//! JobService: submits, reads and controls of jobs; watches and tasks are in files of their own.

use super::{Services, events, submit_stream, tasks, watch};
use crate::page::{self, List, Page};
use crate::reads::Reading;
use crate::status::{Violations, echoed, invalid, no_leader, of_rejection};
use crate::submit;
use crate::wire;
use ferry_machine::command::Command;
use ferry_machine::id::JobId;
use ferry_machine::limits;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::{Job, LiveOptions};
use ferry_machine::time::Time;
use ferry_machine::view;
use ferry_proto::v1;
use ferry_proto::v1::job_service_server::JobService;
use tokio::sync::OwnedSemaphorePermit;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

/// Submits that are streamed or of more than one page, and that a node takes at once. Each holds its mappings or, when
/// streamed, a message of them and what its snapshot's segments are.
pub(crate) const LONG_SUBMITS_MAX: usize = 32;

#[async_trait]
impl JobService for Services {
    type WatchJobStream = watch::JobStream;
    type WatchEventsStream = events::EventStream;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.submit(&metadata, request).await.map_err(|status| self.stamped(status))
    }

    async fn submit_job_stream(
        &self,
        request: Request<Streaming<v1::SubmitJobStreamRequest>>,
    ) -> Result<Response<v1::SubmitJobStreamResponse>, Status> {
        submit_stream::submit(self, request).await.map_err(|status| self.stamped(status))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let id = wire::job_id(request.job_id)?;
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let job = read_job(&reading, id)?;
        reading.answer(v1::GetJobResponse { job: Some(job) })
    }

    async fn get_jobs(&self, request: Request<v1::GetJobsRequest>) -> Result<Response<v1::GetJobsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        check_ids("job_ids", &request.job_ids)?;
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let now = now(&reading);
        let found = request.job_ids.iter().filter_map(|id| view::job(&reading.view, JobId(*id)));
        let jobs = found.filter_map(|job| wire::job(&job, now)).collect();
        reading.answer(v1::GetJobsResponse { jobs })
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let page = Page::of(List::Jobs, request.page_size, &request.page_token)?;
        let filter = JobFilter::of(&request)?;
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let now = now(&reading);
        let scan = |after: Option<i64>, rows_max| {
            let page = view::list_jobs(&reading.view, JobId(after.unwrap_or(0)), rows_max);
            (page.items.into_iter().map(|job| (job.id.0, job)).collect(), page.next.map(|id| id.0))
        };
        let keep = |job: Job| filter.admits(&job).then(|| wire::job(&job, now)).flatten();
        let (jobs, next_page_token) = page::fill(&page, scan, keep);
        reading.answer(v1::ListJobsResponse { jobs, next_page_token })
    }

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        watch::watch(self, &metadata, &request).await
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (metadata, _, request) = request.into_parts();
        events::watch(self, &metadata, &request).await
    }

    async fn wait_job(&self, request: Request<v1::WaitJobRequest>) -> Result<Response<v1::WaitJobResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        watch::wait(self, &metadata, &request).await
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let job = wire::job_id(request.into_inner().job_id)?;
        let (reading, job) = self.change_job(job, Command::CancelJob { job }).await?;
        reading.answer(v1::CancelJobResponse { job })
    }

    async fn clean_up_job(
        &self,
        request: Request<v1::CleanUpJobRequest>,
    ) -> Result<Response<v1::CleanUpJobResponse>, Status> {
        let job = wire::job_id(request.into_inner().job_id)?;
        let (reading, job) = self.change_job(job, Command::CleanUpJob { job }).await?;
        reading.answer(v1::CleanUpJobResponse { job })
    }

    async fn pause_job(&self, request: Request<v1::PauseJobRequest>) -> Result<Response<v1::PauseJobResponse>, Status> {
        let job = wire::job_id(request.into_inner().job_id)?;
        let (reading, job) = self.change_job(job, Command::PauseJob { job, paused: true }).await?;
        reading.answer(v1::PauseJobResponse { job })
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        let job = wire::job_id(request.into_inner().job_id)?;
        let (reading, job) = self.change_job(job, Command::PauseJob { job, paused: false }).await?;
        reading.answer(v1::ResumeJobResponse { job })
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        let request = request.into_inner();
        let job = wire::job_id(request.job_id)?;
        let mut violations = Violations::default();
        let priority = submit::priority("priority", request.priority, &mut violations);
        violations.into_result()?;
        let change = LiveOptions {
            priority,
            bandwidth_bytes_per_second: request.bandwidth_bytes_per_second,
            requests_per_second: request.requests_per_second,
            attempts_at_once_max: request.attempts_at_once_max,
        };
        let (reading, job) = self.change_job(job, Command::UpdateJob { job, change }).await?;
        reading.answer(v1::UpdateJobResponse { job })
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let id = wire::job_id(request.job_id)?;
        let leadership = self.leadership(self.reads.deadline(&metadata)).await?;
        let reading = self.reads.open(v1::Consistency::Linearizable.into(), &metadata).await?;
        let job = read_job(&reading, id)?;
        // The job is there, so only a leadership that has just ended has nothing to say about it.
        let (explanation, wall_ms) = leadership.explain(&reading.view, id).ok_or_else(|| no_leader(None))?;
        reading.answer(wire::explanation(job, &explanation, wall_ms))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        tasks::list(self, &metadata, &request).await
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Result<Response<v1::GetTaskResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        tasks::get(self, &metadata, &request).await
    }

    async fn get_tasks(&self, request: Request<v1::GetTasksRequest>) -> Result<Response<v1::GetTasksResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        tasks::get_many(self, &metadata, &request).await
    }
}

impl Services {
    async fn submit(
        &self,
        metadata: &MetadataMap,
        request: v1::SubmitJobRequest,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let checked = submit::check(request, &self.config.job, self.snapshots.stores())?;
        if checked.request_id_given {
            // The first job is the answer to a retry even where its snapshot is gone by now.
            let reading = self.reads.open(v1::Consistency::Linearizable.into(), metadata).await?;
            if let Some(id) = submit::known(&reading.view, &checked)? {
                let job = read_job(&reading, id).map_err(|status| collected(&reading, status, &checked, id))?;
                let response = v1::SubmitJobResponse { job: Some(job), already_existed: true, ..Default::default() };
                return reading.answer(response);
            }
            reading.check()?;
        }
        let (sourced, snapshot) = submit::read_source(&checked, &self.snapshots, &self.raft).await?;
        if checked.dry_run {
            let (files, warnings) = submit::count_files(&sourced, &snapshot).await?;
            // Behind the counting, which can take long: the answer is as new as its revision says.
            let reading = self.reads.open(v1::Consistency::Linearizable.into(), metadata).await?;
            let plan = Some(submit::plan(&sourced, files, warnings, &reading.view));
            return reading.answer(v1::SubmitJobResponse { plan, ..v1::SubmitJobResponse::default() });
        }
        let mut look = submit::Look::new(&snapshot);
        look.read(&snapshot, &sourced.mappings).await;
        // Its mappings are out; what is left of a large one is not kept while they go their way.
        drop(snapshot);
        let place = match sourced.mappings.len() > limits::MAPPINGS_PER_PAGE_MAX {
            true => Some(self.place_for_long_submit()?),
            false => None,
        };
        // A caller that goes away meanwhile has asked for it all the same, and finds it by its request id.
        let raft = self.raft.clone();
        let segments = sourced.spec.segments;
        let submitting = tokio::spawn(async move {
            let _place = place;
            submit::submit(&raft, &checked, &sourced).await
        });
        let submitted = submitting.await.map_err(|error| Status::internal(error.to_string()))??;
        let reading = self.reads.after_write();
        let job = read_job(&reading, submitted.job)?;
        let already_existed = submitted.already_existed;
        let mut response = v1::SubmitJobResponse { job: Some(job), already_existed, ..Default::default() };
        if !already_existed {
            response.total_warnings = wire::signed(look.warnings.total);
            response.unchecked_segments = look.unchecked(segments);
            response.warnings = look.warnings.told;
        }
        reading.answer(response)
    }

    /// What a submit that is streamed or of more than one page holds until it is through, whether anybody waits for it or not.
    pub(super) fn place_for_long_submit(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.long_submits.clone().try_acquire_owned().map_err(|_| {
            let page = limits::MAPPINGS_PER_PAGE_MAX;
            let reason = format!(
                "this node takes {LONG_SUBMITS_MAX} submits that are streamed or of more than {page} segments at once, \
                 its limit: send it again later"
            );
            Status::resource_exhausted(reason)
        })
    }

    /// Changes a job and reads what became of it.
    async fn change_job(&self, id: JobId, command: Command) -> Result<(Reading, Option<v1::Job>), Status> {
        self.propose(command).await?;
        let reading = self.reads.after_write();
        let job = read_job(&reading, id)?;
        Ok((reading, Some(job)))
    }

    /// A refusal that says when it holds, unless it does already.
    fn stamped(&self, status: Status) -> Status {
        if status.metadata().contains_key(crate::reads::REVISION) { status } else { self.reads.stamp().refusal(status) }
    }
}

/// What a retry hears whose first job is gone.
pub(super) fn collected(reading: &Reading, status: Status, checked: &submit::CheckedSubmit, id: JobId) -> Status {
    if status.code() != Code::NotFound {
        return status;
    }
    reading.refusal(Status::not_found(format!(
        "request id {} made job {id}, which was collected after its retention: use a new request id to copy again",
        echoed(&checked.request_id)
    )))
}

/// A job at the moment of a read.
pub(super) fn read_job(reading: &Reading, id: JobId) -> Result<v1::Job, Status> {
    view::job(&reading.view, id)
        .and_then(|job| wire::job(&job, now(reading)))
        .ok_or_else(|| reading.refusal(of_rejection(&Rejection::JobNotFound(id))))
}

fn now(reading: &Reading) -> Time {
    view::cluster(&reading.view).map(|cluster| cluster.now).unwrap_or_default()
}

/// Ids of one lookup: positive, and not too many.
pub(super) fn check_ids(field: &str, ids: &[i64]) -> Result<(), Status> {
    if ids.len() > page::SIZE_MAX as usize {
        let reason = format!("has {} entries: ask for at most {} at once", ids.len(), page::SIZE_MAX);
        return Err(invalid(field, reason));
    }
    match ids.iter().position(|id| *id <= 0) {
        Some(index) => Err(invalid(format!("{field}[{index}]"), format!("is {}: ids are positive", ids[index]))),
        None => Ok(()),
    }
}

/// Which jobs a list is about.
struct JobFilter<'a> {
    states: wire::AnyOf<view::State>,
    request: &'a v1::ListJobsRequest,
}

impl<'a> JobFilter<'a> {
    fn of(request: &'a v1::ListJobsRequest) -> Result<Self, Status> {
        let mut violations = Violations::default();
        let states = wire::job_states(&request.states, &mut violations);
        violations.into_result()?;
        Ok(Self { states, request })
    }

    fn admits(&self, job: &Job) -> bool {
        let collection_id = self.request.collection_id;
        view::state(job).is_some_and(|state| self.states.admits(state))
            && (collection_id == 0 || job.spec.collection_id == collection_id)
            && self.request.labels.iter().all(|(key, value)| job.spec.labels.get(key) == Some(value))
    }
}
