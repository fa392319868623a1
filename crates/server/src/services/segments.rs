//! SegmentService: target segments, whose state changes for all of a job in one moment.

use super::Services;
use crate::page::{self, List, Page};
use crate::reads::Reading;
use crate::status::{Violations, invalid, of_rejection};
use crate::wire;
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::outcome::Rejection;
use ferry_machine::row::Job;
use ferry_machine::view::{self, Segment};
use ferry_proto::v1;
use ferry_proto::v1::segment_service_server::SegmentService;
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl SegmentService for Services {
    async fn get_segment(
        &self,
        request: Request<v1::GetSegmentRequest>,
    ) -> Result<Response<v1::GetSegmentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let id = request.segment_id;
        if id <= 0 {
            return Err(invalid("segment_id", format!("is {id}: name a target segment by its positive id")));
        }
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let segment = view::segment(&reading.view, SegmentId(id)).ok_or_else(|| {
            let message = format!("no job has target segment {id}: list the segments that exist");
            reading.refusal(Status::not_found(message))
        })?;
        reading.answer(v1::GetSegmentResponse { segment: Some(wire::segment(&segment)) })
    }

    async fn list_segments(
        &self,
        request: Request<v1::ListSegmentsRequest>,
    ) -> Result<Response<v1::ListSegmentsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let page = Page::of(List::Segments, request.page_size, &request.page_token)?;
        let mut violations = Violations::default();
        let states = wire::segment_states(&request.states, &mut violations);
        violations.require(request.job_id >= 0, "job_id", || format!("is {}: ids are positive", request.job_id));
        violations.into_result()?;
        let reading = self.reads.open(request.consistency, &metadata).await?;
        let job = match request.job_id {
            0 => None,
            id => Some(named_job(&reading, JobId(id))?),
        };
        let scan = |after: Option<i64>, rows_max| {
            let after = SegmentId(after.unwrap_or(0));
            let page = match &job {
                Some(job) => view::list_job_segments(&reading.view, job, after, rows_max),
                None => view::list_segments(&reading.view, after, rows_max),
            };
            (page.items.into_iter().map(|segment| (segment.id.0, segment)).collect(), page.next.map(|id| id.0))
        };
        let keep = |segment: Segment| {
            let of_collection = request.collection_id == 0 || segment.collection_id == request.collection_id;
            (of_collection && states.admits(segment.state)).then(|| wire::segment(&segment))
        };
        let (segments, next_page_token) = page::fill(&page, scan, keep);
        reading.answer(v1::ListSegmentsResponse { segments, next_page_token })
    }
}

fn named_job(reading: &Reading, id: JobId) -> Result<Job, Status> {
    view::job(&reading.view, id).ok_or_else(|| reading.refusal(of_rejection(&Rejection::JobNotFound(id))))
}
