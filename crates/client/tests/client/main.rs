//! The client against real servers in this process.

mod calls;
mod submit_streams;
mod support;
mod watches;
