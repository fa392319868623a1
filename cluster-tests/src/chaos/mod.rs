//! The chaos suite: a cluster of real processes on machines of its own, under traffic and under faults that are seen to
//! bite, and the verdict over what it answered.
//!
//! A run lives in a sandbox of namespaces that the kernel takes down with it. In there are a network whose switch is this
//! process, a disk for each machine, and the faults of [`nemesis`], drawn from a seed by the schedule and told by
//! [`conductor`].

pub mod conductor;
pub mod nemesis;
pub mod network;
pub mod prove;
pub mod sandbox;
pub mod settings;
pub mod tally;

mod exit;
mod machine;
mod observation;
mod report;
mod schedule;
mod seat;
mod store;
mod tool;
mod trouble;
mod world;

pub use nemesis::Nemesis;
pub use report::Report;
pub use settings::Settings;
pub use store::StoreKind;
pub use trouble::Trouble;
