//! A small disk of its own: an ext4 image on a loop device that can be filled, frozen, and lose its power.
//!
//! Invariant: when the value is dropped, also by a test that fails, the disk is thawed and unmounted, and its loop device
//! is free again. A test that is killed leaves them behind.

use super::run;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is needed to make and mount one.
pub const TOOLS: &[&str] = &["mkfs.ext4", "mount", "umount", "losetup"];
/// What losing power needs.
pub const POWER_LOSS_TOOLS: &[&str] = &["mkfs.ext4", "mount", "umount", "losetup", "xfs_io"];
/// What freezing needs.
pub const FREEZE_TOOLS: &[&str] = &["mkfs.ext4", "mount", "umount", "losetup", "fsfreeze"];

/// Bytes written at once into the ballast, halved until not one more fits.
const BALLAST_STEP_BYTES: usize = 1 << 20;

/// A disk, mounted or not.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
    mounted: bool,
    frozen: bool,
    copies: u32,
}

impl Disk {
    /// Makes a disk of so many bytes, sparse until written, and mounts it at `folder`; its image lies beside that.
    ///
    /// # Panics
    /// Where a tool or a right is missing, naming it.
    #[must_use]
    pub fn create(folder: &Path, bytes: u64) -> Self {
        let image = folder.with_extension("image");
        fs::create_dir_all(folder).expect("the folder of a disk can be made");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("the image of a disk can be made");
        // No blocks are kept back for root, so that a full disk is full for the node, which runs as root here.
        must(run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0", &text(&image)]));
        let mut disk = Self { image, folder: folder.to_path_buf(), mounted: false, frozen: false, copies: 0 };
        disk.mount();
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Mounts it, which replays its journal.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mount(&mut self) {
        if is_held(&self.image) {
            // Another process's mount namespace holds the dead file system, and mounting the image would give that back.
            let copy = self.image.with_extension(format!("image-{}", self.copies));
            must(run("cp", &["--sparse=always", &text(&self.image), &text(&copy)]));
            fs::remove_file(&self.image).expect("the old image can be removed");
            self.image = copy;
            self.copies += 1;
        }
        // The loop device frees itself when its last user is gone.
        must(run("mount", &["-o", "loop,noatime", &text(&self.image), &text(&self.folder)]));
        self.mounted = true;
    }

    /// Unmounts it.
    ///
    /// # Panics
    /// When a process still uses it.
    pub fn unmount(&mut self) {
        must(run("umount", &[&text(&self.folder)]));
        self.mounted = false;
    }

    /// Takes every byte that is left, with a ballast file.
    ///
    /// # Panics
    /// When the ballast meets another error than the one wanted.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("a ballast file");
        let mut step = BALLAST_STEP_BYTES;
        while step > 0 {
            match ballast.write_all(&vec![b'x'; step]).and_then(|()| ballast.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => step /= 2,
                Err(error) => panic!("{} cannot be filled: {error}", self.folder.display()),
            }
        }
    }

    /// Removes the ballast.
    ///
    /// # Panics
    /// When there is none.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the ballast can be removed");
        File::open(&self.folder).and_then(|folder| folder.sync_all()).expect("the disk can be synced");
    }

    /// The power goes: from now on every access fails, and what was not synced is gone after the next `mount`.
    ///
    /// # Panics
    /// Where a tool or a right is missing, naming it.
    pub fn lose_power(&self) {
        // Without its argument -f the journal is not flushed either, which is what losing power means.
        must(run("xfs_io", &["-x", "-c", "shutdown", &text(&self.folder)]));
    }

    /// The power comes back, once no process uses the disk any more.
    ///
    /// # Panics
    /// When one still does.
    pub fn restore_power(&mut self) {
        self.unmount();
        self.mount();
    }

    /// Every write and sync hangs from now on.
    ///
    /// # Panics
    /// Where a tool or a right is missing, naming it.
    pub fn freeze(&mut self) {
        must(run("fsfreeze", &["--freeze", &text(&self.folder)]));
        self.frozen = true;
    }

    /// Writes and syncs go on; where they do already, nothing happens.
    ///
    /// # Panics
    /// When it cannot be thawed.
    pub fn thaw(&mut self) {
        if !self.frozen {
            return;
        }
        must(run("fsfreeze", &["--unfreeze", &text(&self.folder)]));
        self.frozen = false;
    }

    /// Thaws it where it is frozen, for a value that is being dropped: says what goes wrong, and goes on.
    pub(crate) fn release(&mut self) {
        if std::mem::take(&mut self.frozen) {
            report(run("fsfreeze", &["--unfreeze", &text(&self.folder)]));
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.release();
        if self.mounted {
            // A process that a failed test left behind must not keep the disk in the tree of folders.
            report(run("umount", &["--lazy", &text(&self.folder)]));
        }
        report(fs::remove_file(&self.image).map_err(|error| format!("{}: {error}", self.image.display())));
    }
}

/// Whether a loop device still has the image.
fn is_held(image: &Path) -> bool {
    let listed = Command::new("losetup").arg("--associated").arg(image).output();
    let listed = listed.unwrap_or_else(|error| panic!("losetup cannot be started: {error}; run scripts/setup"));
    !listed.stdout.is_empty()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn must(done: Result<(), String>) {
    done.unwrap_or_else(|reason| panic!("{reason}"));
}

/// A value that is being dropped cannot fail its test any more.
fn report(done: Result<(), String>) {
    if let Err(reason) = done {
        eprintln!("a disk was not cleaned up: {reason}");
    }
}
