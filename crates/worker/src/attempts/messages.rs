//! What the leader is told of attempts that have ended.

use crate::attempt::Key;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::{Dropped, Failure, FailureKind};

pub(super) fn given_back(reason: &str) -> Outcome {
    Outcome::Failure(Failure { kind: FailureKind::GivenBack.into(), reason: reason.to_owned() })
}

pub(super) fn result(key: Key, outcome: &Outcome, writes_for_ms: u64) -> Message {
    let outcome = Some(outcome.clone());
    Message::Result(ferry_proto::v1::Result { attempt: Some(key.into()), outcome, writes_for_ms })
}

pub(super) fn dropped(key: Key, writes_for_ms: u64) -> Message {
    Message::Dropped(Dropped { attempt: Some(key.into()), writes_for_ms })
}

pub(super) fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Copied(_) => "copied",
        Outcome::Published(_) => "published",
        Outcome::CleanedUp(_) => "cleaned_up",
        Outcome::Verified(_) => "verified",
        Outcome::Failure(failure) => match failure.kind() {
            FailureKind::Permanent => "permanent",
            FailureKind::Refused => "refused",
            FailureKind::Transient => "transient",
            FailureKind::GivenBack => "given_back",
            FailureKind::Outage => "outage",
            FailureKind::Unspecified => "unspecified",
        },
    }
}
