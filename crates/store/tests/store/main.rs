//! What the store promises, tried on real databases in temporary folders: nothing here stands in for RocksDB.

mod any;
mod checkpoints;
mod codec;
mod log;
mod node;
mod opening;
mod rows;
mod samples;
mod tables;

use ferry_store::{OpenError, Options, Store};
use std::path::Path;

/// Opens the folder of node 1 with little memory.
fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, 1, &options())
}

fn options() -> Options {
    Options { block_cache_bytes: 4 << 20, write_buffers_bytes: 8 << 20, open_files_max: 64 }
}
