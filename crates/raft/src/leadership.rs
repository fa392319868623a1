//! Leadership: a term is announced only after an entry of it is applied here (the barrier), and taken back when it is
//! lost. Everything that belongs to a term is one value that is dropped with it.

use crate::clock::{Clock, wall_ms};
use crate::propose::ENTRIES_IN_FLIGHT_MAX;
use crate::state::Applied;
use crate::types::{Batch, Core, Metrics, Types};
use ferry_machine::command::Command;
use ferry_machine::key::Key;
use ferry_machine::row::{Cluster, Row};
use ferry_machine::tables::Read;
use ferry_machine::time::{Stamp, Time};
use ferry_store::codec;
use ferry_store::rows::Rows;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::WatchReceiverOf;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// A term that this node led: one node leads a term at most, and never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// Its number; it only grows.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What belongs to one term on its leader.
#[derive(Debug)]
pub(crate) struct Lead {
    pub(crate) term: Term,
    pub(crate) clock: Clock,
    /// Places for entries in flight.
    pub(crate) window: Arc<Semaphore>,
}

/// Watches for terms that this node leads.
pub(crate) struct Leadership {
    pub(crate) core: Core,
    pub(crate) rows: Arc<Rows>,
    pub(crate) applied: watch::Receiver<Applied>,
    pub(crate) lead: watch::Sender<Option<Arc<Lead>>>,
    pub(crate) announced: watch::Sender<Option<Term>>,
    pub(crate) id_start: i64,
}

type MetricsReceiver = WatchReceiverOf<Types, Metrics>;

impl Leadership {
    /// Runs until raft stops.
    pub(crate) async fn run(self) {
        let mut metrics = self.core.metrics();
        loop {
            let term = led_term(&metrics.borrow_and_update());
            let changed = match term {
                None => metrics.changed().await,
                Some(term) => {
                    let changed = self.lead(term, &mut metrics).await;
                    self.lead.send_replace(None);
                    if self.announced.send_replace(None).is_some() {
                        tracing::info!(%term, "leadership lost");
                    }
                    changed
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Leads from the barrier to the end of the term.
    async fn lead(
        &self,
        term: Term,
        metrics: &mut MetricsReceiver,
    ) -> Result<(), openraft::async_runtime::watch::RecvError> {
        let lead = tokio::select! {
            lead = self.begin(term) => lead,
            changed = lost(term, metrics) => return changed,
        };
        if let Some(lead) = lead {
            self.lead.send_replace(Some(Arc::new(lead)));
            self.announced.send_replace(Some(term));
            tracing::debug!(%term, "leadership is announced");
        }
        lost(term, metrics).await
    }

    /// The barrier; then the cluster's row, should this be its first leader; then the clock.
    async fn begin(&self, term: Term) -> Option<Lead> {
        let mut applied = self.applied.clone();
        applied.wait_for(|applied| applied.term == term.0).await.ok()?;
        let mut cluster = self.cluster();
        if cluster.is_none() {
            self.bootstrap(term).await?;
            cluster = self.cluster();
        }
        let clock = Clock::starting_at(cluster?.now);
        Some(Lead { term, clock, window: Arc::new(Semaphore::new(ENTRIES_IN_FLIGHT_MAX)) })
    }

    /// Names the cluster. Fenced: had another leader taken over, it would do so itself.
    async fn bootstrap(&self, term: Term) -> Option<()> {
        let cluster_id = std::iter::repeat_with(rand::random::<u64>).find(|id| *id != 0)?;
        let command = Command::Bootstrap { cluster_id, id_start: self.id_start };
        let stamp = Stamp { at: Time::default(), wall_ms: wall_ms() };
        let batch = Batch(codec::encode_batch(stamp, &[command]).into());
        let (responder, result) = ProgressResponder::<Types, ClientWriteResult<Types>>::complete_only();
        self.core.write(batch).with_leader(term.0).responder(responder).await.ok()?;
        result.await.ok()?.ok().map(|_| ())
    }

    fn cluster(&self) -> Option<Cluster> {
        cluster_of(&self.rows.view())
    }
}

/// The cluster's row.
pub(crate) fn cluster_of(view: &impl Read) -> Option<Cluster> {
    let row = view.get(&Key::Cluster)?;
    if let Row::Cluster(cluster) = row { Some(cluster) } else { None }
}

/// The term that this node leads now, barrier or not.
pub(crate) fn led_term(metrics: &Metrics) -> Option<Term> {
    let leads = metrics.state == ServerState::Leader
        && metrics.vote.is_committed()
        && metrics.vote.leader_id().voted_for == metrics.id;
    leads.then_some(Term(metrics.current_term))
}

async fn lost(term: Term, metrics: &mut MetricsReceiver) -> Result<(), openraft::async_runtime::watch::RecvError> {
    while led_term(&metrics.borrow_and_update()) == Some(term) {
        metrics.changed().await?;
    }
    Ok(())
}
