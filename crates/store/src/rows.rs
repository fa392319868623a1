//! The rows of the machine: what a command changed and how far the log is applied are written together or not at all.
//!
//! Rows have no WAL: after a crash they are those of the last flush, and replay of the log brings the rest. So a flush
//! must never hold what the log could still lose; every flush happens behind a sync of the log, under the lock that
//! also keeps writers apart. One column family holds the rows and, in table 0, how far they are: whatever part of it
//! a flush writes is a prefix of what was applied. An installed checkpoint is a new generation, with a folder of its
//! own; views keep the one they were made on.

mod batch;
mod generation;
mod install;
mod reading;
mod recent;
mod view;

pub(crate) use self::generation::Generation;
use self::recent::Recent;
use crate::codec::CodecError;
use crate::files::{self, FileError};
use crate::log::{Log, LogError};
use crate::options::{self, Engine};
use rocksdb::FlushOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use batch::Batch;
pub use install::InstallError;
pub use view::RowsView;

/// The rows cannot be read or written; raft stops the node on it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RowsError {
    /// RocksDB refused, naming the file.
    #[error(
        "the rows in {} failed: {source}; {}",
        folder.display(),
        files::next_step_of_engine(source)
    )]
    Engine {
        /// Where the rows are.
        folder: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// A key or row is not what this program writes.
    #[error(
        "a row in {} cannot be read: {source}; start the version of ferry that wrote it, or remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        folder.display()
    )]
    Codec {
        /// Where the rows are.
        folder: PathBuf,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The file that names the live generation is damaged.
    #[error(
        "{} names {name:?}, which is no folder of rows: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Current {
        /// The file.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// The log, which must be durable before rows are, cannot be synced.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file or folder beside the rows.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The rows of one node.
pub struct Rows {
    folder: PathBuf,
    engine: Arc<Engine>,
    log: Arc<Log>,
    live: RwLock<Arc<Generation>>,
    writer: Mutex<Writer>,
}

/// What the one writer at a time knows.
#[derive(Default)]
struct Writer {
    unflushed_bytes: usize,
    /// Rows of the live generation.
    recent: Recent,
    /// Flushes begun that nobody waits for under the lock.
    flushes: u64,
}

/// What a flush that holds nobody up is waited for at most.
const FLUSH_AHEAD_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether such a flush is done.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// Prefix of the folders of generations.
const GENERATION: &str = "sm";

impl Rows {
    /// Opens the live generation in `folder`, or makes the first one, and removes what an interrupted switch left.
    pub(crate) fn open(folder: &Path, engine: Arc<Engine>, log: Arc<Log>) -> Result<Self, RowsError> {
        files::create_folder(folder)?;
        let live = match generation::live_name(folder)? {
            Some(name) => Generation::open(folder.join(&name), &engine, false)?,
            None => {
                let name = files::unique_name(GENERATION, 0);
                let first = Generation::open(folder.join(&name), &engine, true)?;
                generation::make_live(folder, &name)?;
                first
            }
        };
        generation::remove_others(folder, live.path())?;
        let live = RwLock::new(Arc::new(live));
        Ok(Self { folder: folder.to_path_buf(), engine, log, live, writer: Mutex::default() })
    }

    /// How far the log is applied: the marker of the last `write`.
    pub fn applied(&self) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.live().applied()?.map(|(_, marker)| marker))
    }

    /// Index of the last `write`.
    pub fn applied_index(&self) -> Result<Option<u64>, RowsError> {
        Ok(self.live().applied()?.map(|(index, _)| index))
    }

    /// The last membership given to `write`.
    pub fn membership(&self) -> Result<Option<Vec<u8>>, RowsError> {
        self.live().membership()
    }

    /// Index at which the live generation began: a log may end before it right after a checkpoint was installed.
    pub(crate) fn installed_index(&self) -> Option<u64> {
        let name = self.live().path().file_name()?.to_string_lossy().into_owned();
        files::index_of(&name, GENERATION)
    }

    /// Lets `change` change the rows, then writes what it changed together with `applied` (an index and raft's
    /// marker for it) and `membership`, where there is a new one. After an error nothing of it is written.
    pub fn write<T>(
        &self,
        applied: (u64, Vec<u8>),
        membership: Option<Vec<u8>>,
        change: impl FnOnce(&mut Batch<'_>) -> T,
    ) -> Result<T, RowsError> {
        options::count_nothing();
        let writer = &mut *self.lock();
        let live = self.live();
        let mut batch = Batch::new(&live, &mut writer.recent);
        let answer = change(&mut batch);
        // Without its own log the database waits for the disk only when its buffers are full.
        let written = self.engine.disk().during("writing rows", || batch.write(applied, membership));
        writer.unflushed_bytes += written.inspect_err(|_| writer.recent.forget())?;
        if writer.unflushed_bytes >= self.engine.rows_flush_bytes() {
            self.begin_flush(&live, writer)?;
        }
        Ok(answer)
    }

    /// The rows as they are now; later writes and installs do not change what it shows.
    pub fn view(&self) -> RowsView {
        RowsView::new(self.live())
    }

    /// Makes what is applied durable: the log first, then the rows.
    pub fn flush(&self) -> Result<(), RowsError> {
        self.frozen(|live| live.flush(true))
    }

    /// Makes most of what is applied durable while writers go on, so that little is left to do while they stand still.
    pub(crate) fn flush_ahead(&self) -> Result<(), RowsError> {
        let (live, own) = {
            let mut writer = self.lock();
            let live = self.live();
            self.begin_flush(&live, &mut writer)?;
            (live, writer.flushes)
        };
        let began = Instant::now();
        // A disk that fails or hangs is for whoever waits for it next to find out.
        while began.elapsed() < FLUSH_AHEAD_MAX {
            // Buffers are flushed in their order, and those of later flushes, counted first, are not waited for.
            let later = self.lock().flushes - own;
            if live.buffers_to_flush()? <= later {
                break;
            }
            std::thread::sleep(FLUSH_LOOK);
        }
        Ok(())
    }

    /// Runs `act` on the live generation while nothing can be written, with all that it holds durable in the log.
    pub(crate) fn frozen<T>(&self, act: impl FnOnce(&Generation) -> Result<T, RowsError>) -> Result<T, RowsError> {
        let mut writer = self.lock();
        self.log.sync()?;
        let done = self.engine.disk().during("making the rows durable", || act(&self.live()))?;
        writer.unflushed_bytes = 0;
        Ok(done)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    fn begin_flush(&self, live: &Generation, writer: &mut Writer) -> Result<(), RowsError> {
        self.log.sync()?;
        live.flush(false)?;
        writer.unflushed_bytes = 0;
        writer.flushes += 1;
        Ok(())
    }

    fn live(&self) -> Arc<Generation> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            // A panic in a change leaves nothing behind: its batch is gone unwritten. One in writing it may have been noted.
            let mut writer = poisoned.into_inner();
            writer.recent.forget();
            writer
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // RocksDB flushes rows when it closes them.
        if let Err(error) = self.log.sync() {
            tracing::error!(%error, "the raft log could not be synced before the rows were closed");
        }
    }
}

