//! Checkpoints as raft's snapshots: built, sent to a node that lags, received. What is received is handed to raft
//! only when every byte came and was compared with the manifest: raft cannot take back an installation.

use crate::state::{ImageSnapshot, Meta, Progress};
use crate::types::{Core, Types, Vote};
use crate::wire;
use bytes::Bytes;
use ferry_proto::internal::v1 as proto;
use ferry_proto::internal::v1::raft_install_checkpoint_request::Part;
use ferry_store::checkpoints::{BuildError, Checkpoint, Checkpoints, Manifest, ReceiveError, Receiving};
use futures::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::storage::Snapshot;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks read ahead of the connection.
const CHUNKS_AHEAD: usize = 4;
/// A checkpoint that was asked for and has not come after this long is asked for again.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(30);

/// The rows as raft passes them around; none where nothing was applied yet, for that is nothing to be sent.
pub(crate) type Image = Option<Checkpoint>;

/// A checkpoint with what raft wants to know of it, read from inside.
pub(crate) fn snapshot_of(checkpoint: Checkpoint) -> io::Result<ImageSnapshot> {
    let manifest = checkpoint.manifest();
    let last_log_id = Some(wire::log_id_from_bytes(&manifest.applied).map_err(io::Error::other)?);
    let last_membership = match manifest.membership.as_slice() {
        [] => Default::default(),
        bytes => wire::stored_membership_from_bytes(bytes).map_err(io::Error::other)?,
    };
    Ok(Snapshot { meta: Meta { last_log_id, last_membership }, snapshot: Some(checkpoint) })
}

/// Makes checkpoints beside everything else that goes on.
pub(crate) struct Builder {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) progress: Progress,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<ImageSnapshot> {
        let checkpoints = self.checkpoints.clone();
        // What is applied from here on may or may not be in it; it counts for the next one.
        let covered_bytes = self.progress.replay_bytes();
        let built: Result<Checkpoint, BuildError> =
            tokio::task::spawn_blocking(move || checkpoints.build()).await.map_err(io::Error::other)?;
        match built {
            Ok(checkpoint) => {
                self.progress.covered(covered_bytes);
                snapshot_of(checkpoint)
            }
            Err(BuildError::NothingApplied) => Ok(Snapshot { meta: Meta::default(), snapshot: None }),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Asks for a checkpoint whenever a restart would have to apply too many bytes again; openraft itself counts entries
/// only. Ends with raft.
pub(crate) async fn ask_for_checkpoints(core: Core, progress: Progress, bytes_max: u64) {
    let mut replay_bytes = progress.watch_replay_bytes();
    let mut metrics = core.metrics();
    loop {
        if replay_bytes.wait_for(|bytes| *bytes >= bytes_max).await.is_err() {
            return;
        }
        let newest = metrics.borrow_watched().snapshot;
        // The count falls before the metrics name a checkpoint: looked at in this order, what `newest` covers is not
        // counted any more.
        if *replay_bytes.borrow() < bytes_max {
            continue;
        }
        // Without effect while one is being made: that one is waited for then.
        if core.trigger().snapshot().await.is_err() {
            return;
        }
        let newer = async {
            while metrics.borrow_watched().snapshot == newest {
                metrics.changed().await?;
            }
            Ok::<_, openraft::async_runtime::watch::RecvError>(())
        };
        // What was applied while one was begun is in it but still counted, so that the next may have nothing to add and
        // none comes: the wait has an end.
        if let Ok(Err(_)) = timeout(CHECKPOINT_PATIENCE, newer).await {
            return;
        }
    }
}

/// A checkpoint as the messages that carry it. It is held until the last of them is read or the stream dropped; a
/// file that cannot be read ends the stream without its end mark.
pub(crate) fn parts(
    vote: Vote,
    checkpoint: Checkpoint,
) -> impl Stream<Item = proto::RaftInstallCheckpointRequest> + Send + 'static {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || send(&vote, &checkpoint, &sender));
    ReceiverStream::new(receiver)
}

type Sender = mpsc::Sender<proto::RaftInstallCheckpointRequest>;

fn send(vote: &Vote, checkpoint: &Checkpoint, sender: &Sender) -> Option<()> {
    let manifest = checkpoint.manifest().encode().into();
    pass(sender, Part::Header(proto::RaftCheckpointHeader { vote: Some(wire::vote_to_proto(vote)), manifest }))?;
    let mut bytes = 0;
    for file in &checkpoint.manifest().files {
        bytes += send_file(checkpoint, &file.name, sender)?;
    }
    pass(sender, Part::End(proto::RaftCheckpointEnd { bytes }))
}

fn send_file(checkpoint: &Checkpoint, file: &str, sender: &Sender) -> Option<u64> {
    let mut offset = 0;
    loop {
        let data = match checkpoint.read_chunk(file, offset, CHUNK_BYTES) {
            Ok(data) => Bytes::from(data),
            Err(error) => {
                tracing::error!(%error, checkpoint = checkpoint.name(), "a checkpoint cannot be sent");
                return None;
            }
        };
        if data.is_empty() {
            return Some(offset);
        }
        let (next, crc32c) = (offset + data.len() as u64, crc32c::crc32c(&data));
        pass(sender, Part::Chunk(proto::RaftCheckpointChunk { file: file.to_owned(), offset, data, crc32c }))?;
        offset = next;
    }
}

/// Hands over a part; none where nobody wants it any more.
fn pass(sender: &Sender, part: Part) -> Option<()> {
    sender.blocking_send(proto::RaftInstallCheckpointRequest { part: Some(part) }).ok()
}

/// Receives a checkpoint whole, or nothing: what came of a broken transfer is removed, and the sender begins again.
pub(crate) async fn receive<S>(mut parts: S, checkpoints: &Checkpoints) -> Result<(Vote, ImageSnapshot), Status>
where
    S: Stream<Item = Result<proto::RaftInstallCheckpointRequest, Status>> + Unpin,
{
    let Some(Part::Header(header)) = next(&mut parts).await? else { return Err(broken("it has no header")) };
    let vote = wire::vote_from_proto(header.vote).map_err(|error| broken(&error.to_string()))?;
    let manifest = Manifest::decode(&header.manifest).map_err(|error| broken(&error.to_string()))?;
    let checkpoints = checkpoints.clone();
    let mut receiving = blocking(move || checkpoints.begin_receive()).await?;
    let mut bytes = 0;
    loop {
        match next(&mut parts).await? {
            Some(Part::Chunk(chunk)) => {
                bytes += chunk.data.len() as u64;
                receiving = write(receiving, chunk).await?;
            }
            Some(Part::End(end)) if end.bytes == bytes => break,
            Some(Part::End(end)) => return Err(broken(&format!("{bytes} of {} bytes came", end.bytes))),
            Some(Part::Header(_)) => return Err(broken("it has two headers")),
            None => return Err(broken("it ended before its end mark")),
        }
    }
    let checkpoint = blocking(move || receiving.finish(manifest)).await?;
    let snapshot = snapshot_of(checkpoint).map_err(|error| broken(&error.to_string()))?;
    Ok((vote, snapshot))
}

async fn next<S>(parts: &mut S) -> Result<Option<Part>, Status>
where
    S: Stream<Item = Result<proto::RaftInstallCheckpointRequest, Status>> + Unpin,
{
    Ok(parts.next().await.transpose()?.and_then(|part| part.part))
}

async fn write(mut receiving: Receiving, chunk: proto::RaftCheckpointChunk) -> Result<Receiving, Status> {
    if crc32c::crc32c(&chunk.data) != chunk.crc32c {
        return Err(broken(&format!("the chunk at byte {} of {} is damaged", chunk.offset, chunk.file)));
    }
    blocking(move || {
        receiving.write_chunk(&chunk.file, chunk.offset, &chunk.data)?;
        Ok(receiving)
    })
    .await
}

/// Disk work off the threads that answer heartbeats.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReceiveError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| match error {
        ReceiveError::File(error) => Status::internal(error.to_string()),
        error @ (ReceiveError::Chunk { .. } | ReceiveError::Manifest(_)) => broken(&error.to_string()),
    })
}

