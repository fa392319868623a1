//! Where consecutive targets of a job come from. Key: table 5 | job | last target. Value: `MappingsRow`. Lifecycle: made
//! with the page of the submit that names them, removed when the job is collected.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::SegmentId;
use ferry_machine::row::Mapping;
use ferry_proto::internal::v1 as wire;

const WHAT: &str = "row of a job's targets";

pub(super) fn encode(mappings: &[Mapping]) -> Vec<u8> {
    seal(&wire::MappingsRow {
        sources: mappings.iter().map(|mapping| mapping.source.0).collect(),
        partition_ids: mappings.iter().map(|mapping| mapping.partition_id).collect(),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Mapping>, CodecError> {
    let row: wire::MappingsRow = unseal(WHAT, bytes)?;
    if row.sources.is_empty() || row.sources.len() != row.partition_ids.len() {
        return Err(CodecError::Field { what: WHAT, field: "source and partition of each target" });
    }
    let each = row.sources.into_iter().zip(row.partition_ids);
    Ok(each.map(|(source, partition_id)| Mapping { source: SegmentId(source), partition_id }).collect())
}
