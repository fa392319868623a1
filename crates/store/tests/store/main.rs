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
use std::path::{Path, PathBuf};
use std::process::Command;

/// Opens the folder of node 1 with little memory.
fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, 1, &options())
}

fn options() -> Options {
    Options { block_cache_bytes: 4 << 20, write_buffers_bytes: 8 << 20, open_files_max: 64 }
}

const CHILD_FOLDER: &str = "FERRY_STORE_TEST_CHILD_FOLDER";

/// The folder to work on, where this process is the child of a test.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

/// The named test of this program in a process of its own, in which `child_folder` answers `folder`.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture"]).env(CHILD_FOLDER, folder);
    command
}

/// Runs the named test in a process of its own, which must end by `abort`: nothing is closed, flushed or synced.
fn crash(test: &str, folder: &Path) {
    use std::os::unix::process::ExitStatusExt;
    let output = child(test, folder).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.signal().is_some(), "the child ended with {}: {said}", output.status);
}
