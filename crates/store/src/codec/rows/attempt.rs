//! Attempts inside of a task's row: the lease of the one that runs, and those that ended.

use super::super::CodecError;
use super::super::shapes::{required, stamp_from_wire, stamp_to_wire};
use ferry_machine::id::WorkerId;
use ferry_machine::row::{AttemptEnd, EndedAttempt, Lease, Work};
use ferry_proto::internal::v1 as wire;

const WHAT: &str = "task's row";

pub(super) fn lease_to_wire(lease: Lease) -> wire::Lease {
    wire::Lease {
        worker: lease.worker.0,
        incarnation: lease.incarnation,
        attempt: lease.attempt,
        since: Some(stamp_to_wire(lease.since)),
    }
}

pub(super) fn lease_from_wire(lease: wire::Lease) -> Result<Lease, CodecError> {
    Ok(Lease {
        worker: WorkerId(lease.worker),
        incarnation: lease.incarnation,
        attempt: lease.attempt,
        since: stamp_from_wire(required(lease.since, WHAT, "time of its lease")?),
    })
}

pub(super) fn ended_to_wire(attempt: EndedAttempt) -> wire::EndedAttempt {
    let end = match attempt.end {
        AttemptEnd::Copied => wire::AttemptEnd::Copied,
        AttemptEnd::Published => wire::AttemptEnd::Published,
        AttemptEnd::CleanedUp => wire::AttemptEnd::CleanedUp,
        AttemptEnd::Verified => wire::AttemptEnd::Verified,
        AttemptEnd::Permanent => wire::AttemptEnd::Permanent,
        AttemptEnd::Refused => wire::AttemptEnd::Refused,
        AttemptEnd::Transient => wire::AttemptEnd::Transient,
        AttemptEnd::GivenBack => wire::AttemptEnd::GivenBack,
        AttemptEnd::Outage => wire::AttemptEnd::Outage,
        AttemptEnd::Stopped => wire::AttemptEnd::Stopped,
        AttemptEnd::Lost => wire::AttemptEnd::Lost,
    };
    let work = match attempt.work {
        Work::Copy => wire::Work::Copy,
        Work::Publish => wire::Work::Publish,
        Work::CleanUp => wire::Work::CleanUp,
        Work::Verify => wire::Work::Verify,
    };
    wire::EndedAttempt {
        number: attempt.number,
        worker: attempt.worker.0,
        work: work.into(),
        started: Some(stamp_to_wire(attempt.started)),
        ended: Some(stamp_to_wire(attempt.ended)),
        end: end.into(),
        error: attempt.error,
    }
}

pub(super) fn ended_from_wire(attempt: wire::EndedAttempt) -> Result<EndedAttempt, CodecError> {
    Ok(EndedAttempt {
        number: attempt.number,
        worker: WorkerId(attempt.worker),
        work: match wire::Work::try_from(attempt.work) {
            Ok(wire::Work::Copy) => Work::Copy,
            Ok(wire::Work::Publish) => Work::Publish,
            Ok(wire::Work::CleanUp) => Work::CleanUp,
            Ok(wire::Work::Verify) => Work::Verify,
            Ok(wire::Work::Unspecified) | Err(_) => {
                return Err(CodecError::Field { what: WHAT, field: "work of an attempt" });
            }
        },
        started: stamp_from_wire(required(attempt.started, WHAT, "time at which an attempt began")?),
        ended: stamp_from_wire(required(attempt.ended, WHAT, "time at which an attempt ended")?),
        end: match wire::AttemptEnd::try_from(attempt.end) {
            Ok(wire::AttemptEnd::Copied) => AttemptEnd::Copied,
            Ok(wire::AttemptEnd::Published) => AttemptEnd::Published,
            Ok(wire::AttemptEnd::CleanedUp) => AttemptEnd::CleanedUp,
            Ok(wire::AttemptEnd::Verified) => AttemptEnd::Verified,
            Ok(wire::AttemptEnd::Permanent) => AttemptEnd::Permanent,
            Ok(wire::AttemptEnd::Refused) => AttemptEnd::Refused,
            Ok(wire::AttemptEnd::Transient) => AttemptEnd::Transient,
            Ok(wire::AttemptEnd::GivenBack) => AttemptEnd::GivenBack,
            Ok(wire::AttemptEnd::Outage) => AttemptEnd::Outage,
            Ok(wire::AttemptEnd::Stopped) => AttemptEnd::Stopped,
            Ok(wire::AttemptEnd::Lost) => AttemptEnd::Lost,
            Ok(wire::AttemptEnd::Unspecified) | Err(_) => {
                return Err(CodecError::Field { what: WHAT, field: "end of an attempt" });
            }
        },
        error: attempt.error,
    })
}
