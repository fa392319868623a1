//! Runs the system's own tools, and says in full what one that failed was asked and what it answered.

use super::trouble::{During, Trouble};
use std::process::{Command, Stdio};

/// Runs a tool to its end; what it printed.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Result<String, Trouble> {
    let said = || format!("{tool} {}", arguments.join(" "));
    let output = Command::new(tool).args(arguments).stdin(Stdio::null()).output().during(said)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Trouble(format!("{}: {}: {}", said(), output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
