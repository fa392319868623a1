//! The one place where the machine's types become bytes and bytes the machine's types.
//!
//! Every stored value begins with a format byte, so that a later version can tell what an earlier one wrote; frozen
//! samples under `samples/` hold each version to that. Keys are bytes that order as `Key` does.

mod command;
pub mod key;
pub mod rows;
mod shapes;

pub use command::{EncodedCommand, decode_batch, encode_batch, encode_command, join_batch};

use prost::Message;

/// Format byte of every value and batch that this version writes.
pub const FORMAT: u8 = 1;

/// Bytes that this program did not write, or a newer version did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not a key.
    #[error("the key {key} is none of this version: {reason}")]
    Key {
        /// The key, in hexadecimal.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A format byte of another version.
    #[error("the {what} has format {found:?}, this version reads format {FORMAT}")]
    Format {
        /// Of what.
        what: &'static str,
        /// What was found.
        found: Option<u8>,
    },
    /// Bytes that are not the message they should be.
    #[error("the {what} is damaged: {source}")]
    Message {
        /// Of what.
        what: &'static str,
        /// What prost said.
        source: prost::DecodeError,
    },
    /// A message without something it must have.
    #[error("the {what} lacks a {field} that this version knows")]
    Field {
        /// In what.
        what: &'static str,
        /// Which field.
        field: &'static str,
    },
}

/// The format byte and a message.
fn seal(message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(FORMAT);
    // A vector grows as it must: there is no room to run out of.
    message.encode_raw(&mut bytes);
    bytes
}

/// The message behind the format byte.
fn unseal<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, CodecError> {
    match bytes.split_first() {
        Some((&FORMAT, message)) => M::decode(message).map_err(|source| CodecError::Message { what, source }),
        other => Err(CodecError::Format { what, found: other.map(|(format, _)| *format) }),
    }
}
