//! What a request id stands for. Key: table 6 | request id. Value: `RequestRow`. Lifecycle: made by the first page of
//! a submit, outlives the rows of its job by a day.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::JobId;
use ferry_machine::row::Request;
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(request: Request) -> Vec<u8> {
    seal(&wire::RequestRow {
        hash: request.hash.into(),
        job: request.job.0,
        expires_at_ms: request.expires_at.map(|at| at.0),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Request, CodecError> {
    let row: wire::RequestRow = unseal("request's row", bytes)?;
    Ok(Request { hash: row.hash.into(), job: JobId(row.job), expires_at: row.expires_at_ms.map(Time) })
}
