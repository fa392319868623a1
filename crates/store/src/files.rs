//! Small files and folders that survive power loss: what is written here is on disk, whole, when the call returns.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Something could not be done with a file or folder.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", path.display(), next_step_of_io(source))]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

/// What to do about a disk that is full.
const FREE_SPACE: &str = "the disk is full: free space on it, then start the node again";

fn next_step_of_io(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FREE_SPACE,
        _ => "check the disk and the rights of the folder, then start the node again",
    }
}

/// What to do about an error of a database that was open.
pub(crate) fn next_step_of_engine(error: &rocksdb::Error) -> &'static str {
    // RocksDB gives no kind of its own to a full disk; its message ends with what the system said.
    let message = error.to_string();
    if message.contains("No space left on device") || message.contains("Disk quota exceeded") {
        return FREE_SPACE;
    }
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return "the file is damaged: remove this node from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)";
    }
    "check the disk, then restart the node; if it does not start, remove it from the cluster (`ferry cluster remove-node`), empty its folder and add it under a new id (`ferry cluster add-node`)"
}

/// Gives an IO result the name of the file it was about.
pub(crate) trait Named<T> {
    fn named(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_path_buf(), source: Arc::new(source) })
    }
}

/// The bytes of a file, or `None` where there is none.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some).named("read", path),
    }
}

/// Replaces a file as a whole: after a crash there is the old one or the new one, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary).named("create", &temporary)?;
    file.write_all(bytes).named("write", &temporary)?;
    file.sync_all().named("sync", &temporary)?;
    fs::rename(&temporary, path).named("rename the temporary file to", path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// What a planted bug takes for the above: the file is replaced as a whole, but not durably.
pub(crate) fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).named("write", &temporary)?;
    fs::rename(&temporary, path).named("rename the temporary file to", path)
}

/// Gives a file or folder another name in the same file system; `sync_folder` makes that durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).named("rename to", to)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), FileError> {
    File::open(folder).and_then(|handle| handle.sync_all()).named("sync the folder", folder)
}

/// Makes a folder, and those above it, where they do not exist.
pub(crate) fn create_folder(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(above)?;
    match fs::create_dir(folder) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        created => created.named("create the folder", folder)?,
    }
    sync_folder(above)
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.named("remove", folder),
    }
}

/// Names of the entries of a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>, FileError> {
    let entries = fs::read_dir(folder).named("list", folder)?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.named("list", folder)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A number that no other call gives, on this machine or another.
pub(crate) fn nonce() -> u64 {
    // Each RandomState has new keys from the system's randomness, which is all a nonce needs.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// A name that no folder had before: `<prefix>-<index>-<nonce>`.
pub(crate) fn unique_name(prefix: &str, index: u64) -> String {
    format!("{prefix}-{index}-{:016x}", nonce())
}

/// The index in a name made by `unique_name`; `None` for any other name.
pub(crate) fn index_of(name: &str, prefix: &str) -> Option<u64> {
    let (index, nonce) = name.strip_prefix(prefix)?.strip_prefix('-')?.split_once('-')?;
    let is_nonce = nonce.len() == 16 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_nonce.then(|| index.parse().ok())?
}
