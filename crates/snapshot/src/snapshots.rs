//! The snapshots that a process has open: each is read and parsed once for all who need it, and kept while there is room.
//! A large one takes most of a second to parse, which a task of one segment must not pay for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferry_objects::{Checksum, Stores};
use tokio::sync::OnceCell;

use crate::snapshot::{OpenError, Snapshot, Unparsed};

/// Opened snapshots by what they are: their URI, and length and CRC32C of their metadata.
#[derive(Clone, Debug)]
pub struct Snapshots {
    stores: Stores,
    bytes_max: u64,
    /// The one used last stands last.
    opened: Arc<Mutex<Vec<Opened>>>,
}

#[derive(Debug)]
struct Opened {
    uri: String,
    pin: Checksum,
    /// Filled by the first who needs it, for whom all others wait.
    snapshot: Arc<OnceCell<Arc<Snapshot>>>,
}

impl Snapshots {
    /// None is open yet. Those that are kept take `bytes_max` bytes together; the one used last is kept in any case.
    pub fn new(stores: Stores, bytes_max: u64) -> Snapshots {
        Snapshots { stores, bytes_max, opened: Arc::default() }
    }

    /// Where the snapshots are.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The snapshot at `uri` as it is now: its metadata is read, and parsed unless it is what it was before.
    pub async fn open(&self, uri: &str) -> Result<Arc<Snapshot>, OpenError> {
        let unparsed = Unparsed::read(&self.stores, uri).await?;
        let (uri, pin) = (unparsed.uri(), unparsed.pin());
        let cell = self.cell(&uri, pin);
        let opened = cell.get_or_try_init(|| async { unparsed.parse().await.map(Arc::new) }).await.cloned();
        drop(cell);
        self.make_room();
        opened
    }

    /// The snapshot at `uri` as it was when `pin` was taken; one that is open is not looked at again.
    pub async fn open_pinned(&self, uri: &str, pin: Checksum) -> Result<Arc<Snapshot>, OpenError> {
        let cell = self.cell(uri, pin);
        let open = || async { Snapshot::open_pinned(&self.stores, uri, pin).await.map(Arc::new) };
        let opened = cell.get_or_try_init(open).await.cloned();
        drop(cell);
        self.make_room();
        opened
    }

    fn cell(&self, uri: &str, pin: Checksum) -> Arc<OnceCell<Arc<Snapshot>>> {
        let mut opened = self.opened();
        let known = opened.iter().position(|one| one.pin == pin && one.uri == uri);
        let one = match known {
            Some(at) => opened.remove(at),
            None => Opened { uri: uri.to_owned(), pin, snapshot: Arc::default() },
        };
        let cell = Arc::clone(&one.snapshot);
        opened.push(one);
        cell
    }

    /// Forgets what was not used for the longest time, until the rest fits.
    fn make_room(&self) {
        let mut opened = self.opened();
        // What could not be opened, and nobody waits for, takes no room and is not kept.
        opened.retain(|one| one.snapshot.initialized() || Arc::strong_count(&one.snapshot) > 1);
        let bytes = |one: &Opened| one.snapshot.get().map_or(0, |snapshot| snapshot.memory_bytes());
        let mut kept_bytes: u64 = opened.iter().map(bytes).sum();
        let last = opened.iter().rposition(|one| one.snapshot.initialized());
        let mut at = 0;
        // One that is being opened stays, for others wait for it; so does the one used last.
        opened.retain(|one| {
            let goes = kept_bytes > self.bytes_max && one.snapshot.initialized() && Some(at) != last;
            at += 1;
            kept_bytes -= if goes { bytes(one) } else { 0 };
            !goes
        });
    }

    fn opened(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
