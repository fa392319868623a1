//! A process that a benchmark started: what it prints goes to a file, and it is killed when the value is dropped.

use anyhow::Context;
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running process.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.spawn().with_context(|| format!("{program} cannot be started"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL; the moment it was sent.
    pub(crate) fn kill(mut self) -> anyhow::Result<Instant> {
        let killed_at = Instant::now();
        self.0.kill()?;
        self.0.wait()?;
        Ok(killed_at)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is gone, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Addresses on the loopback that nobody listens on, no two the same. The host is one that no connection is opened from: of
/// 127.0.0.1 any takes a port, and it may be that of a node that is down for a moment.
pub(crate) fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    // All are held until every one is known.
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.2:0")).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
