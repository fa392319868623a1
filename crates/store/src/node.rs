//! Who a folder belongs to: `node.json` names the node, its cluster, the folder itself and the folders of the nodes that
//! it has met, and is the first file of a folder.

use crate::disk::Disk;
use crate::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Version of the folder's layout that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; zero until the node has learned it.
    pub cluster_id: u64,
    /// The node; ids are never used again.
    pub node_id: u64,
    /// This folder and no other: made at random with it, so that a node that lost its folder is another one to those
    /// that it has met, even under its id.
    pub folder_id: u64,
}

/// `node.json` cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NodeError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what this program writes.
    #[error(
        "{} cannot be read ({reason}): restore that file from a copy, or remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program wrote it.
    #[error(
        "{} has format version {found}, this program reads version {FORMAT_VERSION}: start the version of ferry that wrote it, or a newer one",
        path.display()
    )]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The folder has learned another cluster.
    #[error(
        "{} belongs to cluster {known}, not to cluster {offered}: start the node with the peers of its own cluster, or empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster it belongs to.
        known: u64,
        /// The one it was to be given.
        offered: u64,
    },
    /// What a node promised lay in the folder that it was met with.
    #[error(
        "node {node_id} came back with another folder than the one it voted and acknowledged with: remove it with `ferry cluster remove-node --id {node_id}` and add a node with an empty folder under a new id (`ferry cluster add-node`)"
    )]
    OtherFolder {
        /// The node.
        node_id: u64,
    },
}

/// What `node.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    format_version: u32,
    pub(crate) node_id: u64,
    cluster_id: u64,
    folder_id: u64,
    /// The nodes that were met, and their folders. None is ever taken out: ids are never used again.
    peers: BTreeMap<u64, u64>,
}

impl Content {
    /// A new folder of this node.
    pub(crate) fn new(node_id: u64) -> Self {
        let folder_id = files::nonce();
        Self { format_version: FORMAT_VERSION, node_id, cluster_id: 0, folder_id, peers: BTreeMap::new() }
    }
}

/// Only the version, which every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    format_version: u32,
}

/// The file `node.json` of an open folder.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    content: Mutex<Content>,
    disk: Disk,
}

impl NodeFile {
    pub(crate) fn path_in(folder: &Path) -> PathBuf {
        folder.join("node.json")
    }

    /// What the file says; `None` where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Content>, NodeError> {
        let Some(bytes) = files::read_optional(path)? else { return Ok(None) };
        let unreadable =
            |error: serde_json::Error| NodeError::Unreadable { path: path.to_path_buf(), reason: error.to_string() };
        let found = serde_json::from_slice::<Versioned>(&bytes).map_err(unreadable)?.format_version;
        if found != FORMAT_VERSION {
            return Err(NodeError::UnknownVersion { path: path.to_path_buf(), found });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }

    pub(crate) fn write(path: &Path, content: &Content) -> Result<(), NodeError> {
        let mut text = serde_json::to_vec_pretty(content)
            .map_err(|error| NodeError::Unreadable { path: path.to_path_buf(), reason: error.to_string() })?;
        text.push(b'\n');
        Ok(files::write_atomically(path, &text)?)
    }

    pub(crate) fn new(path: PathBuf, content: Content, disk: Disk) -> Self {
        Self { path, content: Mutex::new(content), disk }
    }

    /// Whose folder it is.
    pub fn identity(&self) -> Identity {
        let content = self.lock();
        Identity { cluster_id: content.cluster_id, node_id: content.node_id, folder_id: content.folder_id }
    }

    /// The nodes that were met, and their folders.
    pub fn peers(&self) -> BTreeMap<u64, u64> {
        self.lock().peers.clone()
    }

    /// Writes down the cluster's id once it is known; again with the same id does nothing.
    pub fn set_cluster_id(&self, cluster_id: u64) -> Result<(), NodeError> {
        let mut content = self.lock();
        if content.cluster_id == cluster_id {
            return Ok(());
        }
        if content.cluster_id != 0 {
            let known = content.cluster_id;
            return Err(NodeError::OtherCluster { path: self.path.clone(), known, offered: cluster_id });
        }
        let changed = Content { cluster_id, ..content.clone() };
        self.replace(&mut content, changed)
    }

    /// Writes down the folder that a node is met with, once and for all; again with the same folder does nothing.
    pub fn meet(&self, node_id: u64, folder_id: u64) -> Result<(), NodeError> {
        let mut content = self.lock();
        let mut changed = content.clone();
        match changed.peers.entry(node_id) {
            Entry::Occupied(known) if *known.get() == folder_id => return Ok(()),
            Entry::Occupied(_) => return Err(NodeError::OtherFolder { node_id }),
            Entry::Vacant(unknown) => unknown.insert(folder_id),
        };
        self.replace(&mut content, changed)
    }

    fn replace(&self, content: &mut Content, changed: Content) -> Result<(), NodeError> {
        self.disk.during("writing node.json", || Self::write(&self.path, &changed))?;
        *content = changed;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Content> {
        // The value changes as a whole, after the file: a panic elsewhere cannot leave it half changed.
        self.content.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
