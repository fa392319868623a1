//! A client that writes durably without a pause, and when each of its writes was acknowledged.

use ferry_client::Client;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// As many ids as a leader reserves at once: each call needs a reservation of its own, which goes through the log.
const IDS_PER_WRITE: u32 = 10_000;

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
                let mut noted = lock(&noted);
                match written {
                    Ok(_) => noted.acknowledged_at.push(Instant::now()),
                    Err(error) => noted.failures.push(error.to_string()),
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

    /// Waits until another `count` writes are acknowledged.
    pub(crate) async fn another(&self, count: usize) {
        let enough = self.acknowledged() + count;
        while self.acknowledged() < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
