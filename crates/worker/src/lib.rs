//! The worker: it keeps a session with the leader, copies the segments it is assigned, verifies the copies and reports.
//!
//! Architecture invariant: nothing is written before the leader has committed the claim to the targets, nothing after the
//! lease has ended by this machine's own monotonic clock, and nothing is ever deleted but the target objects of a task
//! that the leader wants cleaned up. A broken session stops no copy; only the end of the lease does.

mod admin;
mod attempt;
mod attempts;
mod bandwidth;
mod config;
mod copy;
mod failure;
#[cfg(test)]
mod late_store;
mod leader;
mod lease;
mod link;
mod metrics;
mod permit;
mod place;
mod plan;
mod retry;
mod run;
mod session;
mod writes;

pub use config::{Config, ConfigError};
pub use run::{RunError, run};
