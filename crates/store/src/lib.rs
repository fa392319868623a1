//! The store remembers: raft's log, its vote, the rows of the machine, and checkpoints of them, on RocksDB.
//!
//! What was promised survives a crash, or the node refuses to start and says why. The store knows neither raft nor
//! what a command means: votes, log ids and memberships are opaque bytes to it, rows are the machine's.
//!
//! A node's folder:
//! ```text
//! node.json                 whose folder this is, whom its node has met, and the version of its layout
//! vote                      raft's vote
//! raft/                     RocksDB: the log
//! durable                   a note of how much of the log is durable
//! state/CURRENT             name of the live generation of rows
//! state/sm-<index>-<nonce>/ RocksDB: the rows, and how far they are
//! snapshots/snap-<index>-<nonce>/  a checkpoint, with its manifest.json
//! incoming/                 checkpoints on their way in
//! restoring/                a folder as this, while it is made from a backup
//! backed-up                 no node may start here: see `Store::forbid_start`
//! ```

pub mod backup;
pub mod checkpoints;
pub mod codec;
pub mod disk;
pub mod log;
pub mod node;
pub mod rows;
pub mod vote;

mod files;
mod options;
mod store;

pub use files::FileError;
pub use options::Options;
pub use store::{OpenError, Store};
