//! How patient a client is; every limit is a duration, and the shorter of two always wins.

use std::time::Duration;

/// How long the client waits for what, and whom it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For a connection to one node.
    pub connect_timeout: Duration,
    /// For a whole call, with all its tries; a watch may be without contact this long.
    pub timeout: Duration,
    /// For one try of a call on one node, where the answer does not depend on the size of the request.
    pub try_timeout: Duration,
    /// Longest pause between two rounds over the nodes.
    pub backoff_max: Duration,
    /// Go to the leader when a node names it; without it the client asks the given endpoints only.
    pub follow_leader: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(30),
            try_timeout: Duration::from_secs(5),
            backoff_max: Duration::from_secs(1),
            follow_leader: true,
        }
    }
}

impl Options {
    /// These options with another limit for whole calls.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}
