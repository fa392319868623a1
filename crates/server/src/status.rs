//! Errors as gRPC statuses, mapped in one place; every message names the field or thing and the next step.

mod fit;

use ferry_machine::outcome::Rejection;
use ferry_raft::{MembershipError, ProposeError, ReadError};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

pub(crate) use fit::{cut, fitted};

/// Metadata that names the leader, where one is known.
pub(crate) const LEADER_ID: &str = "ferry-leader-id";
/// Violations told in one answer, where there is room for them.
const VIOLATIONS_MAX: usize = 8;
/// Characters of a user's own text that are repeated in a message.
const ECHO_CHARS_MAX: usize = 80;

/// What is wrong with a request, field by field.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    told: Vec<FieldViolation>,
    /// Those that are only counted, too.
    total: usize,
}

impl Violations {
    /// Notes one; those beyond the most that are told are only counted.
    pub(crate) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.add_with(|| (field.into(), reason.into()));
    }

    /// The same of one that is put into words only if it is told.
    pub(crate) fn add_with(&mut self, words: impl FnOnce() -> (String, String)) {
        self.total += 1;
        if self.told.len() < VIOLATIONS_MAX {
            let (field, reason) = words();
            self.told.push(FieldViolation::new(field, reason));
        }
    }

    /// Notes one unless the condition holds.
    pub(crate) fn require(&mut self, holds: bool, field: &str, reason: impl FnOnce() -> String) {
        if !holds {
            self.add_with(|| (field.to_owned(), reason()));
        }
    }

    /// INVALID_ARGUMENT if there is any.
    pub(crate) fn into_result(self) -> Result<(), Status> {
        if self.told.is_empty() {
            return Ok(());
        }
        Err(fit::with_violations(Code::InvalidArgument, &self.told, self.total))
    }
}

/// INVALID_ARGUMENT for one field.
pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Status {
    of_field(Code::InvalidArgument, field, reason)
}

/// A status about one field.
pub(crate) fn of_field(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Status {
    fit::with_violations(code, &[FieldViolation::new(field, reason)], 1)
}

/// A user's own text, short enough and safe for a message.
pub(crate) fn echoed(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHO_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(ECHO_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("\"{shown}\"")
}

/// UNAVAILABLE because nobody, or somebody else, leads.
pub(crate) fn no_leader(leader: Option<u64>) -> Status {
    let message = match leader {
        Some(id) => format!("this node does not lead, node {id} does: try again"),
        None => "no leader is known: try again; if it lasts, see which nodes run (`ferry cluster status`)".to_owned(),
    };
    let mut status = Status::unavailable(message);
    if let Some(id) = leader {
        status.metadata_mut().insert(LEADER_ID, MetadataValue::from(id));
    }
    status
}

/// What became of a proposal.
pub(crate) fn of_propose(error: &ProposeError) -> Status {
    match error {
        ProposeError::Rejected { rejection, .. } => of_rejection(rejection),
        ProposeError::NotLeader { leader } => no_leader(leader.as_ref().map(|(id, _)| *id)),
        ProposeError::Unknown { .. } | ProposeError::Stopped => Status::unavailable(error.to_string()),
        ProposeError::Overloaded => Status::resource_exhausted(error.to_string()),
    }
}

/// What became of a change of the membership or of the leader.
pub(crate) fn of_membership(error: &MembershipError) -> Status {
    match error {
        MembershipError::NotLeader { leader } => no_leader(leader.as_ref().map(|(id, _)| *id)),
        MembershipError::Refused { .. } => Status::failed_precondition(error.to_string()),
        MembershipError::Unknown { .. } => Status::unavailable(error.to_string()),
    }
}

/// What kept a read from being answered.
pub(crate) fn of_read(error: &ReadError, leader: Option<u64>) -> Status {
    match error {
        ReadError::Unavailable { .. } | ReadError::Behind { .. } | ReadError::Stopped => {
            let mut status = Status::unavailable(error.to_string());
            if let Some(id) = leader {
                status.metadata_mut().insert(LEADER_ID, MetadataValue::from(id));
            }
            status
        }
    }
}

/// A rejection of the machine, which left no trace.
pub(crate) fn of_rejection(rejection: &Rejection) -> Status {
    let message = rejection.to_string();
    match rejection {
        Rejection::NotBootstrapped => Status::unavailable(message),
        Rejection::JobNotFound(_) | Rejection::TaskNotFound(_) | Rejection::WorkerNotFound(_) => {
            Status::not_found(message)
        }
        Rejection::RequestIdReused { .. } => of_message(Code::AlreadyExists, "request_id", message),
        Rejection::TargetHeld { .. } => of_message(Code::AlreadyExists, "id_mappings.target_segment_id", message),
        Rejection::TargetNotAllocated { .. } => {
            of_message(Code::InvalidArgument, "id_mappings.target_segment_id", message)
        }
        Rejection::Invalid { field, reason } => invalid(field, reason),
        Rejection::WrongState { .. } | Rejection::LeaseNotHeld { .. } | Rejection::ManifestAltered { .. } => {
            Status::failed_precondition(message)
        }
        Rejection::WrongOffset { .. } | Rejection::Stale(_) => Status::aborted(message),
        Rejection::WrongTargets { .. } => Status::invalid_argument(message),
        Rejection::LimitReached { .. } => Status::resource_exhausted(message),
    }
}

/// A status whose message already says which field it is about.
fn of_message(code: Code, field: &str, message: String) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, message.clone());
    let status = Status::with_error_details(code, message, details);
    fitted(&status).unwrap_or(status)
}
