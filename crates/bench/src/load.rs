//! A closed loop of clients: each makes its next call when the last one was answered, for a fixed time.

use crate::distribution::Distribution;
use futures::future::try_join_all;
use std::time::{Duration, Instant};

/// Connections that the clients of one load share, to Ferry and to its peer alike.
pub(crate) const CONNECTIONS: usize = 16;
/// Calls before this are made but not measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// What the clients saw.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Distribution,
}

impl Load {
    /// Calls that took this long each and were all done within `took`.
    pub(crate) fn new(latencies: Vec<Duration>, took: Duration) -> Self {
        let per_second = latencies.len() as f64 / took.as_secs_f64();
        Self { per_second, latencies: Distribution::of(latencies) }
    }
}

/// Lets `clients` call for this long. `make` makes the calls of one client, by its number; the first that fails ends all.
pub(crate) async fn drive<M, C, F>(clients: usize, length: Duration, make: M) -> anyhow::Result<Load>
where
    M: Fn(usize) -> C,
    C: FnMut() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let from = Instant::now() + WARM_UP;
    let until = from + length;
    let running = (0..clients).map(|client| tokio::spawn(repeat(make(client), from, until)));
    let mut latencies = Vec::new();
    for measured in try_join_all(running).await? {
        latencies.extend(measured?);
    }
    Ok(Load::new(latencies, length))
}

/// How long each call took that was answered between these moments.
async fn repeat<C, F>(mut call: C, from: Instant, until: Instant) -> anyhow::Result<Vec<Duration>>
where
    C: FnMut() -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut latencies = Vec::new();
    loop {
        let began = Instant::now();
        call().await?;
        let ended = Instant::now();
        if ended >= until {
            return Ok(latencies);
        }
        if ended >= from {
            latencies.push(ended - began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn every_client_calls_one_call_at_a_time_and_a_failure_ends_the_load() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let load = drive(3, Duration::from_millis(200), |_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            move || {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }
            }
        });
        let load = load.await.expect("no call fails");
        assert!(most.load(Ordering::SeqCst) <= 3 && load.latencies.count() > 0);
        assert!((load.per_second * 0.2 - load.latencies.count() as f64).abs() < 0.001);
        let failing = drive(2, Duration::from_secs(60), |_| || async { anyhow::bail!("refused") });
        assert_eq!(failing.await.err().map(|error| error.to_string()).as_deref(), Some("refused"));
    }
}
