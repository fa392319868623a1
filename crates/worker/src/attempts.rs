//! The attempts of this worker and what the leader has yet to hear about them: claims and results stay here until they are
//! answered, so that a lost message or a new leader loses nothing.

mod given_up;
mod messages;
mod progress;
mod settled;
#[cfg(test)]
mod tests;

use crate::attempt::{Key, News, Report, Reports, Runner};
use crate::bandwidth::{Limits, Share};
use crate::copy::Meter;
use crate::failure::Fault;
use crate::lease::Term;
use crate::permit::Permit;
use crate::writes::Writes;
use ferry_proto::v1::result::Outcome;
use ferry_proto::v1::session_request::Message;
use ferry_proto::v1::{Assign, Attempt, Claim, Limit};
use given_up::GivenUp;
use messages::{dropped, given_back, outcome_name, result};
use settled::Told;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Why a running attempt was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The leader wants it to.
    Dropped,
    /// The lease it ran under has ended.
    LeaseEnded,
    /// The leader has begun a later attempt of the task.
    Superseded,
    /// The worker ends.
    Closing,
}

#[derive(Debug)]
enum Phase {
    Running(Running),
    /// The leader has not acknowledged the outcome yet.
    Finished {
        outcome: Outcome,
        /// As in `Result`, of `workers.proto`.
        writes_for_ms: u64,
    },
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    /// Set when it is told to stop.
    why: Option<Why>,
    /// Cancelled when nothing of it is running any more.
    ended: CancellationToken,
    /// What it asks to write; unset once that is answered.
    claim: Option<Claim>,
    claimed: Option<oneshot::Sender<()>>,
    meter: Arc<Meter>,
    /// Of every run of the attempt: one that was stopped may have left requests that the next one knows nothing of.
    writes: Writes,
    /// What the leader has last heard of them in this session.
    told: Told,
    reported_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    run: u64,
    phase: Phase,
}

/// Every attempt that runs here or whose outcome is not acknowledged.
#[derive(Debug)]
pub(crate) struct Attempts {
    runner: Arc<Runner>,
    lease: watch::Receiver<Option<Term>>,
    reports: mpsc::UnboundedSender<Report>,
    slots: usize,
    closing: bool,
    last_run: u64,
    entries: BTreeMap<Key, Entry>,
    given_up: GivenUp,
    /// Woken when the leader has to hear of some attempt's writes.
    writes_changed: Arc<Notify>,
    leader_hears_writes: bool,
    /// Of the last request to write again.
    last_sequence: u64,
}

impl Attempts {
    pub(crate) fn new(
        runner: Arc<Runner>,
        lease: watch::Receiver<Option<Term>>,
        reports: mpsc::UnboundedSender<Report>,
        slots: usize,
    ) -> Attempts {
        Attempts {
            runner,
            lease,
            reports,
            slots,
            closing: false,
            last_run: 0,
            entries: BTreeMap::new(),
            given_up: GivenUp::default(),
            writes_changed: Arc::default(),
            leader_hears_writes: false,
            last_sequence: 0,
        }
    }

    /// Nothing runs and nothing waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a session begins with: attempts that go on and outcomes that were not acknowledged.
    pub(crate) fn listed(&self) -> Vec<Attempt> {
        let alive = |entry: &&Entry| match &entry.phase {
            Phase::Running(running) => running.why.is_none() || running.why == Some(Why::Closing),
            Phase::Finished { .. } => true,
        };
        self.entries.iter().filter(|(_, entry)| alive(entry)).map(|(key, _)| (*key).into()).collect()
    }

    /// Of attempts that a session began with, those that have ended without an outcome.
    pub(crate) fn ended_of(&mut self, listed: &[Attempt]) -> Vec<Message> {
        let keys = listed.iter().map(|attempt| Key::from(*attempt));
        let ended: Vec<Key> = keys.filter(|key| !self.entries.contains_key(key)).collect();
        ended.into_iter().map(|key| self.give_up(key, 0)).collect()
    }

    /// The leader wants the attempt to run, under the term that holds now. Known ones run on.
    pub(crate) fn assign(&mut self, assign: Assign, term: Term) -> Option<Message> {
        let key: Key = assign.attempt.unwrap_or_default().into();
        match self.entries.get(&key).map(|entry| &entry.phase) {
            Some(Phase::Finished { outcome, writes_for_ms }) => return Some(result(key, outcome, *writes_for_ms)),
            Some(Phase::Running(running)) if running.why.is_none() => return None,
            Some(Phase::Running(_)) | None => {}
        }
        let later = self.entries.keys().any(|other| other.task_id == key.task_id && other.attempt > key.attempt);
        if later || self.given_up.has(key) {
            return Some(self.give_up(key, 0));
        }
        let previous = self.supersede(key);
        if self.closing || self.alive() >= self.slots {
            let reason = if self.closing { "the worker is ending" } else { "every slot of the worker is taken" };
            let writes_for_ms = self.runner.writes_for_ms(&self.writes_of(key));
            return Some(self.finish(key, given_back(reason), writes_for_ms));
        }
        self.start(key, assign, term, previous);
        None
    }

