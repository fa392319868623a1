//! Backup: a checkpoint of this node's rows as the bytes of one file, in chunks with checksums, with bounded memory.
//!
//! Invariant: the end mark is sent only behind the last byte of a whole file.

use super::Services;
use ferry_proto::v1::backup_response::Part;
use ferry_proto::v1::{BackupChunk, BackupEnd, BackupRequest, BackupResponse};
use ferry_raft::Backup;
use std::io::{self, BufWriter, Write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks made ahead of the connection.
const CHUNKS_AHEAD: usize = 4;

pub(super) type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;
type Sender = mpsc::Sender<Result<BackupResponse, Status>>;

pub(super) async fn backup(
    services: &Services,
    request: Request<BackupRequest>,
) -> Result<Response<BackupStream>, Status> {
    // The rows are at least as far as this reading from here on.
    let reading = services.reads.open(request.get_ref().consistency, request.metadata()).await?;
    let raft = services.raft.clone();
    let made = tokio::task::spawn_blocking(move || raft.backup()).await;
    let backup = made
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::unavailable(format!("{error}; ask another node, or try again")))?;
    let stamp = reading.stamp.at(backup.header().index);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || send(&backup, &sender));
    Ok(stamp.answer(ReceiverStream::new(receiver)))
}

fn send(backup: &Backup, sender: &Sender) {
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, Chunks { sender, offset: 0 });
    let written = backup.write(&mut out);
    let bytes = out.get_ref().offset;
    let header = backup.header();
    let end = BackupEnd { bytes, revision: header.index, cluster_id: header.cluster_id };
    let last = match written {
        Ok(()) => Ok(BackupResponse { part: Some(Part::End(end)) }),
        Err(error) => {
            tracing::warn!(%error, "a backup was not sent to its end");
            Err(Status::data_loss(format!("the backup broke off: {error}; ask another node")))
        }
    };
    // Whoever is gone needs no end.
    let _ = sender.blocking_send(last);
}

/// Sends what is written as chunks.
struct Chunks<'a> {
    sender: &'a Sender,
    offset: u64,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = BackupChunk { offset: self.offset, crc32c: crc32c::crc32c(bytes), data: bytes.to_vec() };
        let sent = self.sender.blocking_send(Ok(BackupResponse { part: Some(Part::Chunk(chunk)) }));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody receives it any more"))?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
