//! What a checkpoint holds: every file with its size and CRC32C, and where the rows in it are, as read from inside.

use super::Checkpoint;
use crate::files::{self, FileError, Named};
use crate::options::Engine;
use crate::rows::{Generation, RowsError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FORMAT_VERSION: u32 = 1;
const FILE_NAME: &str = "manifest.json";

/// A checkpoint is not what its manifest says, or has none that can be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest itself.
    #[error("the manifest of the checkpoint {checkpoint} cannot be read: {reason}; a new checkpoint is made or sent")]
    Unreadable {
        /// Which checkpoint.
        checkpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file differs.
    #[error(
        "{file} of checkpoint {} has {found}, its manifest says {expected}: the file is damaged or incomplete; a new checkpoint is made or sent",
        folder.display()
    )]
    Differs {
        /// Which checkpoint.
        folder: PathBuf,
        /// Which file.
        file: String,
        /// What was found.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// The rows inside cannot be read.
    #[error(transparent)]
    Rows(#[from] Box<RowsError>),
}

/// The list of a checkpoint's files and where its rows are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format_version: u32,
    /// Index of the last entry that is applied in it.
    pub index: u64,
    /// Raft's marker of that entry.
    #[serde(with = "hexadecimal")]
    pub applied: Vec<u8>,
    /// Raft's membership as of that entry; empty where none was written.
    #[serde(with = "hexadecimal")]
    pub membership: Vec<u8>,
    /// Its files, by name.
    pub files: Vec<CheckpointFile>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Name in the checkpoint's folder.
    pub name: String,
    /// Its length.
    pub size_bytes: u64,
    /// CRC32C of all its bytes.
    pub crc32c: u32,
}

impl Manifest {
    /// The manifest as it is written to disk and sent.
    pub fn encode(&self) -> Vec<u8> {
        // Maps with string keys and numbers only: nothing in it that JSON could refuse.
        serde_json::to_vec_pretty(self).expect("a manifest is always JSON")
    }

    /// Reads what `encode` made, as it came from another node.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::parse(bytes)
            .map_err(|reason| ManifestError::Unreadable { checkpoint: "that was received".to_owned(), reason })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.format_version != FORMAT_VERSION {
            let found = manifest.format_version;
            return Err(format!("it has version {found}, this program reads version {FORMAT_VERSION}"));
        }
        match manifest.files.iter().find(|file| !is_plain(&file.name)) {
            Some(file) => Err(format!("it names the file {:?}", file.name)),
            None => Ok(manifest),
        }
    }

    /// Describes a new checkpoint; `None` where nothing is applied in it. Tables it shares with `former`, being the
    /// same file on disk, are not read again.
    pub(super) fn describe(
        folder: &Path,
        engine: &Engine,
        former: Option<&Checkpoint>,
    ) -> Result<Option<Self>, ManifestError> {
        let known = former.map_or_else(|| Ok(BTreeMap::new()), known_checksums)?;
        let mut described = Vec::new();
        for name in files::names_in(folder)? {
            let path = folder.join(&name);
            let metadata = fs::metadata(&path).named("look at", &path)?;
            let crc32c = match known.get(&(metadata.dev(), metadata.ino())) {
                Some(crc32c) => *crc32c,
                None => checksum(&path)?,
            };
            described.push(CheckpointFile { name, size_bytes: metadata.len(), crc32c });
        }
        let inside = Generation::open_read_only(folder.to_path_buf(), engine).map_err(Box::new)?;
        let Some((index, applied)) = inside.applied().map_err(Box::new)? else { return Ok(None) };
        let membership = inside.membership().map_err(Box::new)?.unwrap_or_default();
        Ok(Some(Self { format_version: FORMAT_VERSION, index, applied, membership, files: described }))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), FileError> {
        files::write_atomically(&folder.join(FILE_NAME), &self.encode())
    }

    /// Reads the manifest in a folder and looks whether every file is there and has its size.
    pub(super) fn load(folder: &Path) -> Result<Self, ManifestError> {
        let bytes = files::read_optional(&folder.join(FILE_NAME))?;
        let parsed = bytes.map_or_else(|| Err("there is none".to_owned()), |bytes| Self::parse(&bytes));
        let manifest = parsed.map_err(|reason| {
            let checkpoint = format!("in {}", folder.display());
            ManifestError::Unreadable { checkpoint, reason }
        })?;
        manifest.verify_sizes(folder)?;
        Ok(manifest)
    }

    /// Reads every file and compares it with the manifest.
    pub(super) fn verify(&self, folder: &Path) -> Result<(), ManifestError> {
        self.verify_sizes(folder)?;
        for file in &self.files {
            let found = checksum(&folder.join(&file.name))?;
            if found != file.crc32c {
                let text = |crc32c: u32| format!("the checksum {crc32c:08x}");
                return Err(file.differs(folder, text(found), text(file.crc32c)));
            }
        }
        Ok(())
    }

    fn verify_sizes(&self, folder: &Path) -> Result<(), ManifestError> {
        for file in &self.files {
            let text = |bytes: u64| format!("{bytes} bytes");
            let found = match fs::metadata(folder.join(&file.name)) {
                Ok(metadata) if metadata.len() == file.size_bytes => continue,
                Ok(metadata) => text(metadata.len()),
                Err(error) => error.to_string(),
            };
            return Err(file.differs(folder, found, text(file.size_bytes)));
        }
        Ok(())
    }

    /// Compares what the manifest says of the rows with the rows themselves.
    pub(crate) fn expect(&self, rows: &Generation) -> Result<(), ManifestError> {
        let applied = rows.applied().map_err(Box::new)?;
        let membership = rows.membership().map_err(Box::new)?.unwrap_or_default();
        if applied.as_ref() == Some(&(self.index, self.applied.clone())) && membership == self.membership {
            return Ok(());
        }
        let text = |index: u64| format!("rows up to entry {index}");
        Err(ManifestError::Differs {
            folder: rows.path().to_path_buf(),
            file: "the database".into(),
            found: applied.map_or_else(|| "no rows".to_owned(), |(index, _)| text(index)),
            expected: text(self.index),
        })
    }
}

impl CheckpointFile {
    fn differs(&self, folder: &Path, found: String, expected: String) -> ManifestError {
        ManifestError::Differs { folder: folder.to_path_buf(), file: self.name.clone(), found, expected }
    }
}

/// Whether a name is one that RocksDB gives, and so cannot lead out of a folder or onto the manifest.
pub(super) fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name != FILE_NAME && name.bytes().all(is_plain)
}

/// Checksums of the files of a checkpoint, by their place on the disk.
fn known_checksums(checkpoint: &Checkpoint) -> Result<BTreeMap<(u64, u64), u32>, FileError> {
    let tables = checkpoint.manifest().files.iter().filter(|file| file.name.ends_with(".sst"));
    let place = |file: &CheckpointFile| {
        let path = checkpoint.folder().join(&file.name);
        let metadata = fs::metadata(&path).named("look at", &path)?;
        Ok(((metadata.dev(), metadata.ino()), file.crc32c))
    };
    tables.map(place).collect()
}

fn checksum(path: &Path) -> Result<u32, FileError> {
    let mut file = File::open(path).named("open", path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut checksum = 0;
    loop {
        let read = file.read(&mut buffer).named("read", path)?;
        if read == 0 {
            return Ok(checksum);
        }
        checksum = crc32c::crc32c_append(checksum, &buffer[..read]);
    }
}

/// Bytes as hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("an odd number of hexadecimal digits"));
        }
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.ok_or_else(|| D::Error::custom("not a hexadecimal digit"))
    }
}
