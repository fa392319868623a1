//! The worker's side of the session: one loop that owns the lease and the attempts. Connections come and go beneath it; a
//! failover restarts no copy, the end of the lease stops every one.

use crate::attempt::{Report, Runner};
use crate::attempts::Attempts;
use crate::bandwidth::adopt;
use crate::config::{Config, milliseconds};
use crate::lease::{Lease, Term};
use crate::link::Event;
use crate::metrics::Metrics;
use ferry_proto::v1::session_request::Message as Request;
use ferry_proto::v1::session_response::Message as Response;
use ferry_proto::v1::{Assign, Attempt, Heartbeat, Hello, Limit, SessionRequest, Welcome};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often progress is told, at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// A leader that has not renewed for this part of a lease may lead no more: the others are asked.
const SILENCE_DIVISOR: u32 = 2;
/// The shortest pause between heartbeats, whatever the leader says.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// A stream to a node.
struct Connection {
    outbound: mpsc::Sender<SessionRequest>,
    hang_up: CancellationToken,
    hello_sent_at: Instant,
    /// Attempts that hello said to go on.
    listed: Vec<Attempt>,
    /// Set once the node has said that it leads.
    welcomed: Option<Welcomed>,
    /// Assignments that came before the lease; they start with it.
    waiting: Vec<Assign>,
}

struct Welcomed {
    heartbeat_interval: Duration,
    heartbeat_at: Instant,
    silence_max: Duration,
    renewed_at: Instant,
}

/// The state of the worker.
pub(crate) struct Session {
    hello: Hello,
    lease: Lease,
    lease_watch: watch::Sender<Option<Term>>,
    /// The last term whose end was acted on.
    ended_term: u64,
    attempts: Attempts,
    connection: Option<Connection>,
    progress_at: Instant,
    shutdown_timeout: Duration,
    close_at: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl Session {
    pub(crate) fn new(config: &Config, runner: Arc<Runner>, reports: mpsc::UnboundedSender<Report>) -> Session {
        let (lease_watch, lease) = watch::channel(None);
        let slots = usize::try_from(config.slots).unwrap_or(usize::MAX);
        let metrics = Arc::clone(&runner.metrics);
        let (incarnation, _) = uuid::Uuid::new_v4().as_u64_pair();
        let hello = Hello {
            name: config.name.clone(),
            incarnation,
            slots: config.slots,
            labels: config.labels.clone().into_iter().collect(),
            running: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            request_timeout_ms: milliseconds(config.request_timeout),
            late_writes_ms: milliseconds(config.late_writes),
        };
        Session {
            hello,
            lease: Lease::default(),
            lease_watch,
            ended_term: 0,
            attempts: Attempts::new(runner, lease, reports, slots),
            connection: None,
            progress_at: Instant::now(),
            shutdown_timeout: config.shutdown_timeout,
            close_at: None,
            metrics,
        }
    }

    /// Runs until `shutdown`, then until what ran is given back and acknowledged, or the time for that is over.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut reports: mpsc::UnboundedReceiver<Report>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let writes_changed = self.attempts.writes_changed();
        loop {
            let due_at = self.due_at();
            tokio::select! {
                biased;
                () = &mut shutdown, if self.close_at.is_none() => self.close(),
                Some(report) = reports.recv() => {
                    let answer = self.attempts.report(report);
                    self.say(answer);
                }
                () = writes_changed.notified() => self.say_of_writes(),
                () = tokio::time::sleep_until(due_at.into()) => self.due(Instant::now()),
                event = events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
            }
            if self.close_at.is_some_and(|close_at| self.attempts.is_empty() || Instant::now() >= close_at) {
                return;
            }
        }
    }

    fn close(&mut self) {
        tracing::info!("ending: attempts are given back");
        self.close_at = Some(Instant::now() + self.shutdown_timeout);
        self.attempts.close();
    }

    /// When something has to be done next.
    fn due_at(&self) -> Instant {
        let welcomed = self.connection.as_ref().and_then(|connection| connection.welcomed.as_ref());
        let lease = self.lease.term().filter(|term| term.number > self.ended_term).map(|term| term.ends_at);
        let times = [lease, welcomed.map(|welcomed| welcomed.heartbeat_at), self.close_at, Some(self.progress_at)];
        times.into_iter().flatten().min().unwrap_or(self.progress_at)
    }

    /// Does what is due: the end of the lease before everything else.
    fn due(&mut self, now: Instant) {
        self.end_lease(now);
        if now >= self.progress_at {
            self.progress_at = now + PROGRESS_INTERVAL;
            let progress = self.attempts.progress();
            self.say(progress);
        }
        let Some(welcomed) = self.connection.as_mut().and_then(|connection| connection.welcomed.as_mut()) else {
            return;
        };
        if now < welcomed.heartbeat_at {
            return;
        }
        welcomed.heartbeat_at = now + welcomed.heartbeat_interval;
        if now.duration_since(welcomed.renewed_at) > welcomed.silence_max {
            tracing::warn!("the leader has stopped renewing the lease; looking for another");
            self.hang_up();
            return;
        }
        let sequence = self.lease.heartbeat(now);
        self.say([Request::Heartbeat(Heartbeat { sequence })]);
        let outstanding = self.attempts.outstanding();
        self.say(outstanding);
        let writes = self.attempts.writes_outstanding();
        self.say(writes);
    }

