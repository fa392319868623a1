//! Segments, ids, workers and the cluster: one method per call of their services.

use crate::call::Manner;
use crate::{Answer, Client, Error};
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use ferry_proto::v1::cluster_service_client::ClusterServiceClient;
use ferry_proto::v1::segment_service_client::SegmentServiceClient;
use ferry_proto::v1::worker_service_client::WorkerServiceClient;
use ferry_proto::v1::{
    AddNodeRequest, AddNodeResponse, AllocateIdsRequest, AllocateIdsResponse, BackupRequest, BackupResponse,
    CheckInvariantsRequest, CheckInvariantsResponse, DrainWorkerRequest, DrainWorkerResponse, GetSegmentRequest,
    GetSegmentResponse, GetStatusRequest, GetStatusResponse, ListSegmentsRequest, ListSegmentsResponse,
    ListWorkersRequest, ListWorkersResponse, RemoveNodeRequest, RemoveNodeResponse, TransferLeadershipRequest,
    TransferLeadershipResponse, UndrainWorkerRequest, UndrainWorkerResponse,
};
use tonic::Streaming;

impl Client {
    /// One target segment.
    pub async fn get_segment(&self, request: GetSegmentRequest) -> Result<Answer<GetSegmentResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move {
            SegmentServiceClient::new(channel).get_segment(request).await
        })
        .await
    }

    /// A page of target segments.
    pub async fn list_segments(&self, request: ListSegmentsRequest) -> Result<Answer<ListSegmentsResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move {
            SegmentServiceClient::new(channel).list_segments(request).await
        })
        .await
    }

    /// Ids that belong to the caller alone. A try whose answer was lost costs its ids, nothing else.
    pub async fn allocate_ids(&self, count: u32) -> Result<Answer<AllocateIdsResponse>, Error> {
        self.call(self.short(), AllocateIdsRequest { count }, |channel, request| async move {
            AllocatorServiceClient::new(channel).allocate_ids(request).await
        })
        .await
    }

    /// A page of workers.
    pub async fn list_workers(&self, request: ListWorkersRequest) -> Result<Answer<ListWorkersResponse>, Error> {
        self.call(self.short(), request, |channel, request| async move {
            WorkerServiceClient::new(channel).list_workers(request).await
        })
        .await
    }

    /// Gives a worker nothing new.
    pub async fn drain_worker(&self, worker_id: i64) -> Result<Answer<DrainWorkerResponse>, Error> {
        self.call(self.short(), DrainWorkerRequest { worker_id }, |channel, request| async move {
            WorkerServiceClient::new(channel).drain_worker(request).await
        })
        .await
    }

    /// Gives a worker tasks again.
    pub async fn undrain_worker(&self, worker_id: i64) -> Result<Answer<UndrainWorkerResponse>, Error> {
        self.call(self.short(), UndrainWorkerRequest { worker_id }, |channel, request| async move {
            WorkerServiceClient::new(channel).undrain_worker(request).await
        })
        .await
    }

    /// Who leads and how far each node is; answered without a leader too, so it waits for no revision.
    pub async fn get_status(&self, request: GetStatusRequest) -> Result<Answer<GetStatusResponse>, Error> {
        let manner = Manner { monotonic: false, ..self.short() };
        self.call(manner, request, |channel, request| async move {
            ClusterServiceClient::new(channel).get_status(request).await
        })
        .await
    }

    /// Recounts the invariants on the node that is asked; takes longer the more rows there are.
    pub async fn check_invariants(
        &self,
        request: CheckInvariantsRequest,
    ) -> Result<Answer<CheckInvariantsResponse>, Error> {
        self.call(self.long(self.shared.options.timeout), request, |channel, request| async move {
            ClusterServiceClient::new(channel).check_invariants(request).await
        })
        .await
    }

    /// The rows of a node as one file, piece by piece. A stream that breaks is not begun anew: what was received is of no
    /// use without its rest.
    pub async fn backup(&self, request: BackupRequest) -> Result<Answer<Streaming<BackupResponse>>, Error> {
        let manner = Manner { streaming: true, ..self.long(self.shared.options.timeout) };
        self.call(manner, request, |channel, request| async move {
            ClusterServiceClient::new(channel).backup(request).await
        })
        .await
    }

    /// Adds a node that runs and waits; takes as long as it needs to catch up, and may be repeated.
    pub async fn add_node(&self, request: AddNodeRequest) -> Result<Answer<AddNodeResponse>, Error> {
        self.call(self.long(self.shared.options.timeout), request, |channel, request| async move {
            ClusterServiceClient::new(channel).add_node(request).await
        })
        .await
    }

    /// Removes a node, which may be down. A repeat after it is done answers that there is no such node.
    pub async fn remove_node(&self, node_id: u64) -> Result<Answer<RemoveNodeResponse>, Error> {
        let manner = self.long(self.shared.options.timeout);
        self.call(manner, RemoveNodeRequest { node_id }, |channel, request| async move {
            ClusterServiceClient::new(channel).remove_node(request).await
        })
        .await
    }

    /// Hands the leadership to a voter; 0: to any other one.
    pub async fn transfer_leadership(&self, node_id: u64) -> Result<Answer<TransferLeadershipResponse>, Error> {
        let manner = self.long(self.shared.options.timeout);
        self.call(manner, TransferLeadershipRequest { node_id }, |channel, request| async move {
            ClusterServiceClient::new(channel).transfer_leadership(request).await
        })
        .await
    }
}
