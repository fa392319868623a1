//! Real processes: starts nodes and workers of the built binary on loopback, for the stories in `tests/`.
//!
//! Invariant: every process started here is killed when its value is dropped, whatever became of the test.

pub mod chaos;
pub mod checkers;
pub mod cluster;
pub mod faults;
pub mod instant_worker;
pub mod process;
pub mod running_job;
pub mod sightings;
pub mod stores;
pub mod traffic;
pub mod tree;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a story waits for a state before it says that the state never came.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.to_path_buf(), Path::to_path_buf)
}

/// The segments and the snapshot that a real Milvus wrote.
#[must_use]
pub fn sample() -> PathBuf {
    repository().join("crates/snapshot/testdata/milvus-sample")
}

/// `file://` and the path.
#[must_use]
pub fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Asks until the answer is there; states are waited for, never times.
///
/// # Panics
/// When `PATIENCE` is over, naming what was waited for.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
