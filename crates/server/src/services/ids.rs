//! AllocatorService: ids from the leader's window.

use super::Services;
use crate::leadership::AllocateError;
use crate::status::{Violations, of_propose};
use ferry_machine::limits;
use ferry_proto::v1::allocator_service_server::AllocatorService;
use ferry_proto::v1::{AllocateIdsRequest, AllocateIdsResponse};
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl AllocatorService for Services {
    async fn allocate_ids(
        &self,
        request: Request<AllocateIdsRequest>,
    ) -> Result<Response<AllocateIdsResponse>, Status> {
        let deadline = self.reads.deadline(request.metadata());
        let count = request.into_inner().count;
        let mut violations = Violations::default();
        violations.require((1..=limits::IDS_PER_ALLOCATION_MAX).contains(&count), "count", || {
            format!("is {count}: ask for 1 to {} ids, several times for more", limits::IDS_PER_ALLOCATION_MAX)
        });
        violations.into_result().map_err(|status| self.reads.stamp().refusal(status))?;
        let leadership = self.leadership(deadline).await?;
        let first_id = leadership.allocate(count).await.map_err(|error| refused(&error))?;
        Ok(self.reads.stamp().answer(AllocateIdsResponse { first_id, count }))
    }
}

fn refused(error: &AllocateError) -> Status {
    match error {
        AllocateError::Propose(error) => of_propose(error),
        AllocateError::Unexpected(_) => Status::internal(error.to_string()),
    }
}
