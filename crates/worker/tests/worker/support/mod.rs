//! What the tests stand on: the sample, a worker, and the leader's side of a session.

pub(crate) mod leader;
pub(crate) mod sample;
pub(crate) mod worker;
