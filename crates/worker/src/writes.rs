//! Requests of one attempt that make an object appear in a remote store, or disappear, and whether each was answered: one
//! that was not goes on in the store, though its caller gave it up.
//!
//! Parts of an upload do not count, for nothing appears before its completion.

use ferry_objects::{Reason, StoreError, counting_broken, is_final};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The writing requests of one attempt; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    unanswered: Arc<AtomicU64>,
}

impl Writes {
    /// Whether the store can carry out nothing of the attempt any more; true of an attempt that has ended, for good.
    pub(crate) fn are_answered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Counts work of the store that its answer did not end.
    pub(crate) fn goes_on(&self) -> GoesOn {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        GoesOn { unanswered: Arc::clone(&self.unanswered) }
    }

    /// Sends one. It counts as unanswered from now on, also when this future is dropped, until its answer comes; the tries
    /// that a client makes by itself count alike.
    pub(crate) async fn send<T>(&self, request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let answer = counting_broken(Arc::clone(&self.unanswered), request).await;
        if answer.as_ref().map_or_else(is_answer, |_| true) {
            self.unanswered.fetch_sub(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Work of a store that goes on after its answer; it counts as unanswered until it is known to have ended, also when this is
/// dropped before.
#[derive(Debug)]
pub(crate) struct GoesOn {
    unanswered: Arc<AtomicU64>,
}

impl GoesOn {
    /// The store says that it is over.
    pub(crate) fn ended(self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the store does no more about a request that failed: it said so, or it never had the request.
fn is_answer(error: &StoreError) -> bool {
    match error {
        StoreError::Key(_) | StoreError::Missing { .. } | StoreError::TooLarge { .. } => true,
        StoreError::Answer { reason, said, .. } => match reason {
            Reason::Unreachable | Reason::Untrusted | Reason::BadKey | Reason::Unsupported => true,
            Reason::Silent => false,
            Reason::NoBucket
            | Reason::Denied
            | Reason::Expired
            | Reason::Skewed
            | Reason::Archived
            | Reason::Elsewhere
            | Reason::ChecksumDemanded
            | Reason::Throttled
            | Reason::Precondition
            | Reason::Failed => said.status.map_or(said.code.is_some(), is_final),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::Error;
    use std::time::Duration;

    fn error(source: &str) -> StoreError {
        StoreError::of("s3://bucket/a".into(), &Error::Generic { store: "S3", source: source.into() })
    }

    #[tokio::test]
    async fn a_request_that_was_answered_leaves_nothing_behind() {
        for answer in [
            Ok(()),
            Err(error("Server returned non-2xx status code: 429 Too Many Requests")),
            Err(error("Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>")),
            Err(error("Server returned non-2xx status code: 501 Not Implemented: <Code>NotImplemented</Code>")),
            Err(error("error sending request: client error (Connect): tcp connect error")),
            Err(StoreError::Missing { uri: "s3://bucket/a".into() }),
        ] {
            let (writes, shown) = (Writes::default(), format!("{answer:?}"));
            let _ = writes.send(async { answer }).await;
            assert!(writes.are_answered(), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_request_whose_answer_never_came_may_still_be_carried_out() {
        for answer in [
            error("error sending request: connection closed before message completed"),
            error("error sending request: operation timed out"),
            error("Server returned non-2xx status code: 504 Gateway Timeout"),
            error("Server returned non-2xx status code: 500 Internal Server Error: <Code>OperationTimedOut</Code>"),
            error("Server returned non-2xx status code: 408 Request Timeout"),
            StoreError::silent("s3://bucket/a".into(), Duration::from_secs(30)),
        ] {
            let (writes, shown) = (Writes::default(), answer.to_string());
            assert!(writes.send(async { Err::<(), _>(answer) }).await.is_err());
            assert!(!writes.are_answered(), "{shown}");
            assert!(writes.send(async { Ok(()) }).await.is_ok());
            assert!(!writes.are_answered(), "another one's answer is not its own: {shown}");
        }
    }

    #[test]
    fn work_that_goes_on_counts_until_it_is_known_to_have_ended() {
        let writes = Writes::default();
        let work = writes.goes_on();
        assert!(!writes.are_answered());
        work.ended();
        assert!(writes.are_answered());
        drop(writes.goes_on());
        assert!(!writes.are_answered());
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_once_it_was_sent_is_not_answered() {
        let writes = Writes::default();
        let send = writes.send(std::future::pending::<Result<(), StoreError>>());
        assert!(tokio::time::timeout(Duration::from_millis(1), send).await.is_err());
        assert!(!writes.are_answered());
        let never_sent = Writes::default();
        drop(never_sent.send(std::future::pending::<Result<(), StoreError>>()));
        assert!(never_sent.are_answered());
    }
}
