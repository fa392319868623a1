//! What a request may contain; every refusal names the field as the public API spells it, and what to do.

use crate::command::{IdMapping, SubmitPage};
use crate::derive;
use crate::id::SegmentId;
use crate::limits;
use crate::outcome::Rejection;
use crate::row::{FailurePolicy, JobOptions, JobSpec};
use std::collections::{BTreeMap, BTreeSet};

/// A refusal of a field.
pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Rejection {
    Rejection::Invalid { field: field.into(), reason: reason.into() }
}

/// What every page of a submit must hold to, whatever is there already.
pub(super) fn page(page: &SubmitPage) -> Result<(), Rejection> {
    if page.request_id.is_empty() {
        return Err(invalid("request_id", "is empty: name the request, so that a retry finds its job"));
    }
    bytes_at_most("request_id", &page.request_id, limits::NAME_BYTES_MAX)?;
    for (field, hash) in [("hash_before", &page.hash_before), ("request_hash", &page.request_hash)] {
        if hash.len() > limits::REQUEST_HASH_BYTES_MAX {
            let reason = format!("is longer than {} bytes: send a digest", limits::REQUEST_HASH_BYTES_MAX);
            return Err(invalid(field, reason));
        }
    }
    if page.mappings.len() > limits::MAPPINGS_PER_PAGE_MAX {
        let reason = format!("a page has {} at most: send more pages", limits::MAPPINGS_PER_PAGE_MAX);
        return Err(invalid("id_mappings", reason));
    }
    mappings(page)
}

/// What a new job asks for.
pub(super) fn spec(spec: &JobSpec) -> Result<(), Rejection> {
    bytes_at_most("name", &spec.name, limits::NAME_BYTES_MAX)?;
    uri("source.uri", &spec.source_uri)?;
    // What verifies the source alone has no target.
    if !derive::verifies_source(spec) {
        uri("target.uri", &spec.target_uri)?;
    }
    if spec.collection_id <= 0 && !derive::verifies_source(spec) {
        return Err(invalid("target.collection_id", "must be positive: name the collection of the targets"));
    }
    partitions(&spec.partition_ids)?;
    labels("options.labels", &spec.labels)?;
    options(&spec.options)?;
    if spec.segments > limits::MAPPINGS_PER_JOB_MAX {
        return Err(Rejection::LimitReached {
            what: "mappings per job",
            max: limits::MAPPINGS_PER_JOB_MAX,
            next_step: "split the job",
        });
    }
    Ok(())
}

/// Labels of a job or worker.
pub(super) fn labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if labels.len() > limits::LABELS_MAX {
        return Err(invalid(field, format!("there may be {} at most: drop some", limits::LABELS_MAX)));
    }
    for (key, value) in labels {
        if key.is_empty() {
            return Err(invalid(field, "a label has an empty key: name it"));
        }
        bytes_at_most(field, key, limits::NAME_BYTES_MAX)?;
        bytes_at_most(&format!("{field}[{key}]"), value, limits::NAME_BYTES_MAX)?;
    }
    Ok(())
}

/// Text that has a longest length.
pub(super) fn bytes_at_most(field: &str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(invalid(field, format!("has {} bytes, and {bytes_max} at most are allowed: shorten it", text.len())))
}

/// A priority.
pub(super) fn priority(field: &str, priority: u8) -> Result<(), Rejection> {
    if priority <= limits::PRIORITY_MAX {
        return Ok(());
    }
    Err(invalid(field, format!("is {priority}: choose 0 to {}", limits::PRIORITY_MAX)))
}

/// A reason as it is kept: cut between two characters where it is too long.
pub(super) fn reason(text: &str) -> String {
    cut(text, limits::REASON_BYTES_MAX)
}

/// A text, cut to so many bytes where it is longer.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn uri(field: &str, uri: &str) -> Result<(), Rejection> {
    if uri.is_empty() {
        return Err(invalid(field, "is empty: give a URI such as file:///data or s3://bucket/prefix"));
    }
    bytes_at_most(field, uri, limits::URI_BYTES_MAX)
}

fn partitions(partition_ids: &BTreeMap<i64, i64>) -> Result<(), Rejection> {
    if partition_ids.len() > limits::PARTITIONS_PER_JOB_MAX {
        return Err(Rejection::LimitReached {
            what: "target partitions per job",
            max: limits::PARTITIONS_PER_JOB_MAX as u64,
            next_step: "split the job",
        });
    }
    for (source, target) in partition_ids {
        // -1 is the partition of segments that belong to all partitions of their collection.
        if *source < -1 || *target < 1 {
            let reason = format!("cannot be {target}: a target partition is positive, a source one -1 or more");
            return Err(invalid(format!("target.partition_ids[{source}]"), reason));
        }
    }
    Ok(())
}

fn options(options: &JobOptions) -> Result<(), Rejection> {
    priority("options.priority", options.priority)?;
    let in_range = |field: &str, value: u32, max: u32| {
        if (1..=max).contains(&value) {
            return Ok(());
        }
        Err(invalid(field, format!("is {value}: choose 1 to {max}")))
    };
    if options.verify_only && options.on_failure == FailurePolicy::Keep {
        return Err(invalid("options.on_failure", "is KEEP, and what only verifies copies nothing: choose another"));
    }
    in_range("options.segments_per_task_max", options.segments_per_task_max, limits::SEGMENTS_PER_TASK_MAX)?;
    in_range("options.attempts_max", options.attempts_max, limits::ATTEMPTS_MAX)
}

fn mappings(page: &SubmitPage) -> Result<(), Rejection> {
    let mut sources = BTreeSet::new();
    let mut targets = BTreeSet::new();
    for (index, mapping) in (page.offset..).zip(&page.mappings) {
        let field = |name: &str| format!("id_mappings[{index}].{name}");
        ids_in_range(mapping, &field)?;
        if !sources.insert(mapping.source) {
            let reason = format!("{} is listed twice: copy each source once", mapping.source);
            return Err(invalid(field("source_segment_id"), reason));
        }
        if mapping.target != SegmentId(0) && !targets.insert(mapping.target) {
            let reason = format!("{} is listed twice: give each source a target of its own", mapping.target);
            return Err(invalid(field("target_segment_id"), reason));
        }
    }
    Ok(())
}

fn ids_in_range(mapping: &IdMapping, field: &dyn Fn(&str) -> String) -> Result<(), Rejection> {
    if mapping.source.0 <= 0 {
        let reason = format!("is {}: a segment's id is positive", mapping.source);
        return Err(invalid(field("source_segment_id"), reason));
    }
    if mapping.target.0 < 0 {
        let reason = format!("is {}: give a positive id, or 0 to have one chosen", mapping.target);
        return Err(invalid(field("target_segment_id"), reason));
    }
    if mapping.partition_id < 0 {
        let reason = format!("is {}: give a positive id, or 0 for the source's own", mapping.partition_id);
        return Err(invalid(field("partition_id"), reason));
    }
    Ok(())
}
