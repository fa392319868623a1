//! Why a call failed, with the gRPC code that the caller can act upon and a message that names the next step.

use crate::answer::{LEADER_ID, number};
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// One field of the request that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field in the request, like `options.priority`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// A node's own refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub code: Code,
    /// The message of the answer.
    pub message: String,
    /// The fields it names, of INVALID_ARGUMENT.
    pub violations: Vec<FieldViolation>,
    /// The node that leads, when the refusing one knows it.
    pub leader_id: Option<u64>,
    /// The address of the node that refused.
    pub endpoint: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A client was to be made without endpoints.
    #[error("endpoints: none given; name at least one node as host:port")]
    NoEndpoint,
    /// An endpoint that cannot be an address.
    #[error("endpoints: {endpoint:?} is not host:port ({reason}); write it like 127.0.0.1:7401")]
    BadEndpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection failed or broke; whether the call was done is not known, but it can be repeated.
    #[error("no node answers at {endpoint}: {cause}; check that it runs and can be reached, then try again")]
    Unreachable {
        /// The last address that was tried.
        endpoint: String,
        /// What the transport says.
        cause: String,
    },
    /// A node took longer than it was given.
    #[error("{endpoint} has not answered within {}; try again, or allow more time", seconds(.after))]
    TimedOut {
        /// The last address that was tried.
        endpoint: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The node answered with a status.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// The mappings of a submit could not be read.
    #[error("{reason}")]
    Mappings {
        /// What went wrong, naming the place.
        reason: String,
    },
    /// An answer lacks what it must have.
    #[error("{endpoint} answered without `{field}`; client and node may be of different versions")]
    Incomplete {
        /// The address of the node that answered.
        endpoint: String,
        /// What is missing.
        field: &'static str,
    },
}

impl Error {
    /// The status that describes the error; those that arose here have the code a node would have used.
    pub fn code(&self) -> Code {
        match self {
            Self::NoEndpoint | Self::BadEndpoint { .. } | Self::Mappings { .. } => Code::InvalidArgument,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Code::Unavailable,
            Self::Refused(refusal) => refusal.code,
            Self::Incomplete { .. } => Code::Internal,
        }
    }

    /// The fields that INVALID_ARGUMENT names.
    pub fn violations(&self) -> &[FieldViolation] {
        match self {
            Self::Refused(refusal) => &refusal.violations,
            Self::NoEndpoint
            | Self::BadEndpoint { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Mappings { .. }
            | Self::Incomplete { .. } => &[],
        }
    }

    /// The status of a try, told apart: what the transport made has a source, what a node said has none.
    pub(crate) fn from_status(status: &Status, endpoint: &str) -> Self {
        if let Some(cause) = status.source() {
            return Self::Unreachable { endpoint: endpoint.to_owned(), cause: innermost(cause).to_string() };
        }
        Self::Refused(Box::new(Refusal {
            code: status.code(),
            message: status.message().to_owned(),
            violations: violations(status),
            leader_id: number(status.metadata(), LEADER_ID),
            endpoint: endpoint.to_owned(),
        }))
    }

    /// Another try, on this node or another, may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused(refusal) => refusal.code == Code::Unavailable,
            Self::NoEndpoint | Self::BadEndpoint { .. } | Self::Mappings { .. } | Self::Incomplete { .. } => false,
        }
    }

    /// The leader, as the refusing node knows it.
    pub(crate) fn leader_id(&self) -> Option<u64> {
        match self {
            Self::Refused(refusal) => refusal.leader_id.filter(|id| *id != 0),
            Self::NoEndpoint
            | Self::BadEndpoint { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Mappings { .. }
            | Self::Incomplete { .. } => None,
        }
    }
}

fn violations(status: &Status) -> Vec<FieldViolation> {
    let named = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    named
        .into_iter()
        .map(|violation| FieldViolation { field: violation.field, description: violation.description })
        .collect()
}

/// The error at the root of a chain, which is the one that says what happened.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

fn seconds(duration: &Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
