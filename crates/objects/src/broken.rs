//! Requests that broke without an answer. A client tries such a one again by itself, and its caller hears only of the last
//! try, while the store may carry out each of them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static BROKEN: Arc<AtomicU64>;
}

/// Counts in `broken` each request of `work` that was sent and broke without an answer, whatever came of the next try.
pub async fn counting_broken<T>(broken: Arc<AtomicU64>, work: impl Future<Output = T>) -> T {
    BROKEN.scope(broken, work).await
}

/// Whether an answer of this status says that the store does no more about the request: 500, 502, 504 and 408 may be said of
/// one that goes on, by what stands before the store too. 501 and 503 refuse it.
pub fn is_final(status: u16) -> bool {
    matches!(status, 501 | 503) || (status < 500 && status != 408)
}

/// A request broke after it was sent.
pub(crate) fn note_broken() {
    // Where nobody counts, nobody asks.
    let _ = BROKEN.try_with(|broken| broken.fetch_add(1, Ordering::Relaxed));
}
