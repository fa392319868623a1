//! What the services of one node share.

use crate::channels::Channels;
use crate::config::Config;
use crate::leadership::{Leader, Leadership};
use crate::metrics::{LeaderFigures, Metrics, RaftFigures};
use crate::reads::Reads;
use crate::status::{no_leader, of_propose};
use ferry_machine::command::Command;
use ferry_machine::view;
use ferry_raft::{ProposeError, Proposed, Raft, Role};
use ferry_snapshot::Snapshots;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How often a node that has just been elected is asked whether it has begun to lead.
const LEADERSHIP_POLL: Duration = Duration::from_millis(2);

/// What the services of one node share.
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) leader: Leader,
    pub(crate) reads: Reads,
    pub(crate) snapshots: Snapshots,
    pub(crate) channels: Channels,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Config,
    /// Held while the membership changes: one change at a time.
    pub(crate) changing: Arc<Mutex<()>>,
    /// Places for open watches.
    pub(crate) watches: Arc<Semaphore>,
    /// Places for backups that are being sent.
    pub(crate) backups: Arc<Semaphore>,
    /// Places for checks of all rows that are under way.
    pub(crate) checks: Arc<Semaphore>,
    /// Places for submits that are streamed or of more than one page.
    pub(crate) long_submits: Arc<Semaphore>,
    /// Set when the node begins to stop: open streams end.
    pub(crate) stopping: CancellationToken,
}

impl Node {
    /// Proposes a command; a refusal says at which revision it holds.
    pub(crate) async fn propose(&self, command: Command) -> Result<Proposed, Status> {
        self.raft.propose(command).await.map_err(|error| {
            let stamp = self.reads.stamp();
            match error {
                ProposeError::Rejected { index, .. } => stamp.at(index).refusal(of_propose(&error)),
                ProposeError::NotLeader { .. }
                | ProposeError::Unknown { .. }
                | ProposeError::Overloaded
                | ProposeError::Stopped => of_propose(&error),
            }
        })
    }

    /// This node's leadership, once its barrier is passed.
    pub(crate) async fn leadership(&self, deadline: Instant) -> Result<Arc<Leadership>, Status> {
        loop {
            if let Some(leadership) = self.leader.current() {
                return Ok(leadership);
            }
            let leader = self.raft.leader().map(|(id, _)| id);
            let elected_here = leader == Some(self.config.id);
            if !elected_here || Instant::now() >= deadline {
                return Err(no_leader(leader.filter(|id| *id != self.config.id)));
            }
            tokio::time::sleep(LEADERSHIP_POLL).await;
        }
    }

    /// How this node stands in raft.
    pub(crate) fn raft_figures(&self) -> RaftFigures {
        let status = self.raft.status();
        RaftFigures {
            term: status.term,
            is_leader: status.role == Role::Leader,
            last_log_index: status.last_log_index.unwrap_or(0),
            committed_index: status.committed_index.unwrap_or(0),
            applied_index: status.applied_index,
            checkpoint_index: status.checkpoint_index.unwrap_or(0),
            purged_index: status.purged_index.unwrap_or(0),
            checkpoints_installed: status.checkpoints_installed,
            apply_times: status.apply_times,
        }
    }

    /// The text Prometheus scrapes.
    pub(crate) fn render_metrics(&self) -> Result<String, prometheus::Error> {
        let leader = self.leader.current().and_then(|_| self.leader_figures());
        self.metrics.render(self.raft_figures(), leader.as_ref())
    }

    fn leader_figures(&self) -> Option<LeaderFigures> {
        let view = self.raft.view();
        let cluster = view::cluster(&view)?;
        let webhook_lag_ms = (!self.config.webhook.url.is_empty()).then(|| {
            let oldest = view::events(&view, cluster.events.delivered.max(cluster.events.first), 1).pop();
            let now = self.raft.now().map_or(cluster.now, |stamp| stamp.at);
            oldest.map_or(0, |(_, event)| now.since(event.at.at))
        });
        Some(LeaderFigures { cluster, webhook_lag_ms })
    }
}