    /// Stops earlier runs of the task; the new one begins when they have ended.
    fn supersede(&mut self, key: Key) -> Vec<CancellationToken> {
        let mut previous = Vec::new();
        for (_, entry) in self.entries.iter_mut().filter(|(other, _)| other.task_id == key.task_id) {
            if let Phase::Running(running) = &mut entry.phase {
                running.stop(Why::Superseded);
                previous.push(running.ended.clone());
            }
        }
        previous
    }

    fn alive(&self) -> usize {
        let alive = |entry: &&Entry| matches!(&entry.phase, Phase::Running(running) if running.why.is_none());
        self.entries.values().filter(alive).count()
    }

    /// What runs of the attempt that were stopped have sent.
    fn writes_of(&self, key: Key) -> Writes {
        match self.entries.get(&key) {
            Some(Entry { phase: Phase::Running(stopped), .. }) => stopped.writes.clone(),
            Some(_) | None => Writes::of_session(Arc::clone(&self.writes_changed), self.leader_hears_writes),
        }
    }

    fn start(&mut self, key: Key, assign: Assign, term: Term, previous: Vec<CancellationToken>) {
        self.last_run += 1;
        let run = self.last_run;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (claimed, wait_claimed) = oneshot::channel();
        let meter = Arc::new(Meter::new(Arc::clone(&self.runner.metrics)));
        let permit = Permit::new(term, self.lease.clone(), stop.clone());
        let sender = self.reports.clone();
        let writes = self.writes_of(key);
        let (meter_of_run, writes_of_run) = (Arc::clone(&meter), writes.clone());
        let reports = Reports { key, run, sender, claimed: wait_claimed, meter: meter_of_run, writes: writes_of_run };
        tracing::debug!(
            task = key.task_id,
            attempt = key.attempt,
            job = assign.job_id,
            work = assign.work().as_str_name(),
            "started"
        );
        let (runner, sender, latch) = (Arc::clone(&self.runner), self.reports.clone(), ended.clone());
        let sent = writes.clone();
        // From now on, not from when it copies: a limit that changes before that must not be lost.
        let limits = runner.bandwidths.of_job(assign.job_id, Share::from(&assign));
        tokio::spawn(async move {
            for earlier in previous {
                earlier.cancelled().await;
            }
            let outcome = contained(Arc::clone(&runner), assign, limits, permit, reports).await;
            let writes_for_ms = runner.writes_for_ms(&sent);
            latch.cancel();
            // Nobody listens only when the worker itself is gone.
            drop(sender.send(Report { key, run, news: News::Finished { outcome, writes_for_ms } }));
        });
        let claimed = Some(claimed);
        let running = Running {
            stop,
            why: None,
            ended,
            claim: None,
            claimed,
            meter,
            writes,
            told: Told::default(),
            reported_bytes: 0,
        };
        self.entries.insert(key, Entry { run, phase: Phase::Running(running) });
        self.runner.metrics.running.inc();
    }

    /// What an attempt of ours has to say; the answer is for the leader.
    pub(crate) fn report(&mut self, report: Report) -> Option<Message> {
        let ended = matches!(report.news, News::Finished { .. });
        if ended {
            self.runner.metrics.running.dec();
        }
        let entry = self.entries.get_mut(&report.key).filter(|entry| entry.run == report.run)?;
        let Phase::Running(running) = &mut entry.phase else { return None };
        match report.news {
            News::Claim(claim) => {
                running.claim = Some(claim.clone());
                Some(Message::Claim(claim))
            }
            News::Finished { outcome, writes_for_ms } => {
                let why = running.why;
                self.finished(report.key, outcome, why, writes_for_ms)
            }
        }
    }

    fn finished(
        &mut self,
        key: Key,
        outcome: Result<Outcome, Fault>,
        why: Option<Why>,
        writes_for_ms: u64,
    ) -> Option<Message> {
        let outcome = match (outcome, why) {
            (_, Some(Why::Dropped | Why::Superseded)) | (Err(Fault::Stopped), Some(Why::LeaseEnded) | None) => {
                tracing::info!(task = key.task_id, attempt = key.attempt, ?why, writes_for_ms, "stopped");
                self.count("dropped");
                self.entries.remove(&key);
                return Some(self.give_up(key, writes_for_ms));
            }
            (Err(Fault::Stopped), Some(Why::Closing)) => given_back("the worker is ending"),
            (Err(fault), _) => Outcome::Failure(fault.report().unwrap_or_default()),
            (Ok(outcome), _) => outcome,
        };
        Some(self.finish(key, outcome, writes_for_ms))
    }

