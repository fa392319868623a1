//! A place of its own for a whole run: network, mounts and processes in namespaces that nobody else sees.
//!
//! Invariant: whatever ends the run, the kernel ends every process in it and removes every mount, interface and namespace.

use super::tool;
use super::trouble::{During, Trouble};
use crate::faults::privileges::LEAVE_OUT;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Told to the copy that runs inside.
pub const INSIDE: &str = "--inside-the-sandbox";

/// What a run needs of the system, whichever faults it injects.
const TOOLS: [(&str, &str); 4] =
    [("unshare", "util-linux"), ("nsenter", "util-linux"), ("mount", "util-linux"), ("ip", "iproute2")];

/// Replaces this process by a copy of itself inside a sandbox; returns only when that fails.
///
/// # Errors
/// What is missing, and how to get it.
pub fn enter(arguments: impl Iterator<Item = OsString>) -> Result<Infallible, Trouble> {
    check().map_err(|Trouble(missing)| {
        Trouble(format!("{missing}; the tests leave the suite's runs out with {LEAVE_OUT}=chaos"))
    })?;
    let own = std::env::current_exe().during(|| "the path of this program".to_owned())?;
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let error = Command::new("unshare").args(namespaces).arg(own).arg(INSIDE).args(arguments).exec();
    Err(Trouble(format!("unshare: {error}")))
}

/// Makes the inside ready for a run that writes into `folder`: a `/run` of its own, where network namespaces are named,
/// and no disk of anybody else's.
///
/// # Errors
/// When a mount is refused.
pub fn prepare(folder: &Path) -> Result<(), Trouble> {
    let_go_of_loop_disks(folder)?;
    tool::run("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    tool::run("ip", &["link", "set", "lo", "up"])?;
    Ok(())
}

/// The sandbox begins with a copy of every mount there is. A copy keeps a disk alive, so that one which another test takes
/// away, as dead as it is, would be there still when that test mounts it again.
fn let_go_of_loop_disks(needed: &Path) -> Result<(), Trouble> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").during(|| "the mounts of the sandbox".to_owned())?;
    let own = std::env::current_exe().during(|| "the path of this program".to_owned())?;
    let needed = needed.canonicalize().during(|| needed.display().to_string())?;
    for (device, folder) in mounts.lines().filter_map(|line| line.split(' ').next().zip(line.split(' ').nth(1))) {
        if device.starts_with("/dev/loop") && !own.starts_with(folder) && !needed.starts_with(folder) {
            tool::run("umount", &["--lazy", folder])?;
        }
    }
    Ok(())
}

fn check() -> Result<(), Trouble> {
    for (tool, package) in TOOLS {
        let found = Command::new(tool).arg("--help").stdin(Stdio::null()).output();
        found.during(|| format!("chaos needs `{tool}`: install the package {package}"))?;
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err(Trouble(
            "chaos needs /dev/net/tun: load the kernel module tun, or give the container the device".into(),
        ));
    }
    tool::run("unshare", &["--net", "--mount", "--pid", "--fork", "true"]).map(drop).map_err(|error| {
        Trouble(format!("chaos needs the right to make namespaces (run it as root, in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN): {error}"))
    })
}
