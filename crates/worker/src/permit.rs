//! The permission to write, which every attempt asks for before each chunk, each request and each rename: it is gone
//! for good once the attempt is stopped or the term of the lease it began under has ended.

use crate::failure::Fault;
use crate::lease::Term;
use std::future::Future;
use std::time::Instant;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One attempt's permission to write.
#[derive(Clone, Debug)]
pub(crate) struct Permit {
    term: u64,
    lease: watch::Receiver<Option<Term>>,
    stop: CancellationToken,
}

impl Permit {
    /// A permission that holds for `term` of `lease`, until `stop`.
    pub(crate) fn new(term: Term, lease: watch::Receiver<Option<Term>>, stop: CancellationToken) -> Permit {
        Permit { term: term.number, lease, stop }
    }

    /// Fails when nothing may be written any more. It reads the clock itself: a process that was frozen past the end of
    /// its lease learns it here, before any timer has fired.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let now = Instant::now();
        let held = self.lease.borrow().is_some_and(|term| term.number == self.term && now < term.ends_at);
        if held && !self.stop.is_cancelled() { Ok(()) } else { Err(Fault::Stopped) }
    }

    /// A permission that ends with this one, or earlier by its own stop.
    pub(crate) fn child(&self) -> (Permit, CancellationToken) {
        let stop = self.stop.child_token();
        (Permit { stop: stop.clone(), ..self.clone() }, stop)
    }

    /// Waits for `work`, but no longer than the permission holds.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        self.check()?;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Fault::Stopped),
            done = work => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn permit(ends_at: Instant) -> (Permit, watch::Sender<Option<Term>>, CancellationToken) {
        let term = Term { number: 1, ends_at };
        let (sender, receiver) = watch::channel(Some(term));
        let stop = CancellationToken::new();
        (Permit::new(term, receiver, stop.clone()), sender, stop)
    }

    #[test]
    fn a_permit_ends_with_its_stop() {
        let (permit, _lease, stop) = permit(Instant::now() + Duration::from_secs(60));
        assert!(permit.check().is_ok());
        stop.cancel();
        assert!(permit.check().is_err());
    }

    #[test]
    fn a_permit_ends_with_its_lease_without_being_told() {
        let (permit, _lease, _stop) = permit(Instant::now());
        assert!(permit.check().is_err());
    }

    #[test]
    fn a_later_term_does_not_revive_a_permit() {
        let (permit, lease, _stop) = permit(Instant::now());
        lease.send_replace(Some(Term { number: 2, ends_at: Instant::now() + Duration::from_secs(60) }));
        assert!(permit.check().is_err());
    }

    #[tokio::test]
    async fn work_is_abandoned_when_the_permit_ends() {
        let (permit, _lease, stop) = permit(Instant::now() + Duration::from_secs(60));
        let waiting = tokio::spawn(async move { permit.unless_ended(std::future::pending::<()>()).await });
        stop.cancel();
        assert!(matches!(waiting.await, Ok(Err(Fault::Stopped))));
    }
}
