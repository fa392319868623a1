//! The worker against a leader's side of the session over real sockets, copying files that a real Milvus wrote.

mod attempts;
mod clean_up;
mod copies;
mod faults;
mod lease;
mod operation;
mod own_snapshot;
mod publication;
mod support;
mod verification;
