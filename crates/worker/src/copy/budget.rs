//! The memory of parts that were read and are not yet written: one budget for all attempts of a worker, so that neither
//! more slots nor larger objects make it grow. Buffers of whole parts are used again, because an allocator keeps what
//! threads that come and go give back.

use super::upload::PART_BYTES_MIN;
use crate::failure::Fault;
use crate::permit::Permit;
use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of all parts together: with the buffers of their connections a worker stays below 256 MiB.
const BYTES_MAX: u32 = 64 << 20;

/// What all attempts of a worker share.
#[derive(Clone, Debug)]
pub(crate) struct PartsBudget {
    free: Arc<Semaphore>,
    /// Buffers of a part that nobody has just now.
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Memory that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _bytes: OwnedSemaphorePermit,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// The same as a place for content.
#[derive(Debug)]
pub(super) struct Buffer {
    room: Vec<u8>,
    filled: usize,
    held: Held,
}

impl Default for PartsBudget {
    fn default() -> PartsBudget {
        PartsBudget { free: Arc::new(Semaphore::new(BYTES_MAX as usize)), spare: Arc::default() }
    }
}

impl PartsBudget {
    /// Waits for so many bytes, in the order of the calls. Who waits holds none of them, or nobody might go on.
    pub(super) async fn take(&self, bytes: u64, permit: &Permit) -> Result<Held, Fault> {
        let taken = Arc::clone(&self.free).acquire_many_owned(share(bytes));
        match permit.unless_ended(taken).await? {
            Ok(bytes) => Ok(self.held(bytes)),
            // The semaphore is never closed.
            Err(_) => Err(Fault::Stopped),
        }
    }

    /// The same for one who holds some already: `None` where it would have to wait.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Held> {
        let taken = Arc::clone(&self.free).try_acquire_many_owned(share(bytes));
        taken.ok().map(|bytes| self.held(bytes))
    }

    fn held(&self, bytes: OwnedSemaphorePermit) -> Held {
        Held { _bytes: bytes, spare: Arc::clone(&self.spare) }
    }
}

impl Held {
    /// A place for so many bytes, no more than were taken.
    pub(super) fn buffer(self, bytes: u64) -> Buffer {
        let spare = (bytes == PART_BYTES_MIN).then(|| spare(&self.spare).pop()).flatten();
        let room = spare.unwrap_or_else(|| vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)]);
        Buffer { room, filled: 0, held: self }
    }
}

fn spare(spare: &Mutex<Vec<Vec<u8>>>) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Adds to the content what fits, which is all that the caller asked its source for.
    pub(super) fn extend(&mut self, content: &[u8]) {
        debug_assert!(content.len() <= self.room.len() - self.filled, "more came than was asked for");
        let count = content.len().min(self.room.len() - self.filled);
        self.room[self.filled..self.filled + count].copy_from_slice(&content[..count]);
        self.filled += count;
    }

    /// Adds up to `size` bytes of a file from `offset` on; tells how many there were.
    pub(super) fn read_at(&mut self, file: &File, offset: u64, size: u64) -> std::io::Result<usize> {
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(self.room.len() - self.filled);
        loop {
            match file.read_at(&mut self.room[self.filled..self.filled + size], offset) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.filled += count;
                    return Ok(count);
                }
            }
        }
    }

    /// The content; its memory is given back when nobody has it any more.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.room.len() as u64 == PART_BYTES_MIN {
            spare(&self.held.spare).push(std::mem::take(&mut self.room));
        }
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

    #[tokio::test]
    async fn the_memory_of_a_part_is_given_back_with_its_last_content_and_used_again() {
        let budget = PartsBudget::default();
        let mut buffer = budget.try_take(PART_BYTES_MIN).unwrap().buffer(PART_BYTES_MIN);
        buffer.extend(b"some");
        buffer.extend(b"thing");
        let content = buffer.freeze();
        let rest = content.slice(4..);
        assert_eq!((&content[..], &rest[..]), (&b"something"[..], &b"thing"[..]));
        drop(content);
        assert!(budget.try_take(u64::MAX).is_none(), "some of it is in use");
        drop(rest);
        assert!(budget.try_take(u64::MAX).is_some());
        assert_eq!(budget.spare.lock().unwrap().len(), 1);
        let again = budget.try_take(PART_BYTES_MIN).unwrap().buffer(PART_BYTES_MIN);
        assert_eq!((again.as_ref().len(), budget.spare.lock().unwrap().len()), (0, 0), "it begins empty");
    }
}
