//! Many small objects of one place.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;

use super::{Location, StoreError};
use crate::blocking::blocking;

/// When so much has been read, the rest waits.
const BYTES_AT_A_TIME: usize = 32 << 20;
/// How many requests wait for a store side by side.
const REQUESTS_AT_ONCE: usize = 8;

impl Location {
    /// The first of the objects as a whole, in their order, each if it has at most `bytes_max` bytes: as many as fit into
    /// some memory, and no fewer than `count_min`.
    pub async fn read_first(
        &self,
        keys: Vec<String>,
        count_min: usize,
        bytes_max: u64,
    ) -> Vec<Result<Bytes, StoreError>> {
        if self.local_root.is_some() {
            let place = self.clone();
            return blocking(move || {
                let mut first = First { contents: Vec::new(), count_min, bytes: 0 };
                let mut keys = keys.iter();
                while let Some(key) = keys.next().filter(|_| !first.is_full()) {
                    first.add(place.read_local(key, bytes_max));
                }
                first.contents
            })
            .await;
        }
        let mut first = First { contents: Vec::new(), count_min, bytes: 0 };
        let reads: Vec<_> = keys.iter().map(|key| self.read(key, bytes_max)).collect();
        let mut reads = futures::stream::iter(reads).buffered(REQUESTS_AT_ONCE);
        while let Some(content) = reads.next().await {
            first.add(content);
            if first.is_full() {
                break;
            }
        }
        first.contents
    }

    fn read_local(&self, key: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        let path: PathBuf = self.local_path(key)?.unwrap_or_default();
        match read_file(&path, bytes_max) {
            Ok(Ok(content)) => Ok(content.into()),
            Ok(Err(size_bytes)) => Err(StoreError::TooLarge { uri: self.object_uri(key), size_bytes, bytes_max }),
            Err(error) => {
                let source = object_store::Error::Generic { store: "LocalFileSystem", source: error.into() };
                Err(self.failed(key, &source))
            }
        }
    }
}

/// What was read so far.
struct First {
    contents: Vec<Result<Bytes, StoreError>>,
    count_min: usize,
    bytes: usize,
}

impl First {
    fn add(&mut self, content: Result<Bytes, StoreError>) {
        self.bytes += content.as_ref().map_or(0, Bytes::len);
        self.contents.push(content);
    }

    fn is_full(&self) -> bool {
        self.contents.len() >= self.count_min && self.bytes >= BYTES_AT_A_TIME
    }
}

/// The file's content, or its size if that is too much.
fn read_file(path: &Path, bytes_max: u64) -> std::io::Result<Result<Vec<u8>, u64>> {
    let file = std::fs::File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let size_bytes = meta.len();
    if size_bytes > bytes_max {
        return Ok(Err(size_bytes));
    }
    let mut content = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut content, 0)?;
    Ok(Ok(content))
}
