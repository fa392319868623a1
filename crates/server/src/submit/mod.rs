//! Submits: a request becomes a checked job description and pages of mappings, or a refusal that changed nothing.

mod check;
mod hash;
mod pages;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use check::{CheckedSubmit, check, priority};
pub(crate) use pages::{known, submit};
pub(crate) use source::{Sourced, read_source};

use crate::wire;
use ferry_proto::v1;

/// What a checked submit would do.
pub(crate) fn dry_run(sourced: &Sourced) -> v1::Plan {
    let segments = sourced.spec.segments;
    v1::Plan {
        id_mappings: sourced.mappings.iter().map(wire::id_mapping).collect(),
        total_segments: wire::signed(segments),
        total_tasks: wire::signed(segments.div_ceil(u64::from(sourced.spec.options.segments_per_task_max.max(1)))),
    }
}
