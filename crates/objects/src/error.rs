//! Reasons why an object could not be read, written or listed: the store's words by its own code, and the next step.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::key::KeyError;

/// What a caller should do about an error: every error answers this one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Trying again cannot help: something is missing, altered, malformed or forbidden by our own rules.
    Permanent,
    /// The store refused this process' settings; another worker, with others, may succeed.
    Refused,
    /// The store failed, throttled or could not be reached; try again later.
    Transient,
    /// The store is away, or asks for fewer requests: nothing is wrong with what was asked.
    Outage,
}

impl Class {
    /// Whether trying again, here or elsewhere, cannot help.
    pub fn is_permanent(self) -> bool {
        self == Class::Permanent
    }
}

/// The meaning of a store's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bucket or container is not there.
    NoBucket,
    /// The credentials do not allow it, or what is asked for is not there and may not be listed.
    Denied,
    /// The credentials were good once.
    Expired,
    /// The clocks of this machine and of the store differ.
    Skewed,
    /// The object has to be brought back from an archive first.
    Archived,
    /// The bucket lies in another region, or at another endpoint.
    Elsewhere,
    /// The bucket takes no upload without a checksum.
    ChecksumDemanded,
    /// More requests than the store wants.
    Throttled,
    /// The store does not know this request.
    Unsupported,
    /// A key that is no plain path, of this object or of one that a listing came upon.
    BadKey,
    /// The certificate of the store is not trusted.
    Untrusted,
    /// No connection could be made.
    Unreachable,
    /// No answer came within the limit on silence.
    Silent,
    /// A condition of the request does not hold.
    Precondition,
    /// Whatever else went wrong.
    Failed,
}

impl Reason {
    /// All of them, in the order of their table.
    pub const ALL: [Reason; 15] = [
        Reason::NoBucket,
        Reason::Denied,
        Reason::Expired,
        Reason::Skewed,
        Reason::Archived,
        Reason::Elsewhere,
        Reason::ChecksumDemanded,
        Reason::Throttled,
        Reason::Unsupported,
        Reason::BadKey,
        Reason::Untrusted,
        Reason::Unreachable,
        Reason::Silent,
        Reason::Precondition,
        Reason::Failed,
    ];

    /// What a caller should do about it.
    pub fn class(self) -> Class {
        match self {
            Reason::NoBucket | Reason::Archived | Reason::Unsupported | Reason::BadKey | Reason::Precondition => {
                Class::Permanent
            }
            Reason::Denied
            | Reason::Expired
            | Reason::Skewed
            | Reason::Elsewhere
            | Reason::ChecksumDemanded
            | Reason::Untrusted => Class::Refused,
            Reason::Throttled | Reason::Unreachable | Reason::Silent => Class::Outage,
            Reason::Failed => Class::Transient,
        }
    }

