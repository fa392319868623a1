//! Tries again what failed for a moment.

use crate::failure::Fault;
use crate::permit::Permit;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::future::Future;
use std::time::Duration;

/// A request that failed for a moment is tried again this often before the attempt is given up.
const RETRIES_MAX: usize = 3;
/// The first pause between two tries; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Pauses between the tries of one request.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(RETRY_FIRST).with_max_times(RETRIES_MAX).with_jitter().build()
}

/// Tries again what failed for a moment, as long as there is permission.
pub(crate) async fn with_retries<T, F>(permit: &Permit, mut work: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut pauses = pauses();
    loop {
        permit.check()?;
        match work().await {
            Err(fault) if fault.may_pass() => match pauses.next() {
                Some(pause) => {
                    tracing::debug!(%fault, ?pause, "trying again");
                    permit.unless_ended(tokio::time::sleep(pause)).await?;
                }
                None => return Err(fault),
            },
            done => return done,
        }
    }
}
