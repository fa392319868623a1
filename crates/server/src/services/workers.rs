//! WorkerService: sessions, which the leadership holds, and the list of workers.

use super::Services;
use crate::page::{self, List, Page};
use crate::status::{invalid, of_rejection};
use crate::wire;
use ferry_machine::command::Command;
use ferry_machine::id::WorkerId;
use ferry_machine::outcome::Rejection;
use ferry_machine::row::Worker;
use ferry_machine::view;
use ferry_proto::v1;
use ferry_proto::v1::session_response::Message;
use ferry_proto::v1::worker_service_server::WorkerService;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// How long a session whose leadership has ended is kept open for the name of the next leader.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

#[async_trait]
impl WorkerService for Services {
    type SessionStream = BoxStream<'static, Result<v1::SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let deadline = self.reads.deadline(request.metadata());
        let leader = self.raft.wait_leader(deadline).await;
        if leader.as_ref().is_none_or(|(id, _)| *id != self.config.id) {
            return Ok(self.reads.stamp().answer(elsewhere(leader)));
        }
        self.leadership(deadline).await?;
        let responses = self.leader.open_session(request.into_inner()).await?;
        let responses = responses.take_until(self.stopping.clone().cancelled_owned());
        let services = self.clone();
        let farewell = stream::once(async move { services.farewell().await }).filter_map(std::future::ready);
        Ok(self.reads.stamp().answer(responses.chain(farewell).boxed()))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let page = Page::of(List::Workers, request.page_size, &request.page_token)?;
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let scan = |after: Option<i64>, rows_max| {
            let page = view::list_workers(&reading.view, WorkerId(after.unwrap_or(0)), rows_max);
            (page.items.into_iter().map(|worker| (worker.id.0, worker)).collect(), page.next.map(|id| id.0))
        };
        let keep = |worker: Worker| Some(wire::worker(&worker));
        let (workers, next_page_token) = page::fill(&page, scan, keep);
        reading.answer(v1::ListWorkersResponse { workers, next_page_token })
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let (stamp, worker) = self.drain(request.into_inner().worker_id, true).await?;
        Ok(stamp.answer(v1::DrainWorkerResponse { worker: Some(worker) }))
    }

    async fn undrain_worker(
        &self,
        request: Request<v1::UndrainWorkerRequest>,
    ) -> Result<Response<v1::UndrainWorkerResponse>, Status> {
        let (stamp, worker) = self.drain(request.into_inner().worker_id, false).await?;
        Ok(stamp.answer(v1::UndrainWorkerResponse { worker: Some(worker) }))
    }
}

impl Services {
    /// The last message of a session whose node leads no more: where to go on. None where there is nothing better to
    /// say than the end of the stream.
    async fn farewell(&self) -> Option<Result<v1::SessionResponse, Status>> {
        // For a moment this node may still take itself for the leader that it was.
        timeout(FAREWELL_TIMEOUT, self.raft.other_leader(self.config.id)).await.ok()?;
        let (leader_id, address) = self.raft.leader()?;
        Some(Ok(response(Message::Leader(v1::Leader { address, leader_id }))))
    }

    async fn drain(&self, id: i64, draining: bool) -> Result<(crate::reads::Stamp, v1::Worker), Status> {
        if id <= 0 {
            return Err(invalid("worker_id", format!("is {id}: name a worker by its positive id")));
        }
        let id = WorkerId(id);
        self.propose(Command::DrainWorker { worker: id, draining }).await?;
        let reading = self.reads.after_write();
        let worker = view::worker(&reading.view, id)
            .ok_or_else(|| reading.refusal(of_rejection(&Rejection::WorkerNotFound(id))))?;
        reading.check()?;
        Ok((reading.stamp, wire::worker(&worker)))
    }
}

/// What a node that does not lead answers: who does, and the end.
fn elsewhere(leader: Option<(u64, String)>) -> BoxStream<'static, Result<v1::SessionResponse, Status>> {
    let (leader_id, address) = leader.unwrap_or_default();
    stream::iter([Ok(response(Message::Leader(v1::Leader { address, leader_id })))]).boxed()
}

fn response(message: Message) -> v1::SessionResponse {
    v1::SessionResponse { message: Some(message) }
}
