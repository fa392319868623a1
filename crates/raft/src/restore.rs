//! A backup becomes the folder of a founder of a new cluster. All founders come to the same cluster id, term, index
//! and rows, so that none has anything to tell the others, and no node of the old cluster is listened to.
//!
//! Invariant: until the last step the folder is one that no node starts on.

use crate::types::{LogId, Membership, Node, StoredMembership, Vote};
use crate::wire;
use ferry_machine::restore::{self as rows, RestoreError, Step};
use ferry_store::backup::{self, BackupFileError, Header};
use ferry_store::checkpoints::{BuildError, ReceiveError};
use ferry_store::log::LogError;
use ferry_store::node::NodeError;
use ferry_store::rows::{InstallError, RowsError};
use ferry_store::vote::VoteError;
use ferry_store::{FileError, OpenError, Options, Store};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a backup is restored to.
#[derive(Debug, Clone)]
pub struct Restoring<'a> {
    /// The backup.
    pub input: &'a Path,
    /// The folder of the new node; empty, or not there.
    pub folder: &'a Path,
    /// The new node.
    pub node_id: u64,
    /// The founders of the new cluster, this node among them; the same for each of them.
    pub peers: &'a BTreeMap<u64, String>,
    /// Ids that are left out.
    pub id_margin: i64,
    /// Tells apart clusters that are restored from the same backup with the same peers.
    pub token: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster's id, the same on all founders.
    pub cluster_id: u64,
    /// The old cluster's.
    pub former_cluster_id: u64,
    /// The revision at which the new cluster begins.
    pub revision: u64,
    /// The first id that it gives out.
    pub next_id: i64,
}

