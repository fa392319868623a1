//! The memory of parts that were read and are not yet written: one budget for all attempts of a worker, so that neither
//! more slots nor larger objects make it grow.

use crate::failure::Fault;
use crate::permit::Permit;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of all parts together: with the buffers of their connections a worker stays below 256 MiB.
const BYTES_MAX: u32 = 96 << 20;

/// What all attempts of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct PartsBudget {
    free: Arc<Semaphore>,
}

/// Memory that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _bytes: OwnedSemaphorePermit,
}

impl Default for PartsBudget {
    fn default() -> PartsBudget {
        PartsBudget { free: Arc::new(Semaphore::new(BYTES_MAX as usize)) }
    }
}

impl PartsBudget {
    /// Waits for so many bytes, in the order of the calls. Who waits holds none of them, or nobody might go on.
    pub(super) async fn take(&self, bytes: u64, permit: &Permit) -> Result<Held, Fault> {
        let taken = Arc::clone(&self.free).acquire_many_owned(share(bytes));
        match permit.unless_ended(taken).await? {
            Ok(bytes) => Ok(Held { _bytes: bytes }),
            // The semaphore is never closed.
            Err(_) => Err(Fault::Stopped),
        }
    }

    /// The same for one who holds some already: `None` where it would have to wait.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Held> {
        let taken = Arc::clone(&self.free).try_acquire_many_owned(share(bytes));
        taken.ok().map(|bytes| Held { _bytes: bytes })
    }
}

/// Parts of more than the whole budget, which objects of a terabyte have, go one at a time.
fn share(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Term;
    use std::time::{Duration, Instant};
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn what_is_held_is_given_back_and_one_who_waits_comes_before_one_who_tries() {
        let term = Term { number: 1, ends_at: Instant::now() + Duration::from_secs(600) };
        let stop = CancellationToken::new();
        let (_lease, watched) = watch::channel(Some(term));
        let permit = Permit::new(term, watched, stop.clone());
        let budget = PartsBudget::default();
        let most = budget.take(u64::from(BYTES_MAX) - 1, &permit).await.unwrap();
        let waiting = tokio::spawn({
            let (budget, permit) = (budget.clone(), permit.clone());
            async move { budget.take(u64::MAX, &permit).await.map(drop) }
        });
        while budget.free.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(budget.try_take(1).is_none(), "the byte that is left belongs to who waits");
        drop(most);
        assert_eq!(waiting.await.unwrap(), Ok(()), "more than there can be is all that there is");
        let all = budget.try_take(u64::MAX).unwrap();
        stop.cancel();
        assert_eq!(budget.take(1, &permit).await.map(drop), Err(Fault::Stopped));
        drop(all);
    }
}
