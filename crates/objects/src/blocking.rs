//! Work that blocks, such as that on files, beside the threads that wait for nothing.

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
