//! How much memory and how many files a node's two databases may take, and the RocksDB options that follow from it.

use crate::disk::Disk;
use rocksdb::perf::{PerfStatsLevel, set_perf_stats};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType, DBRecoveryMode, LogLevel,
    UniversalCompactOptions,
};

/// What the operator may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the block cache, shared by both databases; index and filter blocks live in it too.
    pub block_cache_bytes: usize,
    /// Bytes of rows and log entries kept in memory before they are written to tables, over both databases.
    pub write_buffers_bytes: usize,
    /// Files each database keeps open.
    pub open_files_max: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self { block_cache_bytes: 64 << 20, write_buffers_bytes: 128 << 20, open_files_max: 256 }
    }
}

/// Flushed files of rows, and files merged from them, that may lie side by side before some are merged.
const FLUSHED_FILES_MERGED: i32 = 8;
/// With so many flushed files of rows that are not merged yet, applying waits for the merge: four gigabytes by default. Reads
/// slow down long before, and what is submitted with them.
const FLUSHED_FILES_MAX: i32 = 32 * FLUSHED_FILES_MERGED;

/// All rows are merged into one file once those in newer files take this part of what the oldest takes: only then is the
/// room of what was deleted or replaced there free again. With the merge itself rows take about three times their size, more
/// while they come in faster than they are merged, and checkpoints hold on to files besides.
const NEWER_ROWS_PERCENT_MAX: i32 = 100;

/// RocksDB counts what each thread does, every comparison of two keys, for whoever asks that thread. Nobody does, and with
/// the library as Debian builds it that is a fifth of what applying costs: called wherever rows are read or written.
pub(crate) fn count_nothing() {
    set_perf_stats(PerfStatsLevel::Disable);
}

/// The options of both databases; the cache is made once and shared.
pub(crate) struct Engine {
    cache: Cache,
    chosen: Options,
    disk: Disk,
}

impl Engine {
    pub(crate) fn new(chosen: Options) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(chosen.block_cache_bytes)?;
        Ok(Self { cache, chosen, disk: Disk::default() })
    }

    /// What the disk under both databases is doing.
    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Rows are flushed, behind a sync of the log, once this many bytes have been written. RocksDB would flush on its
    /// own, without that sync, at the write buffer's size: twice as much, which an estimate that counts more for each
    /// row than RocksDB takes does not miss.
    pub(crate) fn rows_flush_bytes(&self) -> usize {
        self.rows_write_buffer_bytes() / 2
    }

    fn rows_write_buffer_bytes(&self) -> usize {
        self.chosen.write_buffers_bytes / 2
    }

    /// The log: a WAL that is written and synced when the flusher says so, and recycled so that a sync need not
    /// change a file's length. After power loss it is replayed up to the first record that is not whole; whether
    /// what is missing then had been promised is for `log::verify` to say.
    pub(crate) fn log_options(&self) -> rocksdb::Options {
        let mut options = self.common();
        options.create_missing_column_families(true);
        options.set_manual_wal_flush(true);
        options.set_recycle_log_file_num(4);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_db_write_buffer_size(self.chosen.write_buffers_bytes / 4);
        options.set_max_total_wal_size(64 << 20);
        options
    }

    pub(crate) fn log_family_options(&self) -> rocksdb::Options {
        let mut options = rocksdb::Options::default();
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(self.chosen.write_buffers_bytes / 8);
        options.set_block_based_table_factory(&self.tables());
        options
    }

    /// The rows: no WAL, one column family, so that any flush is a prefix of what was written.
    pub(crate) fn rows_options(&self) -> rocksdb::Options {
        let mut options = self.common();
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(self.rows_write_buffer_bytes());
        // Each is flushed when it is half full: two that are being flushed and the one that is filled take less than two full
        // ones. With room for one less a flush waits for the one before it, and applying for both.
        options.set_max_write_buffer_number(3);
        // Every flushed file spans all tables, so merging them into levels would rewrite all rows there are, again and again:
        // two fifths of all work while a job of a million segments ran. Files of about one size are merged instead, with what was
        // merged before only when that is no larger. Whoever looks for a key asks the filters of all files that lie side by
        // side.
        options.set_compaction_style(DBCompactionStyle::Universal);
        let mut by_size = UniversalCompactOptions::default();
        by_size.set_max_size_amplification_percent(NEWER_ROWS_PERCENT_MAX);
        options.set_universal_compaction_options(&by_size);
        options.set_level_zero_file_num_compaction_trigger(FLUSHED_FILES_MERGED);
        // A flush that would bring RocksDB to slow writers down waits instead, for as long as a merge takes, and applying
        // with it: by default at 20 files, which a large job flushes while one merge runs.
        options.set_level_zero_slowdown_writes_trigger(FLUSHED_FILES_MAX);
        options.set_level_zero_stop_writes_trigger(2 * FLUSHED_FILES_MAX);
        options.set_block_based_table_factory(&self.tables());
        options
    }

    fn common(&self) -> rocksdb::Options {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_max_open_files(self.chosen.open_files_max);
        options.set_keep_log_file_num(3);
        options.set_max_log_file_size(1 << 20);
        // RocksDB's own LOG lies on the same disk, and its threads write on to it after a write of it failed: Debian's
        // RocksDB, which has its assertions on, then ends the process before it says that the disk is full. What goes
        // wrong is answered by the calls.
        options.set_log_level(LogLevel::Fatal);
        options.set_bytes_per_sync(1 << 20);
        options
    }

    fn tables(&self) -> BlockBasedOptions {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&self.cache);
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // In small blocks: the one filter of a large table, or its one index, is larger than a shard of the cache, and
        // would be read and checked anew at every look for a key.
        tables.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        tables.set_partition_filters(true);
        tables.set_pin_top_level_index_and_filter(true);
        tables.set_bloom_filter(10.0, false);
        tables.set_format_version(5);
        tables
    }
}
