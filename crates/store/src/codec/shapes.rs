//! Conversions that rows and commands share: stamps, pins of manifests, ids of events, labels, the description of a job.
//!
//! An absent message that must be there, or an enum value that this version does not know, is an error and never a
//! default: what a newer version wrote is not to be guessed at.

use super::CodecError;
use ferry_machine::id::EventId;
use ferry_machine::row;
use ferry_machine::time::{Stamp, Time};
use ferry_proto::internal::v1 as wire;
use std::collections::{BTreeMap, BTreeSet};

/// The value of a field that must be there.
pub(super) fn required<T>(value: Option<T>, what: &'static str, field: &'static str) -> Result<T, CodecError> {
    value.ok_or(CodecError::Field { what, field })
}

/// A number that must fit into a smaller type.
pub(super) fn narrow<T, U: TryFrom<T>>(value: T, what: &'static str, field: &'static str) -> Result<U, CodecError> {
    U::try_from(value).map_err(|_| CodecError::Field { what, field })
}

pub(super) fn stamp_to_wire(stamp: Stamp) -> wire::Stamp {
    wire::Stamp { at_ms: stamp.at.0, wall_ms: stamp.wall_ms }
}

pub(super) fn stamp_from_wire(stamp: wire::Stamp) -> Stamp {
    Stamp { at: Time(stamp.at_ms), wall_ms: stamp.wall_ms }
}

pub(super) fn manifest_to_wire(pin: row::ManifestPin) -> wire::ManifestPin {
    wire::ManifestPin { size_bytes: pin.size_bytes, crc32c: pin.crc32c }
}

pub(super) fn manifest_from_wire(pin: wire::ManifestPin) -> row::ManifestPin {
    row::ManifestPin { size_bytes: pin.size_bytes, crc32c: pin.crc32c }
}

pub(super) fn event_id_to_wire(id: EventId) -> wire::EventId {
    wire::EventId { revision: id.revision, ordinal: id.ordinal }
}

pub(super) fn event_id_from_wire(id: wire::EventId) -> EventId {
    EventId { revision: id.revision, ordinal: id.ordinal }
}

pub(super) fn labels_to_wire(labels: BTreeMap<String, String>) -> Vec<wire::Label> {
    labels.into_iter().map(|(key, value)| wire::Label { key, value }).collect()
}

pub(super) fn labels_from_wire(labels: Vec<wire::Label>) -> BTreeMap<String, String> {
    labels.into_iter().map(|label| (label.key, label.value)).collect()
}

pub(super) fn spec_to_wire(spec: row::JobSpec) -> wire::JobSpec {
    let partition = |(source, target)| wire::PartitionMapping { source, target };
    wire::JobSpec {
        name: spec.name,
        source_uri: spec.source_uri,
        metadata_bytes: spec.metadata_bytes,
        metadata_crc32c: spec.metadata_crc32c,
        target_uri: spec.target_uri,
        collection_id: spec.collection_id,
        partition_ids: spec.partition_ids.into_iter().map(partition).collect(),
        segments: spec.segments,
        build_ids: spec.build_ids,
        options: Some(options_to_wire(&spec.options)),
        labels: labels_to_wire(spec.labels),
        first_build_id: spec.first_build_id,
        snapshot_id: spec.snapshot_id,
    }
}

pub(super) fn spec_from_wire(spec: wire::JobSpec) -> Result<row::JobSpec, CodecError> {
    let options = required(spec.options, "job", "options")?;
    Ok(row::JobSpec {
        name: spec.name,
        source_uri: spec.source_uri,
        metadata_bytes: spec.metadata_bytes,
        metadata_crc32c: spec.metadata_crc32c,
        target_uri: spec.target_uri,
        collection_id: spec.collection_id,
        partition_ids: spec.partition_ids.into_iter().map(|entry| (entry.source, entry.target)).collect(),
        segments: spec.segments,
        build_ids: spec.build_ids,
        options: options_from_wire(&options)?,
        labels: labels_from_wire(spec.labels),
        first_build_id: spec.first_build_id,
        snapshot_id: spec.snapshot_id,
    })
}

fn options_to_wire(options: &row::JobOptions) -> wire::JobOptions {
    let verify = match options.verify {
        row::VerifyMode::Standard => wire::VerifyMode::Standard,
        row::VerifyMode::Full => wire::VerifyMode::Full,
    };
    let on_failure = match options.on_failure {
        row::FailurePolicy::Fail => wire::FailurePolicy::Fail,
        row::FailurePolicy::Pause => wire::FailurePolicy::Pause,
        row::FailurePolicy::Keep => wire::FailurePolicy::Keep,
    };
    wire::JobOptions {
        timeout_ms: options.timeout_ms,
        retention_ms: options.retention_ms,
        priority: options.priority.into(),
        segments_per_task_max: options.segments_per_task_max,
        attempts_max: options.attempts_max,
        bandwidth_bytes_per_second: options.bandwidth_bytes_per_second,
        start_paused: options.start_paused,
        verify: verify.into(),
        on_failure: on_failure.into(),
        indexes: indexes_to_wire(&options.indexes),
        self_contained: options.self_contained,
        verify_only: options.verify_only,
        requests_per_second: options.requests_per_second,
        attempts_at_once_max: options.attempts_at_once_max,
    }
}

