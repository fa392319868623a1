//! The client asks: it finds a node that answers, follows the leader, and repeats what is safe to repeat.
//!
//! Invariants: no answer is older than one this client has already seen, on whichever node; a submit that is repeated
//! carries the same request id, so it is done once; no call outlives its deadline.
//!
//! Every call of the API is safe to repeat: submits are named by their request id, the changes of a job are
//! idempotent, and ids that are allocated twice are only lost. So one rule serves them all: what broke on the way, or
//! was answered UNAVAILABLE, is tried again on the next node until the deadline.

mod answer;
mod call;
mod client;
mod error;
mod events;
mod jobs;
mod nodes;
mod options;
mod services;
mod stream;
mod submit_stream;
mod watch;

pub use answer::{Answer, LEADER_ID, MIN_REVISION, REVISION, STALENESS_MS};
pub use client::Client;
pub use error::{Error, FieldViolation, Refusal};
pub use events::EventWatch;
pub use options::Options;
pub use submit_stream::MappingSource;
pub use tonic::Code;
pub use watch::{JobWatch, is_final};
