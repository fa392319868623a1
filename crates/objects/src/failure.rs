//! How a failure is to be treated, so that every error of this crate answers the one question its caller has:
//! try again, let another worker try, or give up.

/// What a caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Trying again cannot help: something is missing, altered, malformed or forbidden by our own rules.
    Permanent,
    /// The store refused our credentials; another worker, with others, may succeed.
    Refused,
    /// The store failed, throttled or could not be reached; try again later.
    Transient,
}

impl Class {
    /// Whether trying again, here or elsewhere, cannot help.
    pub fn is_permanent(self) -> bool {
        self == Class::Permanent
    }
}
