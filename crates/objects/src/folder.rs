//! Files below one local folder: no call here reads, writes or deletes anything outside of it, whatever symbolic links a
//! hostile tree contains.
//!
//! Every path is walked part by part from the root's own descriptor without following links. A source may contain links
//! that stay inside the tree; they are resolved first and the result is walked again. A target may contain none.
//! All calls block.

mod walk;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use walk::Missing;

pub use walk::Walk;

/// New folders; the process' umask applies.
const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o777);
/// New files; the process' umask applies.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o666);
/// How a folder on the way is opened.
const WALK: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// How a file is opened for reading: not blocking, so that a named pipe cannot hold us.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// How a file is made.
const CREATE: OFlag =
    OFlag::O_RDWR.union(OFlag::O_CREAT).union(OFlag::O_EXCL).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Why a file below a folder could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FolderError {
    /// It, or a folder on the way to it, is not there.
    #[error("{} does not exist; restore it, or correct what names it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link that would leave the tree, or stands where one may not be.
    #[error("{} is a symbolic link that is not followed; replace it by what it points to", path.display())]
    Link {
        /// The link, or the file behind it.
        path: PathBuf,
    },
    /// A file where a folder should be, or the other way round.
    #[error("{} is not a {expected}; move away what is there", path.display())]
    Kind {
        /// What is there.
        path: PathBuf,
        /// What should be.
        expected: &'static str,
    },
    /// The system refuses the access.
    #[error("access to {} is refused: {errno}; give the process' user the rights", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system says.
        errno: Errno,
    },
    /// Everything else.
    #[error("{} could not be accessed: {errno}; see to the disk, then try again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        errno: Errno,
    },
}

impl FolderError {
    /// What an error of the standard library on this file is.
    pub fn of_io(path: &Path, error: &std::io::Error) -> FolderError {
        FolderError::of(path, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    /// The same of an error of the system itself.
    pub fn of_errno(path: &Path, errno: Errno) -> FolderError {
        FolderError::of(path, errno)
    }

    fn of(path: &Path, errno: Errno) -> FolderError {
        let path = path.to_owned();
        match errno {
            Errno::ENOENT => FolderError::Missing { path },
            Errno::EACCES | Errno::EPERM | Errno::EROFS => FolderError::Refused { path, errno },
            Errno::ELOOP => FolderError::Link { path },
            Errno::ENOTDIR => FolderError::Kind { path, expected: "folder" },
            Errno::EISDIR => FolderError::Kind { path, expected: "file" },
            _ => FolderError::Io { path, errno },
        }
    }
}

/// The root below which everything happens.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, which need not exist.
    pub fn new(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// The file's path, for messages.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// A way through the folder that keeps open what it walked last, for work on many files.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// Opens a regular file for reading; links that stay inside the tree are followed.
    pub fn open(&self, key: &str) -> Result<File, FolderError> {
        self.walk().open(key)
    }

    fn open_resolved(&self, key: &str) -> Result<File, FolderError> {
        let path = self.path(key);
        let resolve = |path: &Path| path.canonicalize().map_err(|error| FolderError::of_io(path, &error));
        let root = resolve(&self.root)?;
        let resolved = resolve(&path)?;
        match resolved.strip_prefix(&root).ok().and_then(Path::to_str) {
            Some(inside) => Folder { root }.walk().open_unlinked(inside),
            None => Err(FolderError::Link { path }),
        }
    }

    /// The folder with that key, made if it is missing, as are those on its way.
    pub fn make(&self, key: &str) -> Result<Arc<OwnedFd>, FolderError> {
        self.walk().in_folder(&key.split('/').collect::<Vec<_>>(), |folder| Ok(Arc::clone(folder)))
    }

    /// Deletes one file, never a folder; what is not there is deleted already.
    pub fn delete(&self, key: &str) -> Result<(), FolderError> {
        let (folders, name) = split(key);
        let mut walk = self.walk();
        let deleted = walk
            .to(&folders, Missing::IsAnError)
            .and_then(|parent| self.at(key, unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)));
        match deleted {
            Err(FolderError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// Removes the folders on the way to `key` that are empty, deepest first; the root stays.
    pub fn remove_empty_parents(&self, key: &str) -> Result<(), FolderError> {
        let (mut folders, _) = split(key);
        let mut walk = self.walk();
        while let Some(name) = folders.pop() {
            let removed = walk
                .to(&folders, Missing::IsAnError)
                .and_then(|parent| self.at(key, unlinkat(parent, name, UnlinkatFlags::RemoveDir)));
            match removed {
                Ok(()) | Err(FolderError::Missing { .. }) => {}
                Err(FolderError::Io { errno: Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY, .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The names of what is directly in the folder `key`; none when it does not exist.
    pub fn names(&self, key: &str) -> Result<Vec<String>, FolderError> {
        let folders: Vec<&str> = key.split('/').collect();
        let mut walk = self.walk();
        let folder = match walk.to(&folders, Missing::IsAnError) {
            Err(FolderError::Missing { .. }) => return Ok(Vec::new()),
            folder => self.at(key, openat(folder?, ".", WALK, Mode::empty()))?,
        };
        let mut names = Vec::new();
        for entry in self.at(key, Dir::from_fd(folder))? {
            let entry = self.at(key, entry)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes the names of these files durable: every folder from the root to each of them is synced.
    pub fn sync_folders<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<(), FolderError> {
        let mut folders = BTreeSet::from([Vec::new()]);
        for key in keys {
            let (parents, _) = split(key);
            folders.extend((1..=parents.len()).map(|depth| parents[..depth].to_vec()));
        }
        let mut walk = self.walk();
        for folder in folders {
            let descriptor = walk.to(&folder, Missing::IsAnError)?;
            self.at(&folder.join("/"), fsync(descriptor))?;
        }
        Ok(())
    }

    /// The root itself may be reached through links: it is the user's own choice.
    fn open_root(&self, create: bool) -> Result<OwnedFd, FolderError> {
        if create && !self.root.exists() {
            create_durable(&self.root)?;
        }
        let root = nix::fcntl::open(&self.root, WALK.difference(OFlag::O_NOFOLLOW), Mode::empty());
        root.map_err(|errno| FolderError::of(&self.root, errno))
    }

    fn at<T>(&self, key: &str, result: nix::Result<T>) -> Result<T, FolderError> {
        result.map_err(|errno| FolderError::of(&self.path(key), errno))
    }
}

/// Makes a folder and its parents, each durable in its own parent.
fn create_durable(path: &Path) -> Result<(), FolderError> {
    let failed = |path: &Path, error: &std::io::Error| FolderError::of_io(path, error);
    let Some(parent) = path.parent() else { return Ok(()) };
    if !parent.exists() {
        create_durable(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(path, &error)),
        _ => {}
    }
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| failed(parent, &error))
}

/// Whether it is a file with content: no folder, link or device.
pub fn is_regular(stat: &FileStat) -> bool {
    is(stat, SFlag::S_IFREG)
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

/// The folders of a key and the name of its file.
fn split(key: &str) -> (Vec<&str>, &str) {
    let mut parts: Vec<&str> = key.split('/').collect();
    let name = parts.pop().unwrap_or(key);
    (parts, name)
}

#[cfg(test)]
mod tests;