impl Generation {
    fn flush(&self, wait: bool) -> Result<(), RowsError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db().flush_opt(&options).map_err(|source| self.engine_error(source))
    }

    /// Write buffers that are full, or were told to flush, and are not in a file yet.
    fn buffers_to_flush(&self) -> Result<u64, RowsError> {
        let buffers = self.db().property_int_value(rocksdb::properties::NUM_IMMUTABLE_MEM_TABLE);
        Ok(buffers.map_err(|source| self.engine_error(source))?.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Store};
    use ferry_machine::id::JobId;
    use ferry_machine::key::{Key, Stage};
    use ferry_machine::row::Row;
    use ferry_machine::tables::Tables;

    #[test]
    fn what_is_flushed_ahead_of_a_checkpoint_is_durable_in_the_log_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), 1, &Options::default()).expect("a new store");
        for index in 0..10 {
            store.log.append(vec![(index, vec![1; 100])]).expect("appended");
            let change = |tables: &mut super::Batch<'_>| {
                tables.put(Key::Stage(Stage::Settling, JobId(index.cast_signed())), Row::Index);
            };
            store.rows.write((index, Vec::new()), None, change).expect("written");
        }
        assert_eq!(store.log.durable(), 0, "nothing asked for a sync");
        store.rows.flush_ahead().expect("flushed");
        assert_eq!(store.log.durable(), 10);
        assert_eq!(store.rows.live().buffers_to_flush().expect("readable"), 0);
    }
}
