//! Real nodes in this process, asked over gRPC and HTTP as any client would; one binary, so that it is linked once.

mod backups;
mod bad_input;
mod choices;
mod claims;
mod cluster;
mod events;
mod late_writes;
mod submit_streams;
mod submits;
mod support;
