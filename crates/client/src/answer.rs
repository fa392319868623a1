//! What an answer says beside its message: the revision at which it holds, who leads, and how old it may be.

use std::ops::Deref;
use tonic::metadata::MetadataMap;

/// Metadata of every response: the log index at which the answer holds.
pub const REVISION: &str = "ferry-revision";
/// Metadata of responses and of UNAVAILABLE: the node that leads, when it is known.
pub const LEADER_ID: &str = "ferry-leader-id";
/// Metadata of stale reads: how old the answer may be, in milliseconds.
pub const STALENESS_MS: &str = "ferry-staleness-ms";
/// Metadata of requests: the node waits until it has applied this log index.
pub const MIN_REVISION: &str = "ferry-min-revision";

/// A response with what its metadata says; it can be used like the message itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<R> {
    /// The response.
    pub message: R,
    /// The log index at which the answer holds.
    pub revision: Option<u64>,
    /// The node that leads, when it is known.
    pub known_leader_id: Option<u64>,
    /// How old a stale answer may be.
    pub staleness_ms: Option<u64>,
    /// The address of the node that answered.
    pub endpoint: String,
}

impl<R> Answer<R> {
    pub(crate) fn new(response: tonic::Response<R>, endpoint: &str) -> Self {
        let metadata = response.metadata();
        Self {
            revision: number(metadata, REVISION),
            known_leader_id: number(metadata, LEADER_ID),
            staleness_ms: number(metadata, STALENESS_MS),
            endpoint: endpoint.to_owned(),
            message: response.into_inner(),
        }
    }
}

impl<R> Deref for Answer<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.message
    }
}

/// A number in metadata; what is not one counts as absent.
pub(crate) fn number(metadata: &MetadataMap, key: &str) -> Option<u64> {
    metadata.get(key)?.to_str().ok()?.parse().ok()
}