    /// What a message of this says is noted as told only where a leader can hear it.
    fn say_of_writes(&mut self) {
        if self.connection.as_ref().is_some_and(|connection| connection.welcomed.is_some()) {
            let news = self.attempts.writes_news();
            self.say(news);
        }
    }

    fn end_lease(&mut self, now: Instant) {
        let Some(term) = self.lease.term() else { return };
        if term.number > self.ended_term && now >= term.ends_at {
            tracing::warn!("the lease has ended: every attempt is stopped");
            self.ended_term = term.number;
            self.attempts.lease_ended();
            self.metrics.ready.set(0);
        }
    }

    fn hang_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.hang_up.cancel();
        }
        self.metrics.ready.set(0);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opening { outbound, hang_up } => self.open(outbound, hang_up),
            Event::Message(message) => self.message(*message),
            Event::Closed => self.hang_up(),
        }
    }

    fn open(&mut self, outbound: mpsc::Sender<SessionRequest>, hang_up: CancellationToken) {
        let hello_sent_at = Instant::now();
        self.end_lease(hello_sent_at);
        let listed = self.attempts.listed();
        let hello = Hello { running: listed.clone(), ..self.hello.clone() };
        self.connection =
            Some(Connection { outbound, hang_up, hello_sent_at, listed, welcomed: None, waiting: Vec::new() });
        self.say([Request::Hello(hello)]);
    }

    fn message(&mut self, message: Response) {
        let now = Instant::now();
        self.end_lease(now);
        match message {
            Response::Welcome(welcome) => self.welcome(&welcome, now),
            Response::Renewed(renewed) => self.renewed(renewed.sequence, now),
            Response::Assign(assign) => self.assign(assign, now),
            Response::Drop(drop) => self.drop_attempt(drop.attempt.unwrap_or_default()),
            Response::Claimed(claimed) => self.attempts.claimed(claimed.attempt.unwrap_or_default().into()),
            Response::Acknowledged(done) => self.attempts.acknowledged(done.attempt.unwrap_or_default().into()),
            Response::Limit(limit) => self.limit(limit),
            Response::WritesBegun(begun) => self.attempts.writes_begun(begun),
            // The link follows it.
            Response::Leader(_) => {}
        }
    }

    /// A new limit counts for what runs, and for assignments that wait for the first renewal.
    fn limit(&mut self, limit: Limit) {
        let waiting = self.connection.as_mut().map(|connection| &mut connection.waiting);
        for assign in waiting.into_iter().flatten().filter(|assign| assign.job_id == limit.job_id) {
            adopt(assign, &limit);
        }
        self.attempts.limit(limit);
    }

    /// An assignment that waits for the first renewal must not begin once the worker has said that it is dropped.
    fn drop_attempt(&mut self, attempt: Attempt) {
        if let Some(connection) = &mut self.connection {
            connection.waiting.retain(|assign| assign.attempt != Some(attempt));
        }
        let answer = self.attempts.drop_attempt(attempt.into());
        self.say(answer);
    }

    fn welcome(&mut self, welcome: &Welcome, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        let lease = Duration::from_millis(welcome.lease_ms);
        tracing::info!(worker = welcome.worker_id, ?lease, "welcomed by the leader");
        self.metrics.sessions.inc();
        self.lease.welcome(lease, connection.hello_sent_at);
        self.lease_watch.send_replace(self.lease.term());
        connection.welcomed = Some(Welcomed {
            heartbeat_interval: Duration::from_millis(welcome.heartbeat_interval_ms).max(HEARTBEAT_MIN),
            heartbeat_at: now,
            silence_max: lease / SILENCE_DIVISOR,
            renewed_at: now,
        });
        // One that has ended since then could not be said to be dropped yet, and the leader takes it for running.
        let ended = self.attempts.ended_of(&connection.listed);
        self.say(ended);
        self.attempts.forget_progress();
        self.attempts.forget_writes(welcome.hears_writes);
        self.say_of_writes();
        self.due(now);
    }

    fn renewed(&mut self, sequence: u64, now: Instant) {
        self.lease.renewed(sequence, now);
        self.lease_watch.send_replace(self.lease.term());
        let Some(connection) = &mut self.connection else { return };
        if let Some(welcomed) = &mut connection.welcomed {
            welcomed.renewed_at = now;
        }
        if self.lease.term_at(now).is_some() {
            self.metrics.ready.set(1);
            for assign in std::mem::take(&mut connection.waiting) {
                self.assign(assign, now);
            }
        }
    }

    fn assign(&mut self, assign: Assign, now: Instant) {
        if let Some(term) = self.lease.term_at(now) {
            let answer = self.attempts.assign(assign, term);
            self.say(answer);
        } else if let Some(connection) = &mut self.connection {
            connection.waiting.push(assign);
        }
    }

    /// Sends what can be sent now. Nothing is lost for good when it cannot: heartbeats, claims and results are repeated, and
    /// what is said to be dropped is not among what the next hello lists.
    fn say(&mut self, messages: impl IntoIterator<Item = Request>) {
        let Some(connection) = &self.connection else { return };
        let mut compare_anew = false;
        for message in messages {
            let hello = matches!(message, Request::Hello(_));
            if connection.welcomed.is_none() && !hello {
                continue;
            }
            let said_once = matches!(message, Request::Dropped(_));
            if connection.outbound.try_send(SessionRequest { message: Some(message) }).is_err() {
                tracing::debug!("a message to the leader is put off");
                compare_anew |= said_once;
            }
        }
        if compare_anew {
            self.hang_up();
        }
    }
}
