//! Indexes. Keys: table 9 | stage | job; table 10 | time | what becomes due; table 11 | pass | job;
//! table 12 | job | time | task; table 13 | worker | task; table 14 | worker.
//! Value: the format byte alone, for the key says everything. Lifecycle: written and removed together with the row
//! they are derived from; `check` compares the two.

use super::super::{CodecError, FORMAT};

pub(super) fn encode() -> Vec<u8> {
    vec![FORMAT]
}

pub(super) fn decode(bytes: &[u8]) -> Result<(), CodecError> {
    match bytes {
        [FORMAT] => Ok(()),
        other => Err(CodecError::Format { what: "index entry", found: other.first().copied() }),
    }
}
