//! Opening a node's folder: everything in it is looked at before the node takes part in its cluster.
//!
//! A folder of another node or program, of an unknown version, in use, damaged, or with less in it than was promised
//! is refused, with the way back in the message.

use crate::checkpoints::Checkpoints;
use crate::disk::Disk;
use crate::files::{self, FileError};
use crate::log::{Log, LogError, LogOpenError, Promised};
use crate::node::{Content, Identity, NodeError, NodeFile};
use crate::options::{Engine, Options};
use crate::rows::{Rows, RowsError};
use crate::vote::{VoteError, VoteFile};
use rocksdb::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder that cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use: is another ferry running on this folder? Stop it, or give this node a folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Something else lives there.
    #[error(
        "{} is not empty and has no node.json: choose an empty folder for this node, or empty this one",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
    },
    /// Something is in the folder of a restore.
    #[error("{} is not empty: restore into an empty folder; one that a restore left half-way can be emptied", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no node's folder.
    #[error("{} has no node.json, so it is no node's folder: name the data directory of a node", folder.display())]
    NoNode {
        /// The folder.
        folder: PathBuf,
    },
    /// Its rows may have what its cluster never agreed on.
    #[error(
        "{} was backed up while its node was stopped, with entries that its cluster may never have agreed on, so its node must not start again: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`), or restore the backup as a new cluster",
        folder.display()
    )]
    BackedUp {
        /// The folder.
        folder: PathBuf,
    },
    /// Another node's folder.
    #[error(
        "{} belongs to node {found}, not to node {expected}: start node {found} on it, or give node {expected} an empty folder",
        folder.display()
    )]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who opened it.
        expected: u64,
    },
    /// `node.json`.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The vote.
    #[error(transparent)]
    Vote(#[from] VoteError),
    /// An entry of the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The rows.
    #[error(transparent)]
    Rows(RowsError),
    /// A database cannot be opened though nothing says that it is damaged.
    #[error("{} cannot be opened: {source}. Check the disk, its free space and the rights of the folder, then start again", folder.display())]
    Engine {
        /// The folder of the database.
        folder: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// Something in it is not what it should be.
    #[error(
        "{} is damaged: {reason}. Remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        path.display()
    )]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Less is there than this node has promised to others.
    #[error(
        "{} has lost what this node promised to its cluster: {reason}. Remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)",
        folder.display()
    )]
    Lost {
        /// The folder.
        folder: PathBuf,
        /// What is gone.
        reason: String,
    },
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The open folder of a node.
pub struct Store {
    /// Raft's log.
    pub log: Arc<Log>,
    /// Raft's vote.
    pub vote: VoteFile,
    /// The rows of the machine.
    pub rows: Arc<Rows>,
    /// Whose folder it is.
    pub node: Arc<NodeFile>,
    /// Checkpoints of the rows.
    pub checkpoints: Checkpoints,
    /// What the disk is doing.
    pub disk: Disk,
}

impl Store {
    /// Opens the folder of a node, or makes it from an empty one.
    pub fn open(folder: &Path, node_id: u64, options: &Options) -> Result<Self, OpenError> {
        if files::read_optional(&folder.join(BACKED_UP))?.is_some() {
            return Err(OpenError::BackedUp { folder: folder.to_path_buf() });
        }
        Self::open_any(folder, node_id, options)
    }

    fn open_any(folder: &Path, node_id: u64, options: &Options) -> Result<Self, OpenError> {
        files::create_folder(folder)?;
        claim(folder, node_id)?;
        let engine = Engine::new(options.clone()).map_err(|error| engine_error(folder, error))?;
        let engine = Arc::new(engine);
        // Its lock keeps a second process out; whose folder it is can be believed only under that lock.
        let (log, promised) = Log::open(&folder.join("raft"), &folder.join("durable"), &engine)
            .map_err(|error| log_error(folder, error))?;
        let content = claim(folder, node_id)?;
        let vote = VoteFile::open(folder.join("vote"), engine.disk().clone())?;
        let log = Arc::new(log);
        let disk = engine.disk().clone();
        let rows = Rows::open(&folder.join("state"), engine, Arc::clone(&log)).map_err(rows_error)?;
        let rows = Arc::new(rows);
        let checkpoints = Checkpoints::open(folder.join("snapshots"), folder.join("incoming"), Arc::clone(&rows))?;
        agree(folder, &promised, &rows, &checkpoints)?;
        let node = Arc::new(NodeFile::new(NodeFile::path_in(folder), content, disk.clone()));
        Ok(Self { log, vote, rows, node, checkpoints, disk })
    }

    /// Opens the folder of whichever node has one there.
    pub fn open_existing(folder: &Path, options: &Options) -> Result<Self, OpenError> {
        match NodeFile::read(&NodeFile::path_in(folder))? {
            Some(content) => Self::open_any(folder, content.node_id, options),
            None => Err(OpenError::NoNode { folder: folder.to_path_buf() }),
        }
    }

    /// From now on no node starts on the folder; a backup can still be made of it.
    pub fn forbid_start(folder: &Path) -> Result<(), OpenError> {
        Ok(files::write_atomically(&folder.join(BACKED_UP), &[])?)
    }

