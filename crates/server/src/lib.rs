//! The server speaks: gRPC services, leadership, planning from snapshots, reads, configuration, metrics.
//!
//! Architecture invariant: a service turns wire into a checked command or a read and the answer into wire, and does
//! nothing else; wire types end in `wire`, statuses are made in `status`, and what only a leader has hangs on
//! `leadership` and is gone with it.

mod admin;
mod channels;
pub mod config;
mod deadline;
mod disk;
mod forward;
mod gateway;
mod health;
mod leadership;
mod metrics;
mod node;
mod page;
mod reads;
mod server;
mod services;
mod status;
mod submit;
mod wire;

pub use config::{Config, ConfigError, Overrides};
pub use ferry_raft::{Backup, Restored, Restoring, offline as backup_of_folder, restore};
pub use ferry_store::backup::read as read_backup;
pub use ferry_store::backup::{BackupFileError, Header as BackupHeader};
pub use server::{Listeners, ServeError, Server, run};
