//! The worker that has a name. Key: table 8 | name. Value: `WorkerNameRow`. Lifecycle: that of the worker's row.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::WorkerId;
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(worker: WorkerId) -> Vec<u8> {
    seal(&wire::WorkerNameRow { worker: worker.0 })
}

pub(super) fn decode(bytes: &[u8]) -> Result<WorkerId, CodecError> {
    let row: wire::WorkerNameRow = unseal("row of a worker's name", bytes)?;
    Ok(WorkerId(row.worker))
}
