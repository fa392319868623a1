//! The machine decides: jobs, tasks, segments and workers as one pure, deterministic state machine.
//!
//! `apply` turns a command into changed rows, `plan` says what the leader should propose next, `view` what users see,
//! `check` recounts everything from scratch. Nothing here knows a clock, a disk, a network or a thread: time and ids
//! enter through the log alone, so every replica that applies the same commands holds the same rows.

mod apply;
pub mod check;
pub mod command;
mod derive;
pub mod id;
pub mod key;
pub mod limits;
pub mod outcome;
pub mod plan;
mod read;
pub mod restore;
pub mod row;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
mod transition;
pub mod view;

pub use apply::apply;
pub use check::check;

pub use plan::plan;

#[cfg(test)]
mod properties;
