//! Which faults this machine can make: one that cannot be made fails its test, unless FERRY_LEAVE_OUT names it.

use std::process::{Command, Stdio};

/// Names, separated by commas, of the faults that are not to be tried.
pub const LEAVE_OUT: &str = "FERRY_LEAVE_OUT";

/// Whether a test that needs a fault is to run: false, and said on stderr, where `FERRY_LEAVE_OUT` names the fault.
///
/// # Panics
/// Where it is not named and one of the tools that the fault needs, or root, is missing.
#[must_use]
pub fn may(fault: &str, tools: &[&str]) -> bool {
    if left_out(&std::env::var(LEAVE_OUT).unwrap_or_default(), fault) {
        eprintln!("LEFT OUT: {fault}, for {LEAVE_OUT} names it");
        return false;
    }
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !exists(tool)).collect();
    assert!(
        missing.is_empty(),
        "the fault {fault} needs {}: run scripts/setup, or leave it out with {LEAVE_OUT}={fault}",
        missing.join(" and ")
    );
    assert!(
        nix::unistd::geteuid().is_root(),
        "the fault {fault} needs root: run as root, or leave it out with {LEAVE_OUT}={fault}"
    );
    true
}

fn left_out(names: &str, fault: &str) -> bool {
    names.split(',').any(|name| name.trim() == fault)
}

/// Whether a tool is in the PATH.
fn exists(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::{exists, left_out};

    #[test]
    fn only_what_is_named_in_full_is_left_out() {
        assert!(left_out("power-loss, disk-full", "disk-full"));
        assert!(!left_out("power-loss,disk-full", "disk"));
        assert!(!left_out("", "disk-full"));
    }

    #[test]
    fn a_tool_that_is_missing_is_seen() {
        assert!(exists("sh") && !exists("no-such-tool-anywhere"));
    }
}
