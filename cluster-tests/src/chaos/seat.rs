//! A machine for a worker: a host on the network and the worker's process.

use super::network::Host;
use super::settings::{StoreAccess, worker_arguments};
use crate::process::{Launch, Process};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A worker's machine.
pub(crate) struct Seat {
    host: Host,
    name: String,
    store: StoreAccess,
    log: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Seat {
    pub(crate) fn new(host: Host, name: String, folder: &Path, store: StoreAccess) -> Self {
        let log = folder.join(format!("worker-{name}.log"));
        Self { host, name, store, log, process: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the worker unless it runs.
    pub(crate) fn start(&self, endpoints: &BTreeMap<u64, String>) {
        let mut process = self.process();
        if process.is_none() {
            let prefix = self.host.prefix();
            let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
            let launch = Launch::default().under(&prefix).with(self.store.environment());
            *process = Some(launch.start(&worker_arguments(&self.name, endpoints, &self.store), &self.log));
        }
    }

    /// SIGKILL; whether it ran.
    pub(crate) fn kill(&self) -> bool {
        self.process().take().is_some()
    }

    /// Another signal, to a worker that runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            process.signal(signal);
        }
    }

    /// Notices that the worker has ended by itself, which nothing allows it to.
    pub(crate) fn look_after(&self) -> Option<String> {
        let mut process = self.process();
        let status = process.as_mut()?.ended()?;
        *process = None;
        Some(format!("worker {} ended by itself: {status}, see {}", self.name, self.log.display()))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
