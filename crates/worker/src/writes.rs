//! Requests of one attempt that make an object appear in a remote store, or disappear, and whether each was answered: one
//! that was not goes on in the store, though its caller gave it up.
//!
//! Once all were answered, or none was sent yet, and none followed for a while, they have settled: the leader is told, and the next one waits until
//! the leader knows that the attempt writes again. So an attempt whose worker dies meanwhile is known to come late with nothing.
//!
//! Parts of an upload do not count, for nothing appears before its completion.

use ferry_objects::{Reason, StoreError, counting_broken, is_final};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Requests that follow one another within this time are not asked for one by one.
const SETTLES_AFTER: Duration = Duration::from_millis(20);

/// The writing requests of one attempt; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    unanswered: Arc<AtomicU64>,
    gate: Arc<Gate>,
}

/// What requests have to pass.
#[derive(Debug, Default)]
struct Gate {
    passage: Mutex<Passage>,
    opened: Notify,
    /// Whom it wakes when the leader has to hear of it; without a session nothing settles.
    session: Option<Arc<Notify>>,
}

#[derive(Debug, Default)]
struct Passage {
    phase: Phase,
    /// Requests that have passed.
    begun: u64,
    /// Somebody looks whether they have settled.
    watched: bool,
    may_settle: bool,
}

/// Whether an attempt may send what writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It may.
    #[default]
    Open,
    /// Each was answered, and the next one has to ask.
    Settled,
    /// One asks.
    Asking,
}

/// A request that has passed: it counts as unanswered from now on.
#[must_use]
pub(crate) struct Begun {
    writes: Writes,
}

impl Writes {
    /// Those of an attempt that runs for a leader; `session` is woken when it has to hear of `phase`.
    pub(crate) fn of_session(session: Arc<Notify>, may_settle: bool) -> Writes {
        let passage = Mutex::new(Passage { may_settle, ..Passage::default() });
        let gate = Gate { session: Some(session), passage, ..Gate::default() };
        let writes = Writes { unanswered: Arc::default(), gate: Arc::new(gate) };
        // One large upload comes before the first request that counts.
        writes.watch();
        writes
    }

    /// Looks from now on whether they have settled.
    fn watch(&self) {
        if self.gate.begins_to_watch() {
            let writes = self.clone();
            tokio::spawn(async move { while !writes.gate.looked(&writes.unanswered).await {} });
        }
    }

