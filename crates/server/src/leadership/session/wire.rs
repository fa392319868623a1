//! Words of the session as the machine means them.

use ferry_machine::command::{CopiedSegment, FailureKind, LeaseRef, TaskResult};
use ferry_machine::id::SegmentId;
use ferry_machine::row::ManifestPin;
use ferry_proto::v1;

pub(super) fn attempt(lease: LeaseRef) -> v1::Attempt {
    v1::Attempt { task_id: lease.task.0, attempt: lease.attempt }
}

pub(super) fn manifest(pin: &v1::ManifestPin) -> ManifestPin {
    ManifestPin { size_bytes: pin.size_bytes, crc32c: pin.crc32c }
}

pub(super) fn task_result(outcome: v1::result::Outcome) -> TaskResult {
    match outcome {
        v1::result::Outcome::Copied(copied) => {
            TaskResult::Copied { segments: copied.segments.iter().map(copied_segment).collect() }
        }
        v1::result::Outcome::Published(_) => TaskResult::Published,
        v1::result::Outcome::CleanedUp(_) => TaskResult::CleanedUp,
        v1::result::Outcome::Verified(verified) => {
            TaskResult::Verified { segments: verified.segments.iter().map(copied_segment).collect() }
        }
        v1::result::Outcome::Failure(failure) => {
            TaskResult::Failed { kind: failure_kind(failure.kind()), reason: failure.reason }
        }
    }
}

fn copied_segment(segment: &v1::CopiedSegment) -> CopiedSegment {
    CopiedSegment {
        target: SegmentId(segment.target_segment_id),
        partition_id: segment.partition_id,
        rows: segment.num_of_rows,
        bytes: segment.size_bytes,
    }
}

fn failure_kind(kind: v1::FailureKind) -> FailureKind {
    match kind {
        v1::FailureKind::Permanent => FailureKind::Permanent,
        v1::FailureKind::Refused => FailureKind::Refused,
        v1::FailureKind::GivenBack => FailureKind::GivenBack,
        v1::FailureKind::Outage => FailureKind::Outage,
        v1::FailureKind::Transient | v1::FailureKind::Unspecified => FailureKind::Transient,
    }
}
