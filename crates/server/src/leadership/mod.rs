//! What only a leader has: begun after the barrier, ended with its term, ONE value that owns all of it.
//!
//! Architecture invariant: whatever the leader keeps in memory (worker sessions, the window of ids, live progress)
//! hangs on [`Leadership`] and is dropped with it; every proposal made here is fenced by its term, so nothing of a
//! deposed leader takes effect.

mod allocator;
mod checker;
mod dispatcher;
mod progress;
mod session;
mod sessions;
mod shares;
mod webhook;

use crate::config::LeadershipConfig;
use crate::metrics::Metrics;
use allocator::Allocator;
use ferry_machine::command::Command;
use ferry_machine::id::JobId;
use ferry_machine::plan::Explanation;
use ferry_machine::tables::Read;
use ferry_machine::time::Time;
use ferry_raft::{ProposeError, Proposed, Raft, Term};
use sessions::Sessions;
use std::sync::{Arc, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

pub(crate) use allocator::AllocateError;
pub(crate) use webhook::Webhook;

/// One leadership of this node. Dropping the last reference ends its tasks and sessions.
pub(crate) struct Leadership {
    term: Term,
    raft: Raft,
    config: LeadershipConfig,
    metrics: Arc<Metrics>,
    allocator: Allocator,
    sessions: Sessions,
    /// Held for reading from a registration to its session, for writing while workers are declared lost.
    registrations: tokio::sync::RwLock<()>,
    wake: Notify,
    ended: CancellationToken,
}

impl Leadership {
    /// The next ids of the leader's window; they belong to the caller alone, for ever.
    pub(crate) async fn allocate(&self, count: u32) -> Result<i64, AllocateError> {
        self.allocator.allocate(self, count).await
    }

    /// What the job waits for, with the workers that are connected right now, and the wall clock at which that is so.
    pub(crate) fn explain(&self, read: &dyn Read, job: JobId) -> Option<(Explanation, u64)> {
        let now = self.raft.now()?;
        let explanation = ferry_machine::plan::explain(read, job, now.at, &self.sessions.connected(read))?;
        Some((explanation, now.wall_ms))
    }

    /// Cluster time; `None` once the leadership has ended.
    fn now(&self) -> Option<Time> {
        self.raft.now().map(|stamp| stamp.at)
    }

    /// Proposes under this leadership's term: refused once another one has begun.
    async fn propose(&self, command: Command) -> Result<Proposed, ProposeError> {
        self.raft.propose_as(self.term, command).await
    }

    /// Proposes commands that go into the log in this order.
    async fn propose_all(&self, commands: &[Command]) -> Vec<Result<Proposed, ProposeError>> {
        self.raft.propose_all_as(self.term, commands).await
    }

    /// Asks the checker to look again now.
    fn wake(&self) {
        self.wake.notify_one();
    }
}

/// Watches raft and holds the leadership of this node while it has one.
#[derive(Clone)]
pub(crate) struct Leader {
    current: Arc<RwLock<Option<Held>>>,
    _watching: Arc<DropGuard>,
}

/// A leadership, and what ends it when it is let go.
struct Held {
    leadership: Arc<Leadership>,
    _end: DropGuard,
}

impl Leader {
    /// Begins to watch; a leadership begins whenever raft announces a term whose barrier is applied.
    pub(crate) fn start(raft: Raft, config: LeadershipConfig, webhook: Option<Webhook>, metrics: Arc<Metrics>) -> Self {
        let current = Arc::new(RwLock::new(None));
        let stop = CancellationToken::new();
        let beginning = Beginning { raft, config, webhook: webhook.map(Arc::new), metrics };
        let watching = watch(beginning, Arc::clone(&current));
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        Self { current, _watching: Arc::new(stop.drop_guard()) }
    }

    /// The leadership, while this node leads.
    pub(crate) fn current(&self) -> Option<Arc<Leadership>> {
        let held = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.as_ref().map(|held| Arc::clone(&held.leadership))
    }
}

/// What every leadership of this node begins with.
struct Beginning {
    raft: Raft,
    config: LeadershipConfig,
    webhook: Option<Arc<Webhook>>,
    metrics: Arc<Metrics>,
}

async fn watch(beginning: Beginning, current: Arc<RwLock<Option<Held>>>) {
    let mut terms = beginning.raft.leadership();
    loop {
        let term = *terms.borrow_and_update();
        // Lost and regained is stop, then start: the old value goes before the new one is made.
        hold(&current, None);
        if let Some(term) = term {
            info!(term = term.number(), "leadership begins");
            hold(&current, Some(begin(term, &beginning)));
        }
        if terms.changed().await.is_err() {
            hold(&current, None);
            return;
        }
        if term.is_some() {
            info!("leadership ends");
        }
    }
}

fn hold(current: &RwLock<Option<Held>>, next: Option<Held>) {
    *current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
}

fn begin(term: Term, beginning: &Beginning) -> Held {
    let Beginning { raft, config, webhook, metrics } = beginning;
    let ended = CancellationToken::new();
    let leadership = Arc::new(Leadership {
        term,
        raft: raft.clone(),
        config: config.clone(),
        metrics: Arc::clone(metrics),
        allocator: Allocator::default(),
        sessions: Sessions::begin(&raft.view()),
        registrations: tokio::sync::RwLock::default(),
        wake: Notify::new(),
        ended: ended.clone(),
    });
    let checker = checker::run(Arc::clone(&leadership));
    tokio::spawn(ended.clone().run_until_cancelled_owned(checker));
    let committer = progress::run(Arc::clone(&leadership));
    tokio::spawn(ended.clone().run_until_cancelled_owned(committer));
    if let Some(webhook) = webhook {
        let delivery = webhook::run(Arc::clone(&leadership), Arc::clone(webhook));
        tokio::spawn(ended.clone().run_until_cancelled_owned(delivery));
    }
    Held { leadership, _end: ended.drop_guard() }
}
