//! openraft's log on the store's: entries can be read when `append` returns, and count only once they are synced.

use crate::types::{Entry, LogId, Types, Vote};
use crate::wire;
use ferry_store::log::Log;
use ferry_store::vote::VoteFile;
use futures::stream::{self, Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// Bytes of entries in one request of replication, and read at once to be sent; a single larger entry goes alone.
pub(crate) const READ_BYTES_MAX: usize = 1024 * 1024;

/// The log and the vote of this node.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<Log>,
    vote: VoteFile,
}

impl LogStore {
    pub(crate) fn new(log: Arc<Log>, vote: VoteFile) -> Self {
        Self { log, vote }
    }

    pub(crate) fn read(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if from >= to_exclusive {
            return Ok(Vec::new());
        }
        let entries = self.log.read(from, to_exclusive, bytes_max).map_err(io::Error::other)?;
        entries.into_iter().map(|(_, bytes)| wire::entry_from_bytes(bytes).map_err(io::Error::other)).collect()
    }

    /// Bytes of the entries from `from` on and before `to_exclusive`; no more are counted once they reach `bytes_max`.
    pub(crate) fn bytes_between(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> io::Result<usize> {
        let (mut next, mut bytes) = (from, 0);
        while next < to_exclusive && bytes < bytes_max {
            let entries = self.log.read(next, to_exclusive, READ_BYTES_MAX).map_err(io::Error::other)?;
            let Some((last, _)) = entries.last() else { break };
            next = last + 1;
            bytes += entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        }
        Ok(bytes)
    }

    fn purged(&self) -> io::Result<Option<LogId>> {
        read_marker(self.log.purged().map_err(io::Error::other)?)
    }

    /// How far this node knew the log to be committed.
    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        read_marker(self.log.committed().map_err(io::Error::other)?)
    }

    /// Index of the last entry; none where there is none, or where all were purged.
    pub(crate) fn last_index(&self) -> io::Result<Option<u64>> {
        Ok(self.log.last().map_err(io::Error::other)?.map(|(index, _)| index))
    }
}

/// Entries that begin where they should: rows without the effect of one would differ from those of all other nodes.
pub(crate) fn unbroken(from: u64, entries: Vec<Entry>) -> io::Result<Vec<Entry>> {
    match entries.first() {
        Some(first) if first.log_id.index != from => Err(io::Error::other(format!(
            "entry {from} of the raft log is to be applied but is not there: remove this node from the cluster \
             (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)"
        ))),
        Some(_) | None => Ok(entries),
    }
}

/// First index of a range and the one behind its last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to_exclusive = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to_exclusive)
}

fn read_marker(marker: Option<Vec<u8>>) -> io::Result<Option<LogId>> {
    marker.map(|bytes| wire::log_id_from_bytes(&bytes)).transpose().map_err(io::Error::other)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let (from, to_exclusive) = bounds(&range);
        self.read(from, to_exclusive, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX)
    }

    /// A node far behind applies a long range at once: it is read piece by piece, not held whole.
    async fn entries_stream<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend {
        let (from, to_exclusive) = bounds(&range);
        let log = self.clone();
        let pieces = stream::try_unfold(from, move |next| {
            let piece = log.read(next, to_exclusive, READ_BYTES_MAX).and_then(|entries| unbroken(next, entries));
            std::future::ready(piece.map(|entries| {
                let last = entries.last()?.log_id.index;
                Some((stream::iter(entries.into_iter().map(Ok)), last + 1))
            }))
        });
        pieces.try_flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        let bytes = self.vote.load().map_err(io::Error::other)?;
        bytes.map(|bytes| wire::vote_from_bytes(&bytes)).transpose().map_err(io::Error::other)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.purged()?;
        let last = self.log.last().map_err(io::Error::other)?;
        let last = last.map(|(_, bytes)| wire::entry_from_bytes(bytes.into())).transpose().map_err(io::Error::other)?;
        let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (file, bytes) = (self.vote.clone(), wire::vote_to_bytes(vote));
        let saved = tokio::task::spawn_blocking(move || file.save(&bytes)).await;
        saved.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        let marker = wire::log_id_to_bytes(committed);
        self.log.save_committed(committed.index, marker).map_err(io::Error::other)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.committed()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index, wire::entry_to_bytes(entry))).collect();
        self.log.append(entries).map_err(io::Error::other)?;
        self.log.when_durable(Box::new(move |synced| callback.io_completed(synced.map_err(io::Error::other))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|log_id| log_id.index)).map_err(io::Error::other)
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.log.purge(log_id.index, wire::log_id_to_bytes(log_id)).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Batch, Payload};
    use ferry_store::{Options, Store};
    use tempfile::TempDir;

    const ENTRIES: u64 = 50;

    /// A log of several times `READ_BYTES_MAX`.
    fn long_log() -> (TempDir, LogStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), 1, &Options::default()).unwrap();
        let payload = Payload::Normal(Batch(vec![7; READ_BYTES_MAX / 10].into()));
        let entry = |index| Entry { log_id: LogId::new_term_index(1, index), payload: payload.clone() };
        let entries = (0..ENTRIES).map(|index| (index, wire::entry_to_bytes(entry(index)))).collect();
        store.log.append(entries).unwrap();
        (folder, LogStore::new(store.log, store.vote))
    }

    #[tokio::test]
    async fn a_long_range_is_applied_in_pieces_without_a_gap() {
        let (_folder, mut log) = long_log();
        assert!(log.limited_get_log_entries(0, ENTRIES).await.unwrap().len() < 20);
        let entries: Vec<Entry> = log.entries_stream(3..ENTRIES).await.try_collect().await.unwrap();
        let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id.index).collect();
        assert_eq!(indexes, (3..ENTRIES).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn entries_are_not_applied_behind_one_that_is_gone() {
        let (_folder, mut log) = long_log();
        log.log.purge(4, wire::log_id_to_bytes(LogId::new_term_index(1, 4))).unwrap();
        let applied: Result<Vec<Entry>, _> = log.entries_stream(4..ENTRIES).await.try_collect().await;
        assert!(applied.unwrap_err().to_string().contains("entry 4 of the raft log"));
        let kept: Vec<Entry> = log.entries_stream(5..ENTRIES).await.try_collect().await.unwrap();
        assert_eq!(kept.len() as u64, ENTRIES - 5);
    }
}
