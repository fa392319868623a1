//! A way through a folder, part by part from the root's descriptor. It keeps the folders open that it walked last, so that
//! a file beside the one before takes no further steps.

use super::{CREATE, FILE_MODE, FOLDER_MODE, Folder, FolderError, READ, WALK, is, is_regular, split};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// What becomes of a folder that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    IsAnError,
    IsMade,
}

/// How often a folder is made that others remove at the same time.
const WALKS_MAX: usize = 50;

/// How a file is opened to be looked at, whatever it is.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Where a walk is. All calls block.
#[derive(Debug)]
pub struct Walk<'a> {
    folder: &'a Folder,
    root: Option<Arc<OwnedFd>>,
    /// The folders from the root to where it is.
    parts: Vec<(String, Arc<OwnedFd>)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self { folder, root: None, parts: Vec::new() }
    }

    /// Opens a regular file for reading; links that stay inside the tree are followed.
    pub fn open(&mut self, key: &str) -> Result<File, FolderError> {
        match self.open_unlinked(key) {
            Err(FolderError::Link { .. }) => self.folder.open_resolved(key),
            opened => opened,
        }
    }

    pub(super) fn open_unlinked(&mut self, key: &str) -> Result<File, FolderError> {
        let path = self.folder.path(key);
        let file = match self.open_at_once(key, READ) {
            Some(opened) => opened,
            None => {
                let (folders, name) = split(key);
                openat(self.to(&folders, Missing::IsAnError)?, name, READ, Mode::empty())
            }
        };
        let file = file.map_err(|errno| FolderError::of(&path, errno))?;
        let stat = fstat(&file).map_err(|errno| FolderError::of(&path, errno))?;
        if is_regular(&stat) { Ok(file.into()) } else { Err(FolderError::Kind { path, expected: "regular file" }) }
    }

    /// What is at `key`, links not followed; `None` when nothing is.
    pub fn stat(&mut self, key: &str) -> Result<Option<FileStat>, FolderError> {
        let (folders, name) = split(key);
        let folder = self.folder;
        let found = match self.open_at_once(key, LOOK) {
            Some(opened) => folder.at(key, opened.and_then(fstat)),
            None => self
                .to(&folders, Missing::IsAnError)
                .and_then(|parent| folder.at(key, fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW))),
        };
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(FolderError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The whole way in one call that follows no link either. Systems before Linux 5.6 lack it, and some sandboxes forbid
    /// it: `None` then, and wherever walking part by part tells better what is wrong.
    fn open_at_once(&mut self, key: &str, flags: OFlag) -> Option<nix::Result<OwnedFd>> {
        let root = self.root(Missing::IsAnError).ok()?;
        let no_links = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let how = OpenHow::new().flags(flags).resolve(no_links);
        match openat2(root, key, how) {
            Ok(opened) => Some(Ok(opened)),
            Err(Errno::ENOENT) => Some(Err(Errno::ENOENT)),
            Err(_) => None,
        }
    }

    /// Makes a file that did not exist, with the folders on its way; gives its folder too.
    pub fn create(&mut self, key: &str) -> Result<(Arc<OwnedFd>, File), FolderError> {
        let (folders, name) = split(key);
        let folder = self.folder;
        self.in_folder(&folders, |parent| {
            let file = folder.at(key, openat(parent, name, CREATE, FILE_MODE))?;
            Ok((Arc::clone(parent), file.into()))
        })
    }

    /// Moves a file into its place, over what may be there, with the folders on its way.
    pub fn place(&mut self, from: impl AsFd, name: &str, key: &str) -> Result<(), FolderError> {
        let (folders, target) = split(key);
        let folder = self.folder;
        self.in_folder(&folders, |parent| folder.at(key, renameat(&from, name, parent, target)))
    }

    /// An error of the standard library on the file.
    pub fn io_error(&self, key: &str, error: &std::io::Error) -> FolderError {
        FolderError::of_io(&self.folder.path(key), error)
    }

    /// Works in a folder that is made if it is missing. Others may remove it meanwhile, as they do with empty ones: the way
    /// is walked anew a few times before that is an error.
    pub(super) fn in_folder<T>(
        &mut self,
        folders: &[&str],
        work: impl Fn(&Arc<OwnedFd>) -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let mut walks = 1;
        loop {
            match self.to(folders, Missing::IsMade).and_then(|parent| work(&parent)) {
                Err(FolderError::Missing { .. }) if walks < WALKS_MAX => {
                    self.parts.clear();
                    self.root = None;
                    walks += 1;
                }
                done => return done,
            }
        }
    }

    /// Opens the folder at the end of `parts`.
    pub(super) fn to(&mut self, parts: &[&str], missing: Missing) -> Result<Arc<OwnedFd>, FolderError> {
        let known = self.parts.iter().zip(parts).take_while(|((known, _), part)| known == *part).count();
        self.parts.truncate(known);
        let mut at = match self.parts.last() {
            Some((_, folder)) => Arc::clone(folder),
            None => self.root(missing)?,
        };
        let mut path = self.folder.root.join(parts[..known].join("/"));
        // What was just made is empty: what belongs into it need not be looked for.
        let mut is_new = false;
        for part in &parts[known..] {
            path.push(part);
            at = Arc::new(step(&at, part, &path, missing, &mut is_new)?);
            self.parts.push(((*part).to_owned(), Arc::clone(&at)));
        }
        Ok(at)
    }

    fn root(&mut self, missing: Missing) -> Result<Arc<OwnedFd>, FolderError> {
        if let Some(root) = &self.root {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(self.folder.open_root(missing == Missing::IsMade)?);
        self.root = Some(Arc::clone(&root));
        Ok(root)
    }
}

/// One part of a walk.
fn step(
    folder: &OwnedFd,
    part: &str,
    path: &Path,
    missing: Missing,
    is_new: &mut bool,
) -> Result<OwnedFd, FolderError> {
    let opened = match openat_unless(*is_new, folder, part) {
        Err(Errno::ENOENT) if missing == Missing::IsMade => {
            let made = mkdirat(folder, part, FOLDER_MODE);
            *is_new = made.is_ok();
            match made {
                Ok(()) | Err(Errno::EEXIST) => openat(folder, part, WALK, Mode::empty()),
                Err(errno) => Err(errno),
            }
        }
        opened => opened,
    };
    opened.map_err(|errno| match errno {
        Errno::ENOENT => FolderError::of(path, errno),
        _ => match fstatat(folder, part, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if is(&stat, SFlag::S_IFLNK) => FolderError::Link { path: path.to_owned() },
            _ => FolderError::of(path, errno),
        },
    })
}

fn openat_unless(absent: bool, folder: &OwnedFd, part: &str) -> nix::Result<OwnedFd> {
    if absent { Err(Errno::ENOENT) } else { openat(folder, part, WALK, Mode::empty()) }
}
