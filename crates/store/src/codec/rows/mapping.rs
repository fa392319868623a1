//! The source of a target of a job. Key: table 5 | job | target. Value: `MappingRow`. Lifecycle: made with the page of
//! the submit that names it, removed when the job is collected.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::SegmentId;
use ferry_machine::row::Mapping;
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(mapping: Mapping) -> Vec<u8> {
    seal(&wire::MappingRow { source: mapping.source.0, partition_id: mapping.partition_id })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Mapping, CodecError> {
    let row: wire::MappingRow = unseal("mapping's row", bytes)?;
    Ok(Mapping { source: SegmentId(row.source), partition_id: row.partition_id })
}
