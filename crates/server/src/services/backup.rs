//! Backup: a checkpoint of this node's rows as the bytes of one file, in chunks with checksums, with bounded memory.
//!
//! Invariant: the end mark is sent only behind the last byte of a whole file; a client that does not read holds neither a
//! thread nor the checkpoint for ever.

use super::Services;
use ferry_proto::v1::backup_response::Part;
use ferry_proto::v1::{BackupChunk, BackupEnd, BackupRequest, BackupResponse};
use ferry_raft::{Backup, BackupError};
use std::io::{self, BufWriter, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks made ahead of the connection.
const CHUNKS_AHEAD: usize = 4;
/// Backups that a node sends at once: each holds a thread, and the files of a checkpoint.
pub(crate) const BACKUPS_MAX: usize = 2;
/// A client that takes no chunk for this long is given up.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;
type Sender = mpsc::Sender<Result<BackupResponse, Status>>;

pub(super) async fn backup(
    services: &Services,
    request: Request<BackupRequest>,
) -> Result<Response<BackupStream>, Status> {
    let place = services.backups.clone().try_acquire_owned().map_err(|_| {
        Status::resource_exhausted(format!("this node sends {BACKUPS_MAX} backups, its limit: ask another, or later"))
    })?;
    // The rows are at least as far as this reading from here on.
    let reading = services.reads.open(request.get_ref().consistency, request.metadata()).await?;
    let raft = services.raft.clone();
    // It goes on when its caller is gone, so it keeps its place until its end.
    let made = tokio::task::spawn_blocking(move || (raft.backup(), place)).await;
    let (backup, place) = made.map_err(|error| Status::internal(error.to_string()))?;
    let backup = backup.map_err(|error| status_of(&error))?;
    let stamp = reading.stamp.at(backup.header().index);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        send(&backup, &sender);
    });
    Ok(stamp.answer(ReceiverStream::new(receiver)))
}

fn status_of(error: &BackupError) -> Status {
    match error {
        BackupError::NoCluster => Status::failed_precondition(error.to_string()),
        BackupError::Build(_) | BackupError::Rows(_) | BackupError::Open(_) | BackupError::Disk(_) => {
            Status::internal(format!("{error}; ask another node"))
        }
    }
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
    let _ = pass(sender, last);
}

/// Hands over a part to a client that still takes them.
fn pass(sender: &Sender, part: Result<BackupResponse, Status>) -> io::Result<()> {
    let sent = Handle::current().block_on(sender.send_timeout(part, CHUNK_TIMEOUT));
    sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody receives it any more"))
}

/// Sends what is written as chunks.
struct Chunks<'a> {
    sender: &'a Sender,
    offset: u64,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = BackupChunk { offset: self.offset, crc32c: crc32c::crc32c(bytes), data: bytes.to_vec() };
        pass(self.sender, Ok(BackupResponse { part: Some(Part::Chunk(chunk)) }))?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
