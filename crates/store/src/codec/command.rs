//! Commands as bytes: what an entry of the log asks of the machine, with the stamp they share.

mod from_wire;
mod to_wire;

use super::shapes::{required, stamp_from_wire, stamp_to_wire};
use super::{CodecError, seal, unseal};
use ferry_machine::command::Command;
use ferry_machine::time::Stamp;
use ferry_proto::internal::v1 as wire;
use prost::Message;

const WHAT: &str = "batch of commands";

/// The bytes of commands that are applied in order, at one moment.
pub fn encode_batch(stamp: Stamp, commands: &[Command]) -> Vec<u8> {
    seal(&wire::CommandBatch {
        stamp: Some(stamp_to_wire(stamp)),
        commands: commands.iter().map(|command| wire::Command { kind: Some(to_wire::kind(command)) }).collect(),
    })
}

/// A command as it lies in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedCommand(Vec<u8>);

impl EncodedCommand {
    /// Bytes that it adds to a batch.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Encodes a command for a batch that is put together later.
pub fn encode_command(command: &Command) -> EncodedCommand {
    let commands = vec![wire::Command { kind: Some(to_wire::kind(command)) }];
    EncodedCommand(wire::CommandBatch { stamp: None, commands }.encode_to_vec())
}

/// The same bytes as `encode_batch` makes of the commands: the fields of a message can be written one after the other,
/// and what an encoded command has is one field of its batch.
pub fn join_batch(stamp: Stamp, commands: &[EncodedCommand]) -> Vec<u8> {
    let mut bytes = encode_batch(stamp, &[]);
    commands.iter().for_each(|EncodedCommand(command)| bytes.extend_from_slice(command));
    bytes
}

/// What `encode_batch` made bytes of.
pub fn decode_batch(bytes: &[u8]) -> Result<(Stamp, Vec<Command>), CodecError> {
    let batch: wire::CommandBatch = unseal(WHAT, bytes)?;
    let stamp = stamp_from_wire(required(batch.stamp, WHAT, "stamp")?);
    let command = |command: wire::Command| from_wire::command(required(command.kind, WHAT, "kind of command")?);
    Ok((stamp, batch.commands.into_iter().map(command).collect::<Result<_, _>>()?))
}
