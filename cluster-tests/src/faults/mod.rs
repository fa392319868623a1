//! Faults of disks and clocks for real processes: each counts or shows that it bit, and is undone when dropped.

pub mod disk;
pub mod privileges;
pub mod shim;

pub use disk::Disk;
pub use shim::Shim;

use std::process::{Command, Stdio};

/// Runs a tool to its end.
///
/// # Errors
/// A sentence with the command, and what it said or what is missing.
pub fn run(tool: &str, arguments: &[&str]) -> Result<(), String> {
    let line = || format!("`{tool} {}`", arguments.join(" "));
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} cannot be started: {error}; run scripts/setup", line()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed: {}; this needs root", line(), said.trim()))
}
