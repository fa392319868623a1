//! Raft on whole clusters: real sockets and real stores, nodes that are killed and come back.

mod agreement;
mod checkpoint;
mod folders;
mod proxy;
mod support;
