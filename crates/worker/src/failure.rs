//! How an attempt ends when it does not end well: every error becomes a `Fault`, whose kind the leader acts on and whose
//! reason names the object.

use ferry_objects::{Class, FolderError, StoreError};
use ferry_proto::v1::{Failure, FailureKind};
use thiserror::Error;

/// Why an attempt, or a step of one, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    /// No retry can help.
    #[error("{0}")]
    Permanent(String),
    /// The credentials were refused; another worker may have better ones.
    #[error("{0}")]
    Refused(String),
    /// A retry may help.
    #[error("{0}")]
    Transient(String),
    /// The store is away, or asks for fewer requests: nothing is wrong with the attempt.
    #[error("{0}")]
    Outage(String),
    /// The attempt lost its permission to write; that is not a failure to report.
    #[error("the attempt was stopped")]
    Stopped,
}

/// On which side of a copy something failed: the same error can mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What is copied; what is missing there stays missing.
    Source,
    /// Where it goes; what is missing there can be made.
    Target,
}

impl Fault {
    /// A failure of the given class.
    pub(crate) fn of_class(class: Class, reason: String) -> Fault {
        match class {
            Class::Permanent => Fault::Permanent(reason),
            Class::Refused => Fault::Refused(reason),
            Class::Transient => Fault::Transient(reason),
            Class::Outage => Fault::Outage(reason),
        }
    }

    /// What a store's error means on that side.
    pub(crate) fn of_store(error: &StoreError, side: Side) -> Fault {
        match error {
            StoreError::Missing { .. } if side == Side::Target => Fault::Transient(error.to_string()),
            _ => Fault::of_class(error.class(), error.to_string()),
        }
    }

    /// Whether the same may succeed when it is tried again.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Fault::Transient(_) | Fault::Outage(_))
    }

    /// What an error of a local folder means on that side.
    pub(crate) fn of_folder(error: &FolderError, side: Side) -> Fault {
        let reason = error.to_string();
        match error {
            FolderError::Missing { .. } if side == Side::Source => Fault::Permanent(reason),
            FolderError::Missing { .. } | FolderError::Io { .. } => Fault::Transient(reason),
            FolderError::Refused { .. } => Fault::Refused(reason),
            FolderError::Link { .. } | FolderError::Kind { .. } => Fault::Permanent(reason),
        }
    }

    /// How it is told to the leader; `None` when it is no failure.
    pub(crate) fn report(&self) -> Option<Failure> {
        let (kind, reason) = match self {
            Fault::Permanent(reason) => (FailureKind::Permanent, reason),
            Fault::Refused(reason) => (FailureKind::Refused, reason),
            Fault::Transient(reason) => (FailureKind::Transient, reason),
            Fault::Outage(reason) => (FailureKind::Outage, reason),
            Fault::Stopped => return None,
        };
        Some(Failure { kind: kind.into(), reason: reason.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_permanent_in_the_source_and_transient_in_the_target() {
        let missing = StoreError::Missing { uri: "s3://bucket/a".into() };
        assert!(
            matches!(Fault::of_store(&missing, Side::Source), Fault::Permanent(reason) if reason.contains("s3://bucket/a"))
        );
        assert!(matches!(Fault::of_store(&missing, Side::Target), Fault::Transient(_)));
    }

    #[test]
    fn refused_credentials_are_told_apart_on_both_sides() {
        let source = object_store::Error::Unauthenticated { path: "a".into(), source: "no".into() };
        let store = StoreError::of("s3://bucket/a".into(), &source);
        let folder = FolderError::Refused { path: "/data/a".into(), errno: nix::errno::Errno::EACCES };
        for side in [Side::Source, Side::Target] {
            assert!(
                matches!(Fault::of_store(&store, side), Fault::Refused(reason) if reason.contains("s3://bucket/a"))
            );
            assert!(matches!(Fault::of_folder(&folder, side), Fault::Refused(reason) if reason.contains("/data/a")));
        }
    }

    #[test]
    fn a_stopped_attempt_reports_no_failure() {
        assert_eq!(Fault::Stopped.report(), None);
        let refused = Fault::Refused("x".into()).report().map(|failure| failure.kind());
        assert_eq!(refused, Some(FailureKind::Refused));
    }
}