fn options_from_wire(options: &wire::JobOptions) -> Result<row::JobOptions, CodecError> {
    let verify = match wire::VerifyMode::try_from(options.verify) {
        Ok(wire::VerifyMode::Standard) => row::VerifyMode::Standard,
        Ok(wire::VerifyMode::Full) => row::VerifyMode::Full,
        Ok(wire::VerifyMode::Unspecified) | Err(_) => {
            return Err(CodecError::Field { what: "job", field: "verify mode" });
        }
    };
    let on_failure = match wire::FailurePolicy::try_from(options.on_failure) {
        Ok(wire::FailurePolicy::Fail) => row::FailurePolicy::Fail,
        Ok(wire::FailurePolicy::Pause) => row::FailurePolicy::Pause,
        Ok(wire::FailurePolicy::Keep) => row::FailurePolicy::Keep,
        Ok(wire::FailurePolicy::Unspecified) | Err(_) => {
            return Err(CodecError::Field { what: "job", field: "policy for failed tasks" });
        }
    };
    Ok(row::JobOptions {
        timeout_ms: options.timeout_ms,
        retention_ms: options.retention_ms,
        priority: narrow(options.priority, "job", "priority")?,
        segments_per_task_max: options.segments_per_task_max,
        attempts_max: options.attempts_max,
        bandwidth_bytes_per_second: options.bandwidth_bytes_per_second,
        requests_per_second: options.requests_per_second,
        attempts_at_once_max: options.attempts_at_once_max,
        start_paused: options.start_paused,
        verify,
        on_failure,
        indexes: indexes_from_wire(&options.indexes)?,
        self_contained: options.self_contained,
        verify_only: options.verify_only,
    })
}

fn indexes_to_wire(indexes: &row::Indexes) -> Vec<i32> {
    let kind = |kind: &row::IndexKind| match kind {
        row::IndexKind::Vector => wire::IndexKind::Vector,
        row::IndexKind::Scalar => wire::IndexKind::Scalar,
        row::IndexKind::Text => wire::IndexKind::Text,
        row::IndexKind::Json => wire::IndexKind::Json,
    };
    match indexes {
        row::Indexes::All => Vec::new(),
        row::Indexes::Only(kinds) if kinds.is_empty() => vec![wire::IndexKind::None.into()],
        row::Indexes::Only(kinds) => kinds.iter().map(|one| kind(one).into()).collect(),
    }
}

fn indexes_from_wire(kinds: &[i32]) -> Result<row::Indexes, CodecError> {
    let kind = |kind: &i32| match wire::IndexKind::try_from(*kind) {
        Ok(wire::IndexKind::Vector) => Ok(row::IndexKind::Vector),
        Ok(wire::IndexKind::Scalar) => Ok(row::IndexKind::Scalar),
        Ok(wire::IndexKind::Text) => Ok(row::IndexKind::Text),
        Ok(wire::IndexKind::Json) => Ok(row::IndexKind::Json),
        Ok(wire::IndexKind::None | wire::IndexKind::Unspecified) | Err(_) => {
            Err(CodecError::Field { what: "job", field: "kind of index" })
        }
    };
    match kinds {
        [] => Ok(row::Indexes::All),
        [only] if *only == i32::from(wire::IndexKind::None) => Ok(row::Indexes::Only(BTreeSet::new())),
        kinds => kinds.iter().map(kind).collect::<Result<_, _>>().map(row::Indexes::Only),
    }
}

pub(super) fn settle_to_wire(settle: row::Settle) -> wire::Settle {
    use wire::settle::Progress;
    let progress = match settle {
        row::Settle::Segments { after } => Progress::SegmentsAfter(after.0),
        row::Settle::Tasks { after } => Progress::TasksAfter(after.0),
        row::Settle::Metadata => Progress::Metadata(wire::Nothing {}),
        row::Settle::Kept => Progress::Kept(wire::Nothing {}),
        row::Settle::Done => Progress::Done(wire::Nothing {}),
    };
    wire::Settle { progress: Some(progress) }
}

pub(super) fn settle_from_wire(settle: wire::Settle) -> Result<row::Settle, CodecError> {
    use ferry_machine::id::{SegmentId, TaskId};
    use wire::settle::Progress;
    Ok(match required(settle.progress, "job", "progress of settling")? {
        Progress::SegmentsAfter(after) => row::Settle::Segments { after: SegmentId(after) },
        Progress::TasksAfter(after) => row::Settle::Tasks { after: TaskId(after) },
        Progress::Metadata(wire::Nothing {}) => row::Settle::Metadata,
        Progress::Kept(wire::Nothing {}) => row::Settle::Kept,
        Progress::Done(wire::Nothing {}) => row::Settle::Done,
    })
}