    /// Begins a restore into an empty folder, and names a folder inside it in which the node's store is made. Until
    /// the restore is finished no node starts on the outer folder: it is not empty, and has no `node.json`.
    pub fn begin_restore(folder: &Path) -> Result<PathBuf, OpenError> {
        files::create_folder(folder)?;
        if NodeFile::read(&NodeFile::path_in(folder))?.is_some() || !is_empty(folder)? {
            return Err(OpenError::NotEmpty { folder: folder.to_path_buf() });
        }
        let work = folder.join(RESTORING);
        files::create_folder(&work)?;
        Ok(work)
    }

    /// Ends a restore: with the last rename the outer folder is the node's.
    pub fn finish_restore(folder: &Path) -> Result<(), OpenError> {
        let work = folder.join(RESTORING);
        let mut names = files::names_in(&work)?;
        names.sort_by_key(|name| NodeFile::path_in(&work).ends_with(name));
        for name in names {
            if NodeFile::path_in(&work).ends_with(&name) {
                files::sync_folder(folder)?;
            }
            files::rename(&work.join(&name), &folder.join(&name))?;
        }
        files::remove_folder(&work)?;
        Ok(files::sync_folder(folder)?)
    }

    /// Whose folder it is.
    pub fn identity(&self) -> Identity {
        self.node.identity()
    }
}

/// The folder in which a restore makes a store.
const RESTORING: &str = "restoring";
/// Says that entries were applied that may never have been agreed on.
const BACKED_UP: &str = "backed-up";

/// What a first start that was interrupted or a fresh file system leaves is nobody's.
fn is_empty(folder: &Path) -> Result<bool, FileError> {
    Ok(files::names_in(folder)?.iter().all(|name| name == "lost+found" || name == "node.tmp"))
}

/// Whose folder it is; an empty one becomes this node's.
fn claim(folder: &Path, node_id: u64) -> Result<Content, OpenError> {
    let path = NodeFile::path_in(folder);
    match NodeFile::read(&path)? {
        Some(content) if content.node_id == node_id => Ok(content),
        Some(content) => {
            Err(OpenError::OtherNode { folder: folder.to_path_buf(), found: content.node_id, expected: node_id })
        }
        None => {
            if !is_empty(folder)? {
                return Err(OpenError::Foreign { folder: folder.to_path_buf() });
            }
            let content = Content::new(node_id);
            NodeFile::write(&path, &content)?;
            Ok(content)
        }
    }
}

/// Compares the log with the rows: together they must hold every entry up to the end of what was applied.
fn agree(folder: &Path, log: &Promised, rows: &Rows, checkpoints: &Checkpoints) -> Result<(), OpenError> {
    let lost = |reason| Err(OpenError::Lost { folder: folder.to_path_buf(), reason });
    let applied = rows.applied_index().map_err(rows_error)?;
    // Right after a checkpoint was installed the log may end before the rows begin.
    let is_installed = applied.is_some() && applied == rows.installed_index();
    if applied > log.end && !is_installed {
        return lost(format!("its rows reach {}, its log reaches {}", place(applied), place(log.end)));
    }
    let checkpoint = checkpoints.current().map(|checkpoint| checkpoint.manifest().index);
    let reached = applied.max(checkpoint);
    if log.end.is_some() && log.first > reached.map_or(0, |index| index + 1) {
        return lost(format!("its log begins at entry {}, its rows reach {}", log.first, place(reached)));
    }
    Ok(())
}

fn log_error(folder: &Path, error: LogOpenError) -> OpenError {
    match error {
        LogOpenError::Engine { source, .. } if is_lock_of_another(&source) => {
            OpenError::InUse { folder: folder.to_path_buf() }
        }
        LogOpenError::Engine { folder, source } => engine_error(&folder, source),
        LogOpenError::File(error) => OpenError::File(error),
        LogOpenError::Entry(error) => OpenError::Log(error),
        lost @ LogOpenError::Lost { .. } => OpenError::Lost { folder: folder.to_path_buf(), reason: lost.to_string() },
    }
}

/// RocksDB has no kind of its own for a lock that is held, by another process or by this one.
fn is_lock_of_another(error: &rocksdb::Error) -> bool {
    let message = error.to_string();
    message.contains("While lock file") || message.contains("lock hold by current process")
}

fn rows_error(error: RowsError) -> OpenError {
    match error {
        RowsError::Engine { folder, source } => engine_error(&folder, source),
        RowsError::Current { path, name } => OpenError::Damaged { path, reason: format!("it names {name:?}") },
        RowsError::Log(error) => OpenError::Log(error),
        RowsError::File(error) => OpenError::File(error),
        error @ RowsError::Codec { .. } => OpenError::Rows(error),
    }
}

fn engine_error(folder: &Path, source: rocksdb::Error) -> OpenError {
    match source.kind() {
        ErrorKind::Corruption | ErrorKind::InvalidArgument | ErrorKind::NotFound => {
            OpenError::Damaged { path: folder.to_path_buf(), reason: source.to_string() }
        }
        // A file that the database lists is gone, which RocksDB calls an error of the disk.
        ErrorKind::IOError if source.to_string().contains("No such file or directory") => {
            OpenError::Damaged { path: folder.to_path_buf(), reason: source.to_string() }
        }
        // Whatever else RocksDB knows says something of the machine, not of the data.
        _ => OpenError::Engine { folder: folder.to_path_buf(), source },
    }
}

/// Where something ends, for people.
fn place(index: Option<u64>) -> String {
    index.map_or_else(|| "no entry".to_owned(), |index| format!("entry {index}"))
}
