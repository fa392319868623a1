//! A file under a temporary name in the attempt's own folder: it gets its real name when it is complete, synced and
//! verified, and is removed when it never does.

use crate::failure::{Fault, Side};
use crate::permit::Permit;
use crate::place::{checksum_of, io_fault};
use ferry_objects::{Checksum, Folder, Walk};
use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// How much is moved at a time where the system cannot copy between two files itself.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that is being written. All calls block.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    folder: Arc<Folder>,
    name: TemporaryName,
    key: String,
    file: File,
}

/// The name of a file that is not to last. What has none of its own in the end is removed.
#[derive(Debug)]
pub(super) struct TemporaryName {
    parent: Arc<OwnedFd>,
    name: String,
    placed: AtomicBool,
}

impl TemporaryFile {
    /// Makes an empty one in the folder with that key.
    pub(super) fn create(folder: &Arc<Folder>, folder_key: &str) -> Result<TemporaryFile, Fault> {
        TemporaryFile::create_by(&mut folder.walk(), folder, folder_key)
    }

    /// The same, by a walk of that folder. Its name begins with a random one of the process, so that no two attempts ever
    /// share a file.
    pub(super) fn create_by(
        walk: &mut Walk<'_>,
        folder: &Arc<Folder>,
        folder_key: &str,
    ) -> Result<TemporaryFile, Fault> {
        static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
        let key = format!("{folder_key}/{name}");
        let (parent, file) = walk.create(&key).map_err(|error| Fault::of_folder(&error, Side::Target))?;
        let name = TemporaryName { parent, name, placed: AtomicBool::new(false) };
        Ok(TemporaryFile { folder: Arc::clone(folder), name, key, file })
    }

    /// Copies up to `count` bytes of `source` from `offset` to the same offset here; fewer only at the source's end.
    pub(super) fn copy_from(
        &self,
        source: &File,
        offset: u64,
        count: u64,
        source_fault: impl Fn(&std::io::Error) -> Fault,
    ) -> Result<u64, Fault> {
        let mut copied = 0;
        while copied < count {
            let at = offset + copied;
            let moved = match self.copy_range(source, at, count - copied) {
                Ok(0) => self.copy_buffered(source, at, count - copied, &source_fault)?,
                Ok(moved) => moved,
                Err(Errno::EINTR) => continue,
                // File systems refuse with all kinds of errors what reading and writing can do; a real fault shows there too.
                Err(_) => self.copy_buffered(source, at, count - copied, &source_fault)?,
            };
            if moved == 0 {
                break;
            }
            copied += moved;
        }
        Ok(copied)
    }

    fn copy_range(&self, source: &File, offset: u64, count: u64) -> nix::Result<u64> {
        let (Ok(mut from), Ok(count)) = (i64::try_from(offset), usize::try_from(count)) else {
            return Err(Errno::EINVAL);
        };
        let mut to = from;
        copy_file_range(source, Some(&mut from), &self.file, Some(&mut to), count).map(|moved| moved as u64)
    }

    fn copy_buffered(
        &self,
        source: &File,
        offset: u64,
        count: u64,
        source_fault: impl Fn(&std::io::Error) -> Fault,
    ) -> Result<u64, Fault> {
        let size = usize::try_from(count).map_or(BUFFER_BYTES, |count| count.min(BUFFER_BYTES));
        let mut buffer = vec![0; size];
        let read = loop {
            match source.read_at(&mut buffer, offset) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| source_fault(&error))?,
            }
        };
        self.write_at(&buffer[..read], offset)?;
        Ok(read as u64)
    }

    /// Writes a chunk at its offset.
    pub(super) fn write_at(&self, chunk: &[u8], offset: u64) -> Result<(), Fault> {
        self.file.write_all_at(chunk, offset).map_err(|error| self.fault(&error))
    }

    /// Makes the content durable.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        self.file.sync_all().map_err(|error| self.fault(&error))
    }

    /// The size as it was written.
    pub(super) fn size_bytes(&self) -> Result<u64, Fault> {
        self.file.metadata().map(|meta| meta.len()).map_err(|error| self.fault(&error))
    }

    /// The content's checksum, read back.
    pub(super) fn checksum(&self, permit: &Permit) -> Result<Checksum, Fault> {
        checksum_of(&self.file, permit, |error| self.fault(error))
    }

    /// Gives the file its real name, if that is still permitted.
    pub(super) fn place(&self, key: &str, permit: &Permit) -> Result<(), Fault> {
        self.place_by(&mut self.folder.walk(), key, permit)
    }

    /// The same, by a walk of the folder.
    pub(super) fn place_by(&self, walk: &mut Walk<'_>, key: &str, permit: &Permit) -> Result<(), Fault> {
        self.name.place_by(walk, key, permit)
    }

    /// Closes the file, which is as it is to be but for its name.
    pub(super) fn close(self) -> TemporaryName {
        self.name
    }

    fn fault(&self, error: &std::io::Error) -> Fault {
        io_fault(&self.folder, &self.key, error, Side::Target)
    }
}

impl TemporaryName {
    /// Gives the file its real name, if that is still permitted.
    pub(super) fn place_by(&self, walk: &mut Walk<'_>, key: &str, permit: &Permit) -> Result<(), Fault> {
        permit.check()?;
        let placed = walk.place(&self.parent, &self.name, key);
        placed.map_err(|error| Fault::of_folder(&error, Side::Target))?;
        self.placed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if !self.placed.load(Ordering::Relaxed) {
            // Best effort: the next attempt and the clean-up remove what stays.
            let _ = unlinkat(&self.parent, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
