//! Files below one local folder: no call here reads, writes or deletes anything outside of it, whatever symbolic links a
//! hostile tree contains.
//!
//! Every path is walked part by part from the root's own descriptor without following links. A source may contain links
//! that stay inside the tree; they are resolved first and the result is walked again. A target may contain none.
//! All calls block.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;

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
pub(crate) enum FolderError {
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
    #[error("access to {} is refused: {errno}; give the worker's user the rights", path.display())]
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
    pub(crate) fn of_io(path: &Path, error: &std::io::Error) -> FolderError {
        FolderError::of(path, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
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
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// The file's path, for messages.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Opens a regular file for reading; links that stay inside the tree are followed.
    pub(crate) fn open(&self, key: &str) -> Result<File, FolderError> {
        match self.open_unlinked(key) {
            Err(FolderError::Link { .. }) => self.open_resolved(key),
            opened => opened,
        }
    }

    fn open_unlinked(&self, key: &str) -> Result<File, FolderError> {
        let (folders, name) = split(key);
        let parent = self.walk(&folders, false)?;
        let path = self.path(key);
        let file = openat(&parent, name, READ, Mode::empty()).map_err(|errno| FolderError::of(&path, errno))?;
        let stat = fstat(&file).map_err(|errno| FolderError::of(&path, errno))?;
        if is(&stat, SFlag::S_IFREG) {
            Ok(file.into())
        } else {
            Err(FolderError::Kind { path, expected: "regular file" })
        }
    }

    fn open_resolved(&self, key: &str) -> Result<File, FolderError> {
        let path = self.path(key);
        let resolve = |path: &Path| path.canonicalize().map_err(|error| FolderError::of_io(path, &error));
        let root = resolve(&self.root)?;
        let resolved = resolve(&path)?;
        match resolved.strip_prefix(&root).ok().and_then(Path::to_str) {
            Some(inside) => Folder { root }.open_unlinked(inside),
            None => Err(FolderError::Link { path }),
        }
    }

    /// What is at `key`, links not followed; `None` when nothing is.
    pub(crate) fn stat(&self, key: &str) -> Result<Option<FileStat>, FolderError> {
        let (folders, name) = split(key);
        let found = self
            .walk(&folders, false)
            .and_then(|parent| self.at(key, fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(FolderError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a file that did not exist, with the folders on its way; gives its folder too.
    pub(crate) fn create(&self, key: &str) -> Result<(OwnedFd, File), FolderError> {
        let (folders, name) = split(key);
        let parent = self.walk(&folders, true)?;
        let file = self.at(key, openat(&parent, name, CREATE, FILE_MODE))?;
        Ok((parent, file.into()))
    }

    /// Moves a file into its place, over what may be there, with the folders on its way.
    pub(crate) fn place(&self, from: impl AsFd, name: &str, key: &str) -> Result<(), FolderError> {
        let (folders, target) = split(key);
        let parent = self.walk(&folders, true)?;
        self.at(key, renameat(from, name, &parent, target))
    }

    /// Deletes one file, never a folder; what is not there is deleted already.
    pub(crate) fn delete(&self, key: &str) -> Result<(), FolderError> {
        let (folders, name) = split(key);
        let deleted = self
            .walk(&folders, false)
            .and_then(|parent| self.at(key, unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)));
        match deleted {
            Err(FolderError::Missing { .. }) => Ok(()),
            other => other,
        }
    }

    /// Removes the folders on the way to `key` that are empty, deepest first; the root stays.
    pub(crate) fn remove_empty_parents(&self, key: &str) -> Result<(), FolderError> {
        let (mut folders, _) = split(key);
        while let Some(name) = folders.pop() {
            let removed = self
                .walk(&folders, false)
                .and_then(|parent| self.at(key, unlinkat(&parent, name, UnlinkatFlags::RemoveDir)));
            match removed {
                Ok(()) | Err(FolderError::Missing { .. }) => {}
                Err(FolderError::Io { errno: Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY, .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The names of what is directly in the folder `key`; none when it does not exist.
    pub(crate) fn names(&self, key: &str) -> Result<Vec<String>, FolderError> {
        let folders: Vec<&str> = key.split('/').collect();
        let folder = match self.walk(&folders, false) {
            Err(FolderError::Missing { .. }) => return Ok(Vec::new()),
            folder => folder?,
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
    pub(crate) fn sync_folders<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<(), FolderError> {
        let mut folders = BTreeSet::from([Vec::new()]);
        for key in keys {
            let (parents, _) = split(key);
            folders.extend((1..=parents.len()).map(|depth| parents[..depth].to_vec()));
        }
        for folder in folders {
            let descriptor = self.walk(&folder, false)?;
            self.at(&folder.join("/"), fsync(&descriptor))?;
        }
        Ok(())
    }

    /// Opens the folder at the end of `parts`, making what is missing on the way if asked to.
    fn walk(&self, parts: &[&str], create: bool) -> Result<OwnedFd, FolderError> {
        let mut path = self.root.clone();
        let mut folder = self.open_root(create)?;
        for part in parts {
            path.push(part);
            folder = step(&folder, part, &path, create)?;
        }
        Ok(folder)
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

/// One part of a walk.
fn step(folder: &OwnedFd, part: &str, path: &Path, create: bool) -> Result<OwnedFd, FolderError> {
    let opened = match openat(folder, part, WALK, Mode::empty()) {
        Err(Errno::ENOENT) if create => match mkdirat(folder, part, FOLDER_MODE) {
            Ok(()) | Err(Errno::EEXIST) => openat(folder, part, WALK, Mode::empty()),
            Err(errno) => Err(errno),
        },
        opened => opened,
    };
    opened.map_err(|errno| match fstatat(folder, part, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) if is(&stat, SFlag::S_IFLNK) => FolderError::Link { path: path.to_owned() },
        _ => FolderError::of(path, errno),
    })
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
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Folder) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::fs::write(outer.path().join("secret"), "outside").unwrap();
        (outer, Folder::new(&root))
    }

    fn content(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_link_inside_the_tree_is_read_and_one_out_of_it_is_not() {
        let (outer, folder) = tree();
        symlink("b/file", outer.path().join("root/a/near")).unwrap();
        symlink("a", outer.path().join("root/linked")).unwrap();
        symlink(outer.path().join("secret"), outer.path().join("root/a/far")).unwrap();
        symlink(outer.path(), outer.path().join("root/out")).unwrap();
        assert_eq!(content(folder.open("a/near").unwrap()), "inside");
        assert_eq!(content(folder.open("linked/b/file").unwrap()), "inside");
        assert!(matches!(folder.open("a/far"), Err(FolderError::Link { .. })));
        assert!(matches!(folder.open("out/secret"), Err(FolderError::Link { .. })));
    }

    #[test]
    fn nothing_is_written_or_deleted_through_a_link() {
        let (outer, folder) = tree();
        symlink(outer.path(), outer.path().join("root/out")).unwrap();
        assert!(matches!(folder.create("out/new"), Err(FolderError::Link { .. })));
        assert!(matches!(folder.delete("out/secret"), Err(FolderError::Link { .. })));
        let (parent, _) = folder.create("a/temporary").unwrap();
        assert!(matches!(folder.place(&parent, "temporary", "out/new"), Err(FolderError::Link { .. })));
        assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "outside");
        assert!(!outer.path().join("new").exists());
    }

    #[test]
    fn a_file_is_created_once_and_placed_with_its_folders() {
        let (_outer, folder) = tree();
        let (parent, mut file) = folder.create("temporary/x").unwrap();
        file.write_all(b"new").unwrap();
        assert!(folder.create("temporary/x").is_err(), "an existing file is never opened for writing");
        folder.place(&parent, "x", "deep/er/x").unwrap();
        folder.sync_folders(["deep/er/x"].into_iter()).unwrap();
        assert_eq!(content(folder.open("deep/er/x").unwrap()), "new");
        assert_eq!(folder.names("temporary").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_root_that_does_not_exist_is_made_when_it_is_written_to() {
        let (outer, _) = tree();
        let folder = Folder::new(&outer.path().join("new/root"));
        assert_eq!(folder.stat("x").unwrap().map(|stat| stat.st_size), None);
        folder.create("x").unwrap();
        assert!(outer.path().join("new/root/x").exists());
    }

    #[test]
    fn empty_folders_are_removed_up_to_the_first_that_is_not() {
        let (outer, folder) = tree();
        std::fs::create_dir_all(outer.path().join("root/a/c/d")).unwrap();
        folder.remove_empty_parents("a/c/d/gone").unwrap();
        assert!(!outer.path().join("root/a/c").exists());
        assert!(outer.path().join("root/a/b/file").exists());
    }

    #[test]
    fn deleting_what_is_gone_succeeds_and_a_folder_is_never_deleted() {
        let (outer, folder) = tree();
        folder.delete("a/b/file").unwrap();
        folder.delete("a/b/file").unwrap();
        folder.delete("no/such/file").unwrap();
        assert!(folder.delete("a/b").is_err());
        assert!(outer.path().join("root/a/b").is_dir());
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let (outer, folder) = tree();
        nix::unistd::mkfifo(&outer.path().join("root/pipe"), Mode::S_IRWXU).unwrap();
        assert!(matches!(folder.open("pipe"), Err(FolderError::Kind { .. })));
        assert!(matches!(folder.open("a/b"), Err(FolderError::Kind { .. })));
        assert!(matches!(folder.open("a/b/file/x"), Err(FolderError::Kind { .. })));
        assert!(matches!(folder.open("a/none"), Err(FolderError::Missing { .. })));
    }
}
