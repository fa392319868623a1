//! A client that writes durably without a pause, and when each of its writes was acknowledged.

use anyhow::bail;
use ferry_client::Client;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// As many ids as a leader reserves at once: each call needs a reservation of its own, which goes through the log.
pub(crate) const IDS_PER_WRITE: u32 = 10_000;
/// After a failure, so that a cluster that refuses at once does not fill the memory with its refusals.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Without a write for this long, a cluster does not come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// The writer; it ends with the value.
pub(crate) struct Writer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    acknowledged_at: Vec<Instant>,
    failures: Vec<String>,
}

impl Writer {
    /// Begins to write.
    pub(crate) fn start(client: Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let written = client.allocate_ids(IDS_PER_WRITE).await;
                match written {
                    Ok(_) => lock(&noted).acknowledged_at.push(Instant::now()),
                    Err(error) => {
                        lock(&noted).failures.push(error.to_string());
                        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// Writes that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        lock(&self.seen).acknowledged_at.len()
    }

    /// What writes failed with so far, though the client had tried again for as long as it does.
    pub(crate) fn failures(&self) -> Vec<String> {
        lock(&self.seen).failures.clone()
    }

    /// The longest time between two acknowledgements one after the other, of those that end after `from`.
    pub(crate) fn longest_gap_since(&self, from: Instant) -> Duration {
        let seen = lock(&self.seen);
        let pairs = seen.acknowledged_at.windows(2);
        pairs.filter(|pair| pair[1] > from).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// Waits until another `count` writes are acknowledged; fails when they stop coming.
    pub(crate) async fn another(&self, count: usize) -> anyhow::Result<()> {
        let enough = self.acknowledged() + count;
        let mut progress = (self.acknowledged(), Instant::now());
        while self.acknowledged() < enough {
            if self.acknowledged() > progress.0 {
                progress = (self.acknowledged(), Instant::now());
            } else if progress.1.elapsed() > PATIENCE {
                let failure = self.failures().pop().unwrap_or_else(|| "none failed".to_owned());
                bail!("no write was acknowledged for {PATIENCE:?}; the last failure: {failure}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
