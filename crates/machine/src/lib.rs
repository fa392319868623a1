//! The machine decides: jobs, tasks, segments and workers as one pure, deterministic state machine.
//!
//! `apply` turns a command into changed rows, `plan` says what the leader should propose next, `check` recounts
//! everything from scratch. Nothing here knows a clock, a disk, a network or a thread: time and ids enter through
//! the log alone, so every replica that applies the same commands holds the same rows.

pub mod command;
pub mod id;
pub mod key;
pub mod limits;
pub mod outcome;
pub mod row;
pub mod tables;
pub mod time;