fn broken(reason: &str) -> Status {
    Status::data_loss(format!("the checkpoint was not received ({reason}): send it again from its start"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;
    use ferry_machine::key::Key;
    use ferry_machine::row::{Cluster, Row};
    use ferry_machine::tables::Tables;
    use ferry_store::{Options, Store};
    use tempfile::TempDir;
    use tonic::Code;

    fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, &Options::default()).unwrap();
        (folder, store)
    }

    /// The messages that carry a checkpoint of one row.
    async fn sent() -> Vec<proto::RaftInstallCheckpointRequest> {
        let (_folder, store) = store();
        let marker = (7, wire::log_id_to_bytes(LogId::new_term_index(3, 7)));
        let row = Row::Cluster(Cluster { cluster_id: 77, ..Cluster::default() });
        store.rows.write(marker, None, |tables| tables.put(Key::Cluster, row)).unwrap();
        let built = store.checkpoints.build().unwrap();
        parts(Vote::new_committed(3, 1), built).collect().await
    }

    async fn received(sent: Vec<proto::RaftInstallCheckpointRequest>) -> Result<(Vote, ImageSnapshot), Code> {
        let (folder, store) = store();
        let result = receive(futures::stream::iter(sent.into_iter().map(Ok)), &store.checkpoints).await;
        assert!(store.checkpoints.current().is_none(), "nothing is to be seen before raft installs it");
        let incoming = std::fs::read_dir(folder.path().join("incoming")).unwrap().count();
        assert_eq!(incoming, 0, "a transfer leaves nothing on its way");
        result.map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_checkpoint_arrives_with_its_place_in_the_log() {
        let (vote, snapshot) = received(sent().await).await.unwrap();
        assert_eq!(vote, Vote::new_committed(3, 1));
        assert_eq!(snapshot.meta.last_log_id, Some(LogId::new_term_index(3, 7)));
    }

    #[tokio::test]
    async fn a_transfer_that_is_not_whole_is_refused() {
        let whole = sent().await;
        for kept in 0..whole.len() {
            let cut = whole[..kept].to_vec();
            assert_eq!(received(cut).await.err(), Some(Code::DataLoss), "after {kept} of {} messages", whole.len());
        }
        for left_out in 0..whole.len() {
            let mut holed = whole.clone();
            holed.remove(left_out);
            assert_eq!(received(holed).await.err(), Some(Code::DataLoss), "without message {left_out}");
        }
    }

    #[tokio::test]
    async fn a_damaged_chunk_is_refused_even_where_its_own_checksum_fits() {
        let whole = sent().await;
        for fits in [false, true] {
            let mut damaged = whole.clone();
            let chunk = damaged.iter_mut().find_map(|part| match &mut part.part {
                Some(Part::Chunk(chunk)) => Some(chunk),
                _ => None,
            });
            let chunk = chunk.unwrap();
            let mut data = chunk.data.to_vec();
            data[0] ^= 1;
            if fits {
                chunk.crc32c = crc32c::crc32c(&data);
            }
            chunk.data = data.into();
            assert_eq!(received(damaged).await.err(), Some(Code::DataLoss));
        }
    }
}
