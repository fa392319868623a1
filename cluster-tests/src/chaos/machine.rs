//! A machine for a node: a host on the network, a disk of its own, faults preloaded, and the node's process.
//!
//! Invariant: what a process does is told apart from what was done to it: one that ends while nothing allows it to is
//! reported by [`Machine::look_after`], and nobody else takes the process away unseen.

use super::exit::Exit;
use super::network::Host;
use super::settings::{NODE_SETTINGS, StoreAccess, node_arguments};
use super::trouble::{During, Trouble};
use crate::faults::{Disk, Shim};
use crate::process::{Launch, Process};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Enough for a run, and quick to fill.
const DISK_BYTES: u64 = 256 << 20;
/// Between two looks at a process that is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The node that lives on a machine.
struct Tenant {
    id: u64,
    process: Option<Process>,
    /// A fault is on that a node answers by ending.
    may_end: bool,
    /// How it ended under such a fault.
    ended: Option<Exit>,
    log: PathBuf,
    /// Where in it the running process began.
    log_begins: u64,
}

/// A machine.
pub(crate) struct Machine {
    host: Host,
    folder: PathBuf,
    disk: Mutex<Disk>,
    /// Faults inside the node's process.
    pub(crate) shim: Shim,
    store: StoreAccess,
    tenant: Mutex<Option<Tenant>>,
}

impl Machine {
    pub(crate) fn new(host: Host, folder: &Path, store: StoreAccess) -> Self {
        let disk = Disk::create(&folder.join(format!("{host}-disk")), DISK_BYTES);
        let shim = Shim::new(&folder.join(format!("{host}-faults")), disk.folder());
        Self { host, folder: folder.to_path_buf(), disk: Mutex::new(disk), shim, store, tenant: Mutex::new(None) }
    }

    pub(crate) fn host(&self) -> Host {
        self.host
    }

    /// The node that lives here.
    pub(crate) fn id(&self) -> Option<u64> {
        self.tenant().as_ref().map(|tenant| tenant.id)
    }

    /// Where the node is reached: every node has a port of its own, so that nobody takes a node for the one before it.
    pub(crate) fn address(&self, id: u64) -> String {
        format!("{}:{}", self.host.address(), 7_400 + id)
    }

    /// A node moves in; the disk is empty.
    pub(crate) fn settle(&self, id: u64) {
        let log = self.folder.join(format!("node-{id}.log"));
        *self.tenant() = Some(Tenant { id, process: None, may_end: false, ended: None, log, log_begins: 0 });
    }

    /// The node is gone, with everything it knew.
    pub(crate) fn wipe(&self) -> Result<(), Trouble> {
        self.kill();
        *self.tenant() = None;
        let data = self.data();
        std::fs::remove_dir_all(&data).during(|| format!("{}", data.display()))
    }

    /// Starts the node unless it runs. Those that the cluster begins with know each other.
    pub(crate) fn start(&self, founders: &BTreeMap<u64, String>) {
        let mut tenant = self.tenant();
        let Some(tenant) = tenant.as_mut() else { return };
        tenant.may_end = false;
        tenant.ended = None;
        if tenant.process.is_some() {
            return;
        }
        let mut arguments = node_arguments(tenant.id, &self.data(), &self.address(tenant.id), founders);
        arguments.extend(NODE_SETTINGS.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
        arguments.extend(self.store.of_nodes());
        let prefix = self.host.prefix();
        let prefix: Vec<&str> = prefix.iter().map(String::as_str).collect();
        let launch = Launch::default().under(&prefix).with(self.shim.environment()).with(self.store.environment());
        tenant.log_begins = std::fs::metadata(&tenant.log).map_or(0, |metadata| metadata.len());
        tenant.process = Some(launch.start(&arguments, &tenant.log));
    }

    /// SIGKILL; whether it ran.
    pub(crate) fn kill(&self) -> bool {
        let process = self.tenant().as_mut().and_then(|tenant| tenant.process.take());
        let ran = process.is_some();
        drop(process);
        ran
    }

    /// SIGTERM, and waits for as long as `bound`; how it ended, if it did.
    pub(crate) fn terminate(&self, bound: Duration) -> Option<ExitStatus> {
        let mut process = self.tenant().as_mut().and_then(|tenant| tenant.process.take())?;
        process.signal(Signal::SIGTERM);
        let began = Instant::now();
        while began.elapsed() < bound {
            if let Some(status) = process.ended() {
                return Some(status);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        None
    }

    /// Any other signal, to a node that runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = self.tenant().as_ref().and_then(|tenant| tenant.process.as_ref()) {
            process.signal(signal);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.tenant().as_ref().is_some_and(|tenant| tenant.process.is_some())
    }

    /// From now on the node may end by itself, until it is started again.
    pub(crate) fn let_end(&self) {
        if let Some(tenant) = self.tenant().as_mut() {
            tenant.may_end = true;
        }
    }

    /// How the node ended by itself since it was allowed to.
    pub(crate) fn ended(&self) -> Option<Exit> {
        self.tenant().as_ref().and_then(|tenant| tenant.ended.clone())
    }

    /// Notices that the node has ended by itself; what it did if nothing allowed it to.
    pub(crate) fn look_after(&self) -> Option<String> {
        let mut tenant = self.tenant();
        let tenant = tenant.as_mut()?;
        let status = tenant.process.as_mut()?.ended()?;
        tenant.process = None;
        let ended = Exit::of(status, &tenant.log, tenant.log_begins);
        if tenant.may_end {
            tenant.ended = Some(ended);
            return None;
        }
        Some(format!("node {} ended by itself: {ended}", tenant.id))
    }

    /// Whether a thread of the node waits for its disk, which nothing interrupts.
    pub(crate) fn hangs(&self) -> bool {
        let id = self.tenant().as_ref().and_then(|tenant| Some(tenant.process.as_ref()?.id()));
        let tasks = id.and_then(|id| std::fs::read_dir(format!("/proc/{id}/task")).ok());
        tasks.into_iter().flatten().flatten().any(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // After the name, which may hold anything but ends with the last parenthesis, comes the state.
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('D'))
        })
    }

    /// The name of the rows' live generation, which changes when a checkpoint is installed and at no other time.
    pub(crate) fn generation(&self) -> Option<String> {
        std::fs::read_to_string(self.data().join("state/CURRENT")).ok()
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.disk().folder().join("data")
    }

    fn tenant(&self) -> MutexGuard<'_, Option<Tenant>> {
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
