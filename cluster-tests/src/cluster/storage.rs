//! Nodes whose data lies on disks of their own, and whose syncs, writes and clocks can be made to fail.

use super::Cluster;
use crate::eventually;
use crate::faults::{Disk, Shim};
use std::path::{Path, PathBuf};

/// Lines of each node's log that a failed story shows.
const LINES_SHOWN: usize = 30;

impl Cluster {
    /// Where a node keeps its data.
    #[must_use]
    pub fn data_folder(&self, id: u64) -> PathBuf {
        match self.disks.get(&id) {
            Some(disk) => disk.folder().join("data"),
            None => self.path(&format!("node-{id}")),
        }
    }

    /// Waits until every other running node has written down which folder a node has.
    ///
    /// # Panics
    /// When one does not in time.
    pub async fn all_met(&self, node: u64) {
        for id in self.running().into_iter().filter(|id| *id != node) {
            let path = self.data_folder(id).join("node.json");
            eventually("a node that is met", || async {
                let content: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
                content["peers"].get(node.to_string()).map(|_| ())
            })
            .await;
        }
    }

    /// A node ends by itself with exit code 1, and all these words are in its last one.
    ///
    /// # Panics
    /// When it does not end in time, or otherwise.
    pub async fn ended_saying(&mut self, id: u64, words: &[&str]) {
        let process = self.node(id);
        let status = eventually("the end of a node", || std::future::ready(process.ended())).await;
        let printed = process.printed();
        assert_eq!(status.code(), Some(1), "node {id} ended with {status}: {printed}");
        let error = printed.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
        for word in words {
            assert!(
                error.contains(word),
                "node {id}: {word:?} is not in its last word {error:?}; all of it: {printed}"
            );
        }
    }

    /// Gives a node, before its first start, a disk of its own of so many bytes.
    pub fn put_on_disk(&mut self, id: u64, bytes: u64) {
        let disk = Disk::create(&self.path(&format!("disk-{id}")), bytes);
        self.disks.insert(id, disk);
    }

    /// The disk of a node.
    ///
    /// # Panics
    /// When it has none of its own.
    pub fn disk(&mut self, id: u64) -> &mut Disk {
        self.disks.get_mut(&id).expect("the node has a disk of its own")
    }

    /// Preloads faults into a node, from its next start on.
    pub fn preload_faults(&mut self, id: u64) {
        self.preload(format!("node-{id}"), &self.data_folder(id));
    }

    /// Preloads faults into a worker, from its next start on.
    pub fn preload_worker_faults(&mut self, name: &str) {
        self.preload(format!("worker-{name}"), &self.path(""));
    }

    fn preload(&mut self, process: String, folder: &Path) {
        let shim = Shim::new(&self.path(&format!("faults-{process}")), folder);
        let launch = self.launch_of(&process);
        *launch = std::mem::take(launch).with(shim.environment());
        self.shims.insert(process, shim);
    }

    /// Takes from a worker root's power to pass over permissions, from its next start on.
    pub fn bar_worker(&mut self, name: &str) {
        let launch = self.launch_of(&format!("worker-{name}"));
        *launch = std::mem::take(launch).under(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
    }

    /// The faults of a node.
    ///
    /// # Panics
    /// When none were preloaded.
    #[must_use]
    pub fn faults(&self, id: u64) -> &Shim {
        self.shims.get(&format!("node-{id}")).expect("faults are preloaded into the node")
    }

    /// The faults of a worker.
    ///
    /// # Panics
    /// When none were preloaded.
    #[must_use]
    pub fn worker_faults(&self, name: &str) -> &Shim {
        self.shims.get(&format!("worker-{name}")).expect("faults are preloaded into the worker")
    }

    /// The power of these nodes goes at once, and comes back: their disks are mounted again, nothing is started.
    ///
    /// # Panics
    /// When one of them does not run, or has no disk of its own.
    pub fn lose_power(&mut self, ids: &[u64]) {
        for id in ids {
            self.disk(*id).lose_power();
        }
        for id in ids {
            self.kill_node(*id);
            self.disk(*id).restore_power();
        }
    }

    /// Histories, logs and rows stay for whoever looks at a story that failed.
    fn keep_folder(&mut self) {
        self.dir.disable_cleanup(true);
        eprintln!("everything of this cluster is kept in {}", self.dir.path().display());
    }

    /// What the nodes said last, for where the folder cannot be looked at, as after a run of the suite elsewhere.
    fn print_logs(&self) {
        for id in self.addresses().keys() {
            let log = std::fs::read_to_string(self.path(&format!("node-{id}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("the last lines of node {id}:\n{}", last.join("\n"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The threads of a node that wait for a frozen disk cannot be killed, and the node would be waited for.
        for disk in self.disks.values_mut() {
            disk.release();
        }
        if std::thread::panicking() {
            self.print_logs();
            self.keep_folder();
        }
    }
}
