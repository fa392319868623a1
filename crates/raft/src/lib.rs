//! Raft agrees: openraft fixed to our types, its transport, proposals and read indexes.
//!
//! [`Raft`] is all that others see, and no type of openraft leaves this crate, so its interface may change without
//! anyone else noticing, and its large generic code is compiled here alone. A write goes through `propose` to
//! openraft, to the store's log by `log`, to the peers by `network`, and is applied to the rows by `state`.

mod append;
mod backup;
mod checkpoint;
mod clock;
mod config;
#[cfg(test)]
mod conformance;
mod errors;
mod gate;
mod handle;
mod leadership;
mod log;
mod membership;
mod network;
mod peers;
mod propose;
mod read;
mod restore;
mod service;
mod start;
mod state;
mod status;
mod types;
mod wire;

pub use backup::{Backup, BackupError, offline};
pub use config::Config;
pub use errors::{ConfirmError, Leader, MembershipError, ProposeError, ReadError, StartError};
pub use handle::Raft;
pub use leadership::Term;
pub use propose::Proposed;
pub use restore::{RestoreFailed, Restored, Restoring, restore};
pub use service::PeerService;
pub use state::ApplyTimes;
pub use status::{Member, Role, Status};
