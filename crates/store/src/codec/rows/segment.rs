//! A target segment, which is also the lock on its id. Key: table 4 | target. Value: `SegmentRow`. Lifecycle: made
//! with the page of the submit that names it; stays for ever once Flushed, goes with its job's collection otherwise.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::row::{Segment, SegmentState};
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(segment: &Segment) -> Vec<u8> {
    let state = match segment.state {
        SegmentState::Importing => wire::SegmentState::Importing,
        SegmentState::Flushed => wire::SegmentState::Flushed,
        SegmentState::Dropped => wire::SegmentState::Dropped,
    };
    seal(&wire::SegmentRow {
        job: segment.job.0,
        source: segment.source.0,
        collection_id: segment.collection_id,
        partition_id: segment.partition_id,
        state: state.into(),
        rows: segment.rows,
        bytes: segment.bytes,
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Segment, CodecError> {
    let row: wire::SegmentRow = unseal("segment's row", bytes)?;
    Ok(Segment {
        job: JobId(row.job),
        source: SegmentId(row.source),
        collection_id: row.collection_id,
        partition_id: row.partition_id,
        state: match wire::SegmentState::try_from(row.state) {
            Ok(wire::SegmentState::Importing) => SegmentState::Importing,
            Ok(wire::SegmentState::Flushed) => SegmentState::Flushed,
            Ok(wire::SegmentState::Dropped) => SegmentState::Dropped,
            Ok(wire::SegmentState::Unspecified) | Err(_) => {
                return Err(CodecError::Field { what: "segment's row", field: "state" });
            }
        },
        rows: row.rows,
        bytes: row.bytes,
    })
}
