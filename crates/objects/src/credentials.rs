//! Credentials: whether this process' environment has any, and those that a named store is given.

pub(crate) mod environment;
mod file;
mod named;

pub(crate) use file::Watched;
pub(crate) use named::{azure, gcs, s3};
