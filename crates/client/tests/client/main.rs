//! The client against real servers in this process.

mod calls;
mod support;
mod watches;
