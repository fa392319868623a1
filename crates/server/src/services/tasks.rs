//! JobService: the tasks of jobs.

use super::Services;
use super::jobs::check_ids;
use crate::page::{self, List, Page};
use crate::reads::Reading;
use crate::status::{Violations, invalid, of_rejection};
use crate::wire;
use ferry_machine::id::TaskId;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::Task;
use ferry_machine::view;
use ferry_proto::v1;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

pub(super) async fn list(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::ListTasksRequest,
) -> Result<Response<v1::ListTasksResponse>, Status> {
    let id = wire::job_id(request.job_id)?;
    let page = Page::of(List::Tasks, request.page_size, &request.page_token)?;
    let mut violations = Violations::default();
    let states = wire::task_states(&request.states, &mut violations);
    violations.into_result()?;
    let reading = services.reads.open(request.consistency, metadata).await?;
    let job = view::job(&reading.view, id).ok_or_else(|| reading.refusal(of_rejection(&Rejection::JobNotFound(id))))?;
    let scan = |after: Option<i64>, rows_max| {
        let page = view::list_tasks(&reading.view, &job, TaskId(after.unwrap_or(0)), rows_max);
        (page.items.into_iter().map(|task| (task.id.0, task)).collect(), page.next.map(|id| id.0))
    };
    let keep = |task: Task| {
        let admitted = states.admits(view::task_status(&job, &task).state);
        admitted.then(|| wire::task(&reading.view, &job, &task))
    };
    let (tasks, next_page_token) = page::fill(&page, scan, keep);
    reading.answer(v1::ListTasksResponse { tasks, next_page_token })
}

pub(super) async fn get(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::GetTaskRequest,
) -> Result<Response<v1::GetTaskResponse>, Status> {
    let id = TaskId(request.task_id);
    if id.0 <= 0 {
        return Err(invalid("task_id", format!("is {id}: name a task by its positive id")));
    }
    let reading = services.reads.open(request.consistency, metadata).await?;
    let task = read_task(&reading, id).ok_or_else(|| reading.refusal(of_rejection(&Rejection::TaskNotFound(id))))?;
    reading.answer(v1::GetTaskResponse { task: Some(task) })
}

pub(super) async fn get_many(
    services: &Services,
    metadata: &MetadataMap,
    request: &v1::GetTasksRequest,
) -> Result<Response<v1::GetTasksResponse>, Status> {
    check_ids("task_ids", &request.task_ids)?;
    let reading = services.reads.open(request.consistency, metadata).await?;
    let tasks = request.task_ids.iter().filter_map(|id| read_task(&reading, TaskId(*id))).collect();
    reading.answer(v1::GetTasksResponse { tasks })
}

fn read_task(reading: &Reading, id: TaskId) -> Option<v1::Task> {
    let (job, task) = view::task(&reading.view, id)?;
    Some(wire::task(&reading.view, &job, &task))
}
