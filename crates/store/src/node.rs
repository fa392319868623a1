//! Who a folder belongs to: `node.json` names the node and its cluster, and is the first file of a folder.

use crate::files::{self, FileError};
use serde::{Deserialize, Serialize};
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
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format_version: u32,
    node_id: u64,
    cluster_id: u64,
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
    identity: Mutex<Identity>,
}

impl NodeFile {
    pub(crate) fn path_in(folder: &Path) -> PathBuf {
        folder.join("node.json")
    }

    /// What the file says; `None` where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Identity>, NodeError> {
        let Some(bytes) = files::read_optional(path)? else { return Ok(None) };
        let unreadable =
            |error: serde_json::Error| NodeError::Unreadable { path: path.to_path_buf(), reason: error.to_string() };
        let found = serde_json::from_slice::<Versioned>(&bytes).map_err(unreadable)?.format_version;
        if found != FORMAT_VERSION {
            return Err(NodeError::UnknownVersion { path: path.to_path_buf(), found });
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Ok(Some(Identity { cluster_id: content.cluster_id, node_id: content.node_id }))
    }

    pub(crate) fn write(path: &Path, identity: Identity) -> Result<(), NodeError> {
        let content =
            Content { format_version: FORMAT_VERSION, node_id: identity.node_id, cluster_id: identity.cluster_id };
        let mut text = serde_json::to_vec_pretty(&content)
            .map_err(|error| NodeError::Unreadable { path: path.to_path_buf(), reason: error.to_string() })?;
        text.push(b'\n');
        Ok(files::write_atomically(path, &text)?)
    }

    pub(crate) fn new(path: PathBuf, identity: Identity) -> Self {
        Self { path, identity: Mutex::new(identity) }
    }

    /// Whose folder it is.
    pub fn identity(&self) -> Identity {
        *self.lock()
    }

    /// Writes down the cluster's id once it is known; again with the same id does nothing.
    pub fn set_cluster_id(&self, cluster_id: u64) -> Result<(), NodeError> {
        let mut identity = self.lock();
        if identity.cluster_id == cluster_id {
            return Ok(());
        }
        if identity.cluster_id != 0 {
            let known = identity.cluster_id;
            return Err(NodeError::OtherCluster { path: self.path.clone(), known, offered: cluster_id });
        }
        let changed = Identity { cluster_id, ..*identity };
        Self::write(&self.path, changed)?;
        *identity = changed;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Identity> {
        // The value changes as a whole, after the file: a panic elsewhere cannot leave it half changed.
        self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
