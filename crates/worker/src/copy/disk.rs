//! Many small files of one file system become durable at once: one `syncfs` behind their last write takes the place of a
//! sync of each, and another behind their last rename that of a sync of each folder.
//!
//! It waits for what others have written there too, so a file system on which it took long is spared for a while.

use ferry_objects::{Folder, FolderError};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};
use nix::unistd::syncfs;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A sync of a whole file system that takes longer waits for more than what was just written.
pub(super) const SYNC_LONG: Duration = Duration::from_secs(1);
/// How long such a file system is spared.
const SPARED_FOR: Duration = Duration::from_mins(1);
/// From this version of Linux on `syncfs` tells of content and of names that could not be written; of content from 5.8 on.
const KERNEL_MIN: (u32, u32) = (5, 17);

/// What all attempts of a worker have seen of file systems.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disks {
    /// Until when each is spared, by its device.
    spared: Arc<Mutex<BTreeMap<u64, Instant>>>,
}

/// The file system of a target. It is opened before the first write: errors are told from then on.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
    device: u64,
    disks: Disks,
}

impl Disks {
    /// The file system of a folder, which is made if it is missing; `None` where it cannot be trusted to sync as a whole.
    /// Blocks.
    pub(crate) fn open(&self, folder: &Folder, key: &str) -> Result<Option<Disk>, FolderError> {
        let descriptor = folder.make(key)?;
        let path = folder.path(key);
        let of = |errno: Errno| FolderError::of_errno(&path, errno);
        let kind = fstatfs(&*descriptor).map_err(of)?.filesystem_type();
        if ![EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC].contains(&kind) || !kernel_tells_errors() {
            return Ok(None);
        }
        let device = fstat(&*descriptor).map_err(of)?.st_dev;
        Ok(Some(Disk { descriptor, path, device, disks: self.clone() }))
    }
}

#[cfg(test)]
impl Disks {
    /// The file system of a folder, whatever it is: a test does not ask what its temporary folder lies on.
    pub(super) fn open_any(&self, folder: &Folder, key: &str) -> Result<Disk, FolderError> {
        let descriptor = folder.make(key)?;
        let device = fstat(&*descriptor).expect("it is open").st_dev;
        Ok(Disk { descriptor, path: folder.path(key), device, disks: self.clone() })
    }
}

impl Disk {
    /// Whether it took long lately, so that files are better synced one by one.
    pub(crate) fn is_spared(&self) -> bool {
        let mut spared = self.disks.spared.lock().unwrap_or_else(PoisonError::into_inner);
        spared.retain(|_, until| Instant::now() < *until);
        spared.contains_key(&self.device)
    }

    /// Makes durable what was written and renamed before. Blocks.
    pub(crate) fn sync(&self) -> Result<(), FolderError> {
        let began = Instant::now();
        let synced = syncfs(&*self.descriptor);
        self.took(began.elapsed());
        synced.map_err(|errno| FolderError::of_errno(&self.path, errno))
    }

    pub(super) fn took(&self, time: Duration) {
        if time <= SYNC_LONG {
            return;
        }
        let mut spared = self.disks.spared.lock().unwrap_or_else(PoisonError::into_inner);
        if spared.insert(self.device, Instant::now() + SPARED_FOR).is_none() {
            tracing::info!(path = %self.path.display(), ?time, "syncing the file system takes long: files are synced alone");
        }
    }
}

/// Before that version a file whose content was lost would have passed for durable.
fn kernel_tells_errors() -> bool {
    static TELLS: LazyLock<bool> = LazyLock::new(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        version(&release).is_some_and(|version| version >= KERNEL_MIN)
    });
    *TELLS
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_linux_is_told_by_its_first_two_numbers() {
        for (release, expected) in
            [("6.18.44-cloud\n", Some((6, 18))), ("5.8\n", Some((5, 8))), ("4.19-x", Some((4, 19))), ("", None)]
        {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(version("4.19.0").unwrap() < KERNEL_MIN && version("6.1.0").unwrap() > KERNEL_MIN);
    }

    #[test]
    fn a_file_system_that_took_long_is_spared_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let disks = Disks::default();
        let descriptor = Arc::new(OwnedFd::from(std::fs::File::open(folder.path()).unwrap()));
        let disk = |device| Disk {
            descriptor: Arc::clone(&descriptor),
            path: folder.path().to_owned(),
            device,
            disks: disks.clone(),
        };
        let (slow, other) = (disk(1), disk(2));
        slow.took(SYNC_LONG);
        assert!(!slow.is_spared(), "as long as it may take");
        slow.took(SYNC_LONG + Duration::from_millis(1));
        assert!(slow.is_spared() && !other.is_spared());
        disks.spared.lock().unwrap().insert(1, Instant::now());
        assert!(!slow.is_spared(), "it is tried again after a while");
    }

    #[test]
    fn a_target_in_memory_is_no_disk_that_is_synced_as_a_whole() {
        let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
        assert!(Disks::default().open(&Folder::new(folder.path()), "a/b").unwrap().is_none());
        assert!(folder.path().join("a/b").is_dir());
    }
}
