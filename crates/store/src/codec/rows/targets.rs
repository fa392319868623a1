//! Consecutive target ids, and the lock on them. Key: table 4 | last target. Value: `TargetsRow`. Lifecycle: made with
//! the page of the submit that names them, cut or removed where another job takes some of them over, written again when
//! settling publishes them; stays for ever then, goes with its job's collection otherwise.

use super::super::{CodecError, seal, unseal};
use ferry_machine::id::{JobId, SegmentId};
use ferry_machine::row::{Copied, Published, PublishedSegment, Targets};
use ferry_proto::internal::v1 as wire;

const WHAT: &str = "row of targets";

pub(super) fn encode(targets: &Targets) -> Vec<u8> {
    seal(&wire::TargetsRow {
        job: targets.job.0,
        first: targets.first.0,
        published: targets.published.as_ref().map(published_to_wire),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Targets, CodecError> {
    let row: wire::TargetsRow = unseal(WHAT, bytes)?;
    Ok(Targets {
        job: JobId(row.job),
        first: SegmentId(row.first),
        published: row.published.map(published_from_wire).transpose()?,
    })
}

fn published_to_wire(published: &Published) -> wire::PublishedTargets {
    let segments = &published.segments;
    wire::PublishedTargets {
        collection_id: published.collection_id,
        sources: segments.iter().map(|segment| segment.source.0).collect(),
        partition_ids: segments.iter().map(|segment| segment.copied.partition_id).collect(),
        rows: segments.iter().map(|segment| segment.copied.rows).collect(),
        bytes: segments.iter().map(|segment| segment.copied.bytes).collect(),
    }
}

fn published_from_wire(published: wire::PublishedTargets) -> Result<Published, CodecError> {
    let wire::PublishedTargets { collection_id, sources, partition_ids, rows, bytes } = published;
    let count = sources.len();
    if [partition_ids.len(), rows.len(), bytes.len()] != [count; 3] {
        return Err(CodecError::Field { what: WHAT, field: "source, partition, rows and bytes of each target" });
    }
    let each = sources.into_iter().zip(partition_ids).zip(rows).zip(bytes);
    let segments = each.map(|(((source, partition_id), rows), bytes)| PublishedSegment {
        source: SegmentId(source),
        copied: Copied { partition_id, rows, bytes },
    });
    Ok(Published { collection_id, segments: segments.collect() })
}
