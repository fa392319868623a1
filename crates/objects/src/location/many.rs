//! Many small objects of one place.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;

use super::{Location, StoreError};

/// How many local files are read in one piece of work: handing each to another thread costs more than reading it.
const FILES_AT_A_TIME: usize = 128;
/// How many requests wait for a store side by side.
const REQUESTS_AT_ONCE: usize = 8;

impl Location {
    /// Each of the objects as a whole, in their order, if it has at most `bytes_max` bytes.
    pub async fn read_all(&self, keys: Vec<String>, bytes_max: u64) -> Vec<Result<Bytes, StoreError>> {
        if self.local_root.is_none() {
            let reads: Vec<_> = keys.iter().map(|key| self.read(key, bytes_max)).collect();
            return futures::stream::iter(reads).buffered(REQUESTS_AT_ONCE).collect().await;
        }
        let mut contents = Vec::with_capacity(keys.len());
        for run in keys.chunks(FILES_AT_A_TIME) {
            let (place, run) = (self.clone(), run.to_vec());
            let read = move || run.iter().map(|key| place.read_local(key, bytes_max)).collect::<Vec<_>>();
            contents.extend(blocking(read).await);
        }
        contents
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

/// The file's content, or its size if that is too much.
fn read_file(path: &Path, bytes_max: u64) -> std::io::Result<Result<Vec<u8>, u64>> {
    let file = std::fs::File::open(path)?;
    let size_bytes = file.metadata()?.len();
    if size_bytes > bytes_max {
        return Ok(Err(size_bytes));
    }
    let mut content = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut content, 0)?;
    Ok(Ok(content))
}

/// Runs work that blocks; it is never abandoned half-way.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being taken down, and with it this future.
            Err(_) => std::future::pending().await,
        },
    }
}