    /// Codes of S3, Azure and GCS that mean it; none where a status or the client's own words tell it.
    pub fn codes(self) -> &'static [&'static str] {
        match self {
            Reason::NoBucket => &["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"],
            Reason::Denied => &[
                "AccessDenied",
                "AllAccessDisabled",
                "InvalidAccessKeyId",
                "SignatureDoesNotMatch",
                "AuthenticationFailed",
                "AuthorizationFailure",
                "AuthorizationPermissionMismatch",
                "InsufficientAccountPermissions",
            ],
            Reason::Expired => &["ExpiredToken", "TokenRefreshRequired", "InvalidToken", "ExpiredAuthenticationToken"],
            Reason::Skewed => &["RequestTimeTooSkewed"],
            Reason::Archived => &["InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"],
            Reason::Elsewhere => &[
                "PermanentRedirect",
                "TemporaryRedirect",
                "AuthorizationHeaderMalformed",
                "IllegalLocationConstraintException",
            ],
            Reason::ChecksumDemanded => &["MissingContentMD5", "ChecksumRequired"],
            Reason::Throttled => &["SlowDown", "RequestLimitExceeded", "TooManyRequests", "ServerBusy"],
            Reason::Unsupported => &["NotImplemented", "MethodNotAllowed", "UnsupportedOperation"],
            Reason::Precondition => &["PreconditionFailed", "ConditionNotMet"],
            Reason::BadKey | Reason::Untrusted | Reason::Unreachable | Reason::Silent | Reason::Failed => &[],
        }
    }

    /// What is wrong, as the middle of a sentence about an object.
    fn problem(self) -> &'static str {
        match self {
            Reason::NoBucket => "its bucket does not exist at the endpoint that is asked",
            Reason::Denied => "access is refused, or it is missing and may not be listed",
            Reason::Expired => "the credentials have expired",
            Reason::Skewed => "the clock of this machine and that of the store differ too much",
            Reason::Archived => "it is archived in a storage class that cannot be read",
            Reason::Elsewhere => "its bucket lies in another region, or at another endpoint",
            Reason::ChecksumDemanded => "its bucket takes no upload without a checksum",
            Reason::Throttled => "the store asks for fewer requests",
            Reason::Unsupported => "the store does not know this request",
            Reason::BadKey => "a key has an empty part, or a control character",
            Reason::Untrusted => "the certificate of the store is not trusted",
            Reason::Unreachable => "the store cannot be reached",
            Reason::Silent => "the store was silent for too long",
            Reason::Precondition => "it is not what it was",
            Reason::Failed => "it could not be accessed",
        }
    }

    /// The next step.
    pub fn advice(self) -> &'static str {
        match self {
            Reason::NoBucket => {
                "create the bucket, or correct its name (s3://bucket/key) or the endpoint (AWS_ENDPOINT, or that of its [stores.NAME])"
            }
            Reason::Denied => "check the credentials of this process and what they allow: reading, listing, writing",
            Reason::Expired => {
                "renew the credentials: a file of [stores.NAME] is read again, after a change of the environment start the process again"
            }
            Reason::Skewed => "set the clock of this machine by NTP",
            Reason::Archived => "bring it back from the archive (restore or rehydrate it), then submit again",
            Reason::Elsewhere => {
                "set AWS_REGION and AWS_ENDPOINT of this process, or region and endpoint of its [stores.NAME], to those of the bucket"
            }
            Reason::ChecksumDemanded => "set AWS_CHECKSUM_ALGORITHM=SHA256 for this process",
            Reason::Throttled => "lower the load, or ask the provider for a higher limit",
            Reason::Unsupported => "use another store, or one whose gateway serves this request",
            Reason::BadKey => "rename or delete the object of that key",
            Reason::Untrusted => "add its authority to the system's certificates, or correct the endpoint",
            Reason::Silent => {
                "see whether it is overloaded, or raise request-timeout, of the nodes (leadership.request-timeout) first"
            }
            Reason::Unreachable => "see whether its name resolves and its port is open from this machine",
            Reason::Precondition => "see what writes it",
            Reason::Failed => "try again when the store answers",
        }
    }

    fn of_code(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.codes().contains(&code))
    }
}

/// Why an object could not be read, written or listed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The key is not one that we touch.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no such object.
    #[error("{uri} does not exist; restore the object, or correct what names it")]
    Missing {
        /// The object.
        uri: String,
    },
    /// The object is larger than it can rightly be.
    #[error(
        "{uri} has {size_bytes} bytes, more than the {bytes_max} such a file can have; it is not what its name says"
    )]
    TooLarge {
        /// The object.
        uri: String,
        /// Its size.
        size_bytes: u64,
        /// The largest accepted size.
        bytes_max: u64,
    },
    /// The store said no, or nothing.
    #[error("{uri}: {} ({said}); {}", reason.problem(), reason.advice())]
    Answer {
        /// The object.
        uri: String,
        /// What that means.
        reason: Reason,
        /// In the store's words, shortened.
        said: Said,
    },
}

impl StoreError {
    /// What a caller should do about it.
    pub fn class(&self) -> Class {
        match self {
            StoreError::Key(_) | StoreError::Missing { .. } | StoreError::TooLarge { .. } => Class::Permanent,
            // Its own failure, whatever it was asked for.
            StoreError::Answer { reason: Reason::Failed, said, .. } if said.status >= Some(500) => Class::Outage,
            StoreError::Answer { reason, .. } => reason.class(),
        }
    }