/// A backup was not restored; the folder is no node's.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailed {
    /// The file cannot be opened.
    #[error("{} cannot be opened", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no whole backup.
    #[error(transparent)]
    Backup(#[from] BackupFileError),
    /// The peers make no cluster.
    #[error("{0}")]
    Peers(String),
    /// Something is in the folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files of the checkpoint do not fit.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The rows do not fit.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The rows cannot be those of a new cluster.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// An invariant does not hold in them.
    #[error(
        "{count} invariants do not hold in the backup, the first: {first}; restore an older one, and report this one"
    )]
    Unsound {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// The disk.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk.
    #[error(transparent)]
    Vote(#[from] VoteError),
    /// The disk.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The disk.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The disk.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the folder of a founder from a backup.
///
/// # Errors
/// When the backup is not whole, the folder not empty, or the disk refuses; nothing starts on the folder then.
pub fn restore(to: &Restoring<'_>) -> Result<Restored, RestoreFailed> {
    check_peers(to)?;
    // Read twice: nothing is written before it is known to be whole.
    let header = backup::read(open(to.input)?, |_, _, _| Ok::<_, BackupFileError>(()))?;
    let work = Store::begin_restore(to.folder)?;
    let restored = fill(to, &header, &work)?;
    Store::finish_restore(to.folder)?;
    Ok(restored)
}

fn check_peers(to: &Restoring<'_>) -> Result<(), RestoreFailed> {
    for address in to.peers.values() {
        let is_address =
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let once = to.peers.values().filter(|other| *other == address).count() == 1;
        if !is_address || !once {
            return Err(RestoreFailed::Peers(format!(
                "{address:?} is no address of one founder alone: give each its own host:port"
            )));
        }
    }
    if to.peers.contains_key(&to.node_id) && !to.peers.contains_key(&0) {
        return Ok(());
    }
    let peers: Vec<String> = to.peers.iter().map(|(id, address)| format!("{id}={address}")).collect();
    Err(RestoreFailed::Peers(format!(
        "node {} is not among the peers ({}): name every founder of the new cluster, this node included, by a \
         positive id",
        to.node_id,
        peers.join(", ")
    )))
}

fn open(path: &Path) -> Result<File, RestoreFailed> {
    File::open(path).map_err(|source| RestoreFailed::Input { path: path.to_path_buf(), source })
}

fn fill(to: &Restoring<'_>, header: &Header, work: &Path) -> Result<Restored, RestoreFailed> {
    let store = Store::open(work, to.node_id, &Options::default())?;
    let mut receiving = store.checkpoints.begin_receive()?;
    let read = backup::read(open(to.input)?, |file, offset, bytes| {
        receiving.write_chunk(file, offset, bytes).map_err(RestoreFailed::from)
    })?;
    if read != *header {
        return Err(BackupFileError::Damaged("it changed while it was read".to_owned()).into());
    }
    let checkpoint = receiving.finish(read.checkpoint)?;
    store.checkpoints.install(&checkpoint)?;
    let restored = rewrite(to, header, &store)?;
    let violations = ferry_machine::check(&store.rows.view());
    if let Some(first) = violations.first() {
        return Err(RestoreFailed::Unsound { count: violations.len(), first: first.to_string() });
    }
    // The one that was received is replaced: its rows are the old cluster's.
    drop(checkpoint);
    store.checkpoints.build()?;
    store.node.set_cluster_id(restored.cluster_id)?;
    Ok(restored)
}

/// The restore is like one entry behind those of the backup, in a term of its own, the same on every founder.
fn rewrite(to: &Restoring<'_>, header: &Header, store: &Store) -> Result<Restored, RestoreFailed> {
    let (term, index) = (header.term + 1, header.index + 1);
    let log_id = LogId::new_term_index(term, index);
    let marker = wire::log_id_to_bytes(log_id);
    let voters: BTreeSet<u64> = to.peers.keys().copied().collect();
    let nodes = to.peers.iter().map(|(id, address)| (*id, Node { address: address.clone() }));
    let membership = Membership::new(vec![voters], nodes.collect::<BTreeMap<_, _>>())
        .map_err(|error| RestoreFailed::Peers(error.to_string()))?;
    let stored = wire::kept_membership_to_bytes(&StoredMembership::new(Some(log_id), membership), 0);
    let cluster_id = cluster_id(to, header);
    let new = rows::Restore { cluster_id, id_margin: to.id_margin, revision: index, wall_ms: header.made_wall_ms };
    let mut step = Some(Step::Cluster);
    while let Some(now) = step {
        let membership = (now == Step::Cluster).then(|| stored.clone());
        step = store.rows.write((index, marker.clone()), membership, |tables| rows::restore(tables, &new, now))??;
    }
    store.log.purge(index, marker)?;
    store.log.sync()?;
    store.vote.save(&wire::vote_to_bytes(&Vote::new(term, to.node_id)))?;
    let cluster = crate::leadership::cluster_of(&store.rows.view()).ok_or(RestoreError::NoCluster)?;
    Ok(Restored { cluster_id, former_cluster_id: header.cluster_id, revision: index, next_id: cluster.next_id })
}

/// The same for every founder, and for nobody else: made of all that the founders have in common.
fn cluster_id(to: &Restoring<'_>, header: &Header) -> u64 {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    add(&header.cluster_id.to_be_bytes());
    add(&header.term.to_be_bytes());
    add(&header.made_wall_ms.to_be_bytes());
    add(&header.checkpoint.encode());
    for (id, address) in to.peers {
        add(&id.to_be_bytes());
        add(address.as_bytes());
    }
    add(&to.id_margin.to_be_bytes());
    add(to.token.as_bytes());
    let digest = hasher.finalize();
    let first = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // Zero is no cluster.
    first.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_that_no_cluster_could_begin_with_are_refused_before_anything_is_read() {
        let tables: [&[(u64, &str)]; 5] =
            [&[(1, "a")], &[(1, "")], &[(1, "a:1"), (2, "a:1")], &[(2, "a:1")], &[(0, "a:1"), (1, "b:1")]];
        for peers in tables {
            let peers = peers.iter().map(|(id, address)| (*id, (*address).to_owned())).collect();
            let nowhere = Path::new("/nowhere");
            let to = Restoring { input: nowhere, folder: nowhere, node_id: 1, peers: &peers, id_margin: 0, token: "" };
            let refused = restore(&to).expect_err("no cluster could begin with these");
            assert!(matches!(refused, RestoreFailed::Peers(_)), "{peers:?}: {refused}");
        }
    }
}