    /// Keeps the outcome until it is acknowledged.
    fn finish(&mut self, key: Key, outcome: Outcome, writes_for_ms: u64) -> Message {
        let (task, attempt) = (key.task_id, key.attempt);
        match &outcome {
            Outcome::Failure(failure) => {
                tracing::warn!(task, attempt, kind = failure.kind().as_str_name(), reason = %failure.reason, "failed");
            }
            Outcome::Copied(copied) => tracing::info!(task, attempt, segments = copied.segments.len(), "copied"),
            Outcome::Published(_) => tracing::info!(task, attempt, "published"),
            Outcome::CleanedUp(_) => tracing::info!(task, attempt, "cleaned up"),
            Outcome::Verified(_) => tracing::info!(task, attempt, "verified"),
        }
        self.count(outcome_name(&outcome));
        let message = result(key, &outcome, writes_for_ms);
        self.last_run += 1;
        self.entries.insert(key, Entry { run: self.last_run, phase: Phase::Finished { outcome, writes_for_ms } });
        message
    }

    fn count(&self, outcome: &str) {
        self.runner.metrics.attempts.with_label_values(&[outcome]).inc();
    }

    /// The leader does not want the attempt any more.
    pub(crate) fn drop_attempt(&mut self, key: Key) -> Option<Message> {
        match self.entries.get_mut(&key).map(|entry| &mut entry.phase) {
            Some(Phase::Running(running)) => {
                running.stop(Why::Dropped);
                None
            }
            Some(Phase::Finished { writes_for_ms, .. }) => {
                let writes_for_ms = *writes_for_ms;
                self.entries.remove(&key);
                Some(self.give_up(key, writes_for_ms))
            }
            None => Some(self.give_up(key, 0)),
        }
    }

    fn give_up(&mut self, key: Key, writes_for_ms: u64) -> Message {
        dropped(key, self.given_up.add(key, writes_for_ms))
    }

    /// The claim is committed: the attempt may write.
    pub(crate) fn claimed(&mut self, key: Key) {
        if let Some(Entry { phase: Phase::Running(running), .. }) = self.entries.get_mut(&key)
            && running.claim.take().is_some()
            && let Some(claimed) = running.claimed.take()
        {
            // An attempt that has just ended does not need to know.
            let _ = claimed.send(());
        }
    }

    /// This worker's share of the job's limits has changed.
    pub(crate) fn limit(&self, limit: Limit) {
        self.runner.bandwidths.change(limit.job_id, Share::from(&limit));
    }

    /// The outcome is committed: the attempt is forgotten.
    pub(crate) fn acknowledged(&mut self, key: Key) {
        if matches!(self.entries.get(&key), Some(Entry { phase: Phase::Finished { .. }, .. })) {
            self.entries.remove(&key);
        }
    }

    /// Everything that runs under the ended lease stops; outcomes from before its end stay true.
    pub(crate) fn lease_ended(&mut self) {
        self.stop_all(Why::LeaseEnded);
    }

    /// The worker ends: what runs is given back.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.stop_all(Why::Closing);
    }

    fn stop_all(&mut self, why: Why) {
        for entry in self.entries.values_mut() {
            if let Phase::Running(running) = &mut entry.phase {
                running.stop(why);
            }
        }
    }

    /// Claims and results that were not answered, to be said again.
    pub(crate) fn outstanding(&self) -> Vec<Message> {
        let message = |(key, entry): (&Key, &Entry)| match &entry.phase {
            Phase::Running(running) => running.claim.clone().map(Message::Claim),
            Phase::Finished { outcome, writes_for_ms } => Some(result(*key, outcome, *writes_for_ms)),
        };
        self.entries.iter().filter_map(message).collect()
    }
}

/// A worker that goes away takes its attempts with it.
impl Drop for Attempts {
    fn drop(&mut self) {
        self.stop_all(Why::Closing);
    }
}

impl Running {
    /// The first reason counts.
    fn stop(&mut self, why: Why) {
        self.why.get_or_insert(why);
        self.stop.cancel();
    }
}

/// Runs an attempt so that its panic is its own failure.
async fn contained(
    runner: Arc<Runner>,
    assign: Assign,
    limits: Limits,
    permit: Permit,
    reports: Reports,
) -> Result<Outcome, Fault> {
    let run = tokio::spawn(async move { runner.run(assign, limits, permit, reports).await });
    run.await.unwrap_or_else(|_| {
        Err(Fault::Transient(
            "the attempt ended in a bug of the worker; its log has the place: please report it".into(),
        ))
    })
}