    /// What the store's answer means, if there was one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            StoreError::Answer { reason, .. } => Some(*reason),
            StoreError::Key(_) | StoreError::Missing { .. } | StoreError::TooLarge { .. } => None,
        }
    }

    /// Whether the object may be missing, where the store does not let this process list.
    pub fn may_be_missing(&self) -> bool {
        match self {
            StoreError::Missing { .. } => true,
            StoreError::Answer { reason: Reason::Denied, said, .. } => {
                matches!(said.code.as_deref(), None | Some("AccessDenied" | "AuthorizationPermissionMismatch"))
            }
            StoreError::Answer { .. } | StoreError::Key(_) | StoreError::TooLarge { .. } => false,
        }
    }

    /// No answer came for so long.
    pub fn silent(uri: String, after: Duration) -> StoreError {
        let said = Said { code: None, status: None, text: format!("no answer within {} s", after.as_secs_f64()) };
        StoreError::Answer { uri, reason: Reason::Silent, said }
    }

    /// The pace that the store asks for left no turn for so long.
    pub fn no_turn(uri: String, after: Duration) -> StoreError {
        let said = Said { code: None, status: None, text: format!("no turn came within {} s", after.as_secs_f64()) };
        StoreError::Answer { uri, reason: Reason::Throttled, said }
    }

    /// Classifies what the client of a store says about the object `uri`.
    pub fn of(uri: String, source: &object_store::Error) -> StoreError {
        use object_store::Error as E;
        let text = with_causes(source);
        let said = Said::of(&text);
        let by_code = said.code.as_deref().and_then(Reason::of_code);
        let reason = match (by_code, source) {
            (Some(reason), _) => reason,
            (None, E::NotFound { .. }) => return StoreError::Missing { uri },
            (None, E::PermissionDenied { .. } | E::Unauthenticated { .. }) => Reason::Denied,
            (None, E::NotSupported { .. } | E::NotImplemented { .. }) => Reason::Unsupported,
            (None, E::InvalidPath { .. }) => Reason::BadKey,
            (None, E::Precondition { .. }) => Reason::Precondition,
            (None, _) => match io_kind_of(source) {
                Some(io::ErrorKind::PermissionDenied) => Reason::Denied,
                Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return StoreError::Missing { uri },
                _ => Reason::of_answer(&said).unwrap_or_else(|| Reason::of_client(&text)),
            },
        };
        StoreError::Answer { uri, reason, said }
    }
}

impl Reason {
    /// The meaning of an answer without a code of ours.
    fn of_answer(said: &Said) -> Option<Reason> {
        let status = said.status?;
        // Uploads without a checksum are refused under the code for everything.
        let no_checksum = ["Content-MD5", "x-amz-checksum"].iter().any(|header| said.text.contains(header));
        let is_general = said.code.as_deref() == Some("InvalidRequest");
        Some(match status {
            400 if is_general && no_checksum => Reason::ChecksumDemanded,
            405 | 501 => Reason::Unsupported,
            429 => Reason::Throttled,
            _ => Reason::Failed,
        })
    }

    /// The meaning of the client's own words, when no answer came.
    fn of_client(text: &str) -> Reason {
        let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        if has(&["operation timed out"]) {
            Reason::Silent
        } else if has(&["Received redirect without LOCATION"]) {
            Reason::Elsewhere
        } else if has(&["invalid peer certificate"]) {
            Reason::Untrusted
        } else if has(&["dns error", "tcp connect error", "Connection refused (os error", "client error (Connect)"]) {
            Reason::Unreachable
        } else {
            Reason::Failed
        }
    }
}

/// The store's own words about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its code, like `NoSuchBucket`.
    pub code: Option<String>,
    /// The status of its answer, like 404.
    pub status: Option<u16>,
    text: String,
}

/// How much of a store's words is repeated.
const SAID_CHARS_MAX: usize = 400;

impl Said {
    fn of(text: &str) -> Said {
        let code = element(text, "Code");
        let said = match &code {
            Some(code) => {
                let message = element(text, "Message").unwrap_or_default();
                let region = element(text, "Region").map(|region| format!("; its region is {region}"));
                format!("{code}: {message}{}", region.unwrap_or_default())
            }
            None => text.to_owned(),
        };
        let shortened: String = said.chars().take(SAID_CHARS_MAX).collect();
        Said { code, status: status(text), text: shortened.trim_end_matches([':', ' ']).to_owned() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The status, by the words in which the client tells it.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The content of the first element of that name in an error document of S3, Azure or GCS.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(content.trim().to_owned())
}

/// An error with its causes: what went wrong on the way often stands only in the last of them.
fn with_causes(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The kind of the I/O error at the bottom of a local store's error.
fn io_kind_of(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests;