    /// Whether the store can carry out nothing of the attempt any more; true of an attempt that has ended, for good.
    pub(crate) fn are_answered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) == 0
    }

    /// Whether requests pass, as the leader should know it.
    pub(crate) fn phase(&self) -> Phase {
        self.gate.lock().phase
    }

    /// The leader knows that the attempt writes again.
    pub(crate) fn open(&self) {
        let mut passage = self.gate.lock();
        if passage.phase == Phase::Asking {
            passage.phase = Phase::Open;
            self.gate.opened.notify_waiters();
        }
    }

    /// Whether the leader can hear of it; without, requests pass unasked.
    pub(crate) fn may_settle(&self, may_settle: bool) {
        let mut passage = self.gate.lock();
        passage.may_settle = may_settle;
        if !may_settle && passage.phase != Phase::Open {
            passage.phase = Phase::Open;
            self.gate.opened.notify_waiters();
        }
        drop(passage);
        self.watch();
    }

    /// Counts work of the store that its answer did not end.
    pub(crate) fn goes_on(&self) -> GoesOn {
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        GoesOn { writes: self.clone() }
    }

    /// Waits until a request may be sent, and counts it.
    pub(crate) async fn begin(&self) -> Begun {
        loop {
            // From before the look, or an opening between the two would be missed.
            let opened = self.gate.opened.notified();
            if self.passes() {
                return Begun { writes: self.clone() };
            }
            opened.await;
        }
    }

    fn passes(&self) -> bool {
        let mut passage = self.gate.lock();
        if passage.phase == Phase::Open {
            passage.begun += 1;
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        passage.phase = Phase::Asking;
        self.gate.wake_session();
        false
    }

    fn answered(&self) {
        if self.unanswered.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.watch();
        }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Passage> {
        self.passage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_session(&self) {
        if let Some(session) = &self.session {
            session.notify_one();
        }
    }

    fn begins_to_watch(&self) -> bool {
        self.session.is_some() && !std::mem::replace(&mut self.lock().watched, true)
    }

    /// Closes once nothing has passed for a while and everything was answered. Whether there is nothing more to look for.
    async fn looked(&self, unanswered: &AtomicU64) -> bool {
        let begun = self.lock().begun;
        tokio::time::sleep(SETTLES_AFTER).await;
        let mut passage = self.lock();
        if unanswered.load(Ordering::Relaxed) > 0 {
            // The next answer begins to look again.
            passage.watched = false;
            return true;
        }
        if passage.begun != begun {
            return false;
        }
        passage.watched = false;
        if passage.phase == Phase::Open && passage.may_settle {
            passage.phase = Phase::Settled;
            self.wake_session();
        }
        true
    }
}

impl Begun {
    /// Sends it. It counts as unanswered, also when this future is dropped, until its answer comes; the tries that a client
    /// makes by itself count alike.
    pub(crate) async fn send<T>(self, request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = counting_broken(Arc::clone(&self.writes.unanswered), request).await;
        if answer.as_ref().map_or_else(is_answer, |_| true) {
            self.writes.answered();
        }
        answer
    }
}

/// Work of a store that goes on after its answer; it counts as unanswered until it is known to have ended, also when this is
/// dropped before.
#[derive(Debug)]
pub(crate) struct GoesOn {
    writes: Writes,
}

impl GoesOn {
    /// The store says that it is over.
    pub(crate) fn ended(self) {
        self.writes.answered();
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
            let _ = writes.begin().await.send(async { answer }).await;
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
            assert!(writes.begin().await.send(async { Err::<(), _>(answer) }).await.is_err());
            assert!(!writes.are_answered(), "{shown}");
            assert!(writes.begin().await.send(async { Ok(()) }).await.is_ok());
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
        let send = writes.begin().await.send(std::future::pending::<Result<(), StoreError>>());
        assert!(tokio::time::timeout(Duration::from_millis(1), send).await.is_err());
        assert!(!writes.are_answered());
        let never_sent = Writes::default();
        drop(never_sent.begin());
        assert!(never_sent.are_answered());
    }

    /// Writes that have settled, and whom they wake.
    async fn settled() -> (Writes, Arc<Notify>) {
        let session = Arc::new(Notify::new());
        let writes = Writes::of_session(Arc::clone(&session), true);
        assert!(writes.begin().await.send(async { Ok(()) }).await.is_ok());
        session.notified().await;
        assert_eq!(writes.phase(), Phase::Settled);
        (writes, session)
    }

    #[tokio::test]
    async fn an_attempt_that_has_written_nothing_yet_settles_too() {
        let session = Arc::new(Notify::new());
        let writes = Writes::of_session(Arc::clone(&session), true);
        session.notified().await;
        assert_eq!(writes.phase(), Phase::Settled);
    }

    #[tokio::test]
    async fn once_all_were_answered_the_next_one_waits_for_the_leader() {
        let (writes, session) = settled().await;
        let next = tokio::spawn({
            let writes = writes.clone();
            async move { writes.begin().await.send(async { Ok(()) }).await }
        });
        session.notified().await;
        assert_eq!(writes.phase(), Phase::Asking);
        assert!(writes.are_answered() && !next.is_finished(), "nothing was sent");
        writes.open();
        assert!(next.await.unwrap().is_ok());
        session.notified().await;
        assert_eq!(writes.phase(), Phase::Settled, "and settles again");
    }

    #[tokio::test]
    async fn under_a_leader_that_does_not_hear_of_it_nothing_settles_and_nothing_waits() {
        let (writes, session) = settled().await;
        let waiting = tokio::spawn({
            let writes = writes.clone();
            async move { writes.begin().await.send(async { Ok(()) }).await }
        });
        session.notified().await;
        writes.may_settle(false);
        assert!(waiting.await.unwrap().is_ok());
        tokio::time::sleep(SETTLES_AFTER * 10).await;
        assert_eq!(writes.phase(), Phase::Open);
        writes.may_settle(true);
        session.notified().await;
        assert_eq!(writes.phase(), Phase::Settled);
    }

    #[tokio::test]
    async fn a_permission_that_nobody_asked_for_opens_nothing() {
        let (writes, _) = settled().await;
        writes.open();
        assert_eq!(writes.phase(), Phase::Settled);
    }

    #[tokio::test]
    async fn what_was_not_answered_never_settles() {
        let session = Arc::new(Notify::new());
        for work in [0, 1] {
            let writes = Writes::of_session(Arc::clone(&session), true);
            let background = (work == 1).then(|| writes.goes_on());
            let silent = StoreError::silent("s3://bucket/a".into(), Duration::from_secs(30));
            let answer = if work == 1 { Ok(()) } else { Err(silent) };
            let _ = writes.begin().await.send(async { answer }).await;
            assert!(writes.begin().await.send(async { Ok(()) }).await.is_ok());
            tokio::time::sleep(SETTLES_AFTER * 10).await;
            assert_eq!(writes.phase(), Phase::Open);
            if let Some(background) = background {
                background.ended();
                session.notified().await;
                assert_eq!(writes.phase(), Phase::Settled, "the store says that it is over");
            }
        }
    }
}
