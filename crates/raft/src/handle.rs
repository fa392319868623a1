//! The one value through which everyone else uses raft; openraft's types end here.

use crate::config::Config;
use crate::errors::{ConfirmError, Leader, ProposeError, ReadError};
use crate::gate::Gate;
use crate::leadership::{Lead, Term, led_term};
use crate::propose::{Ask, Proposed};
use crate::read::{Confirmed, Round, RoundError, Rounds, leader_of, replaced};
use crate::state::Progress;
use crate::status::{self, Status};
use crate::types::Core;
use ferry_machine::command::Command;
use ferry_machine::time::Stamp;
use ferry_store::checkpoints::Checkpoints;
use ferry_store::rows::{Rows, RowsView};
use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Pause before a read index that was not found is asked for again.
const READ_RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Raft on this node; cheap to clone. Raft ends with `shutdown`, or when the last clone is dropped.
#[derive(Clone)]
pub struct Raft {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) core: Core,
    pub(crate) config: Config,
    pub(crate) rows: Arc<Rows>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) progress: Progress,
    pub(crate) gate: Gate,
    pub(crate) lead: watch::Receiver<Option<Arc<Lead>>>,
    pub(crate) announced: watch::Receiver<Option<Term>>,
    pub(crate) proposals: mpsc::Sender<Ask>,
    pub(crate) local_rounds: Rounds,
    pub(crate) remote_rounds: Rounds,
    pub(crate) tasks: Tasks,
}

/// The tasks of this node's raft; they end with the value.
pub(crate) struct Tasks(pub(crate) Mutex<Vec<JoinHandle<()>>>);

impl Tasks {
    fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.take().iter().for_each(JoinHandle::abort);
    }
}

impl std::fmt::Debug for Raft {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Raft").field("node_id", self.inner.core.node_id()).finish_non_exhaustive()
    }
}

/// Proposals.
impl Raft {
    /// Has a command applied, together with others that are proposed at the same time. An answer of `Unknown` leaves
    /// open whether it was or will be.
    pub async fn propose(&self, command: Command) -> Result<Proposed, ProposeError> {
        self.barrier_or_other_leader().await;
        self.ask(command, None).await
    }

    /// The same, in this term only: what a deposed leader proposes never lands.
    pub async fn propose_as(&self, term: Term, command: Command) -> Result<Proposed, ProposeError> {
        self.ask(command, Some(term)).await
    }

    /// Has commands applied, in as few entries as hold them and in their order; each has an answer of its own. Where one
    /// cannot be taken, none behind it is.
    pub async fn propose_all(&self, commands: &[Command]) -> Vec<Result<Proposed, ProposeError>> {
        self.barrier_or_other_leader().await;
        self.ask_all(commands, None).await
    }

    /// The same, in this term only.
    pub async fn propose_all_as(&self, term: Term, commands: &[Command]) -> Vec<Result<Proposed, ProposeError>> {
        self.ask_all(commands, Some(term)).await
    }

    async fn ask(&self, command: Command, fence: Option<Term>) -> Result<Proposed, ProposeError> {
        let mut answers = self.ask_all(std::slice::from_ref(&command), fence).await;
        answers.pop().unwrap_or(Err(ProposeError::Stopped))
    }

    async fn ask_all(&self, commands: &[Command], fence: Option<Term>) -> Vec<Result<Proposed, ProposeError>> {
        let groups = match Ask::group(commands, fence) {
            Ok(groups) => groups,
            Err(rejection) => {
                let refused = ProposeError::Rejected { rejection, index: self.applied_index() };
                return vec![Err(refused); commands.len()];
            }
        };
        let mut not_taken = None;
        let asking = groups.into_iter().map(|(ask, result)| {
            let count = ask.commands();
            if not_taken.is_none() {
                not_taken = self.inner.proposals.try_send(ask).err().map(|error| match error {
                    mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
                    mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
                });
            }
            let not_taken = not_taken.clone();
            async move {
                if let Some(error) = not_taken {
                    return vec![Err(error); count];
                }
                let failure = match timeout(self.inner.config.propose_timeout(), result).await {
                    Ok(Ok(results)) => return results,
                    Ok(Err(_)) => ProposeError::Unknown { reason: "raft stopped on this node" },
                    Err(_) => ProposeError::Unknown { reason: "no quorum agreed in time" },
                };
                vec![Err(failure); count]
            }
        });
        join_all(asking.collect::<Vec<_>>()).await.concat()
    }

    /// A node that was just elected is about to lead: whoever proposes to it waits for the barrier rather than be
    /// sent elsewhere.
    async fn barrier_or_other_leader(&self) {
        let (mut lead, mut metrics) = (self.inner.lead.clone(), self.inner.core.metrics());
        let decided = async {
            while lead.borrow_and_update().is_none() && led_term(&metrics.borrow_and_update()).is_some() {
                let open = tokio::select! {
                    changed = lead.changed() => changed.is_ok(),
                    changed = metrics.changed() => changed.is_ok(),
                };
                if !open {
                    return;
                }
            }
        };
        // After the timeout the proposal is tried as it is, and answered by what is the case then.
        let _ = timeout(self.inner.config.propose_timeout(), decided).await;
    }
}

/// Reads.
impl Raft {
    /// An index that is applied on this node and makes a read of `view` from now on linearizable. Works on every
    /// node; readers that ask at the same time share one round to a quorum.
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let mut reason = "no answer".to_owned();
        loop {
            match timeout_at(deadline, self.round()).await {
                Ok(Ok(confirmed)) => return self.wait_applied(confirmed.index, deadline).await,
                Ok(Err(RoundError::Stopped)) => return Err(ReadError::Stopped),
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => return Err(ReadError::Unavailable { reason }),
            }
            if timeout_at(deadline, sleep(READ_RETRY_PAUSE)).await.is_err() {
                return Err(ReadError::Unavailable { reason });
            }
        }
    }

    async fn round(&self) -> Round {
        let leads = led_term(&self.inner.core.metrics().borrow_watched()).is_some();
        match leads {
            true => self.inner.local_rounds.join().await,
            false => self.inner.remote_rounds.join().await,
        }
    }

    /// The rows as they are on this node now.
    #[must_use]
    pub fn view(&self) -> RowsView {
        self.inner.rows.view()
    }

    /// The last entry applied on this node; zero before the first.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        *self.inner.progress.index().borrow()
    }

    /// Waits until an entry is applied on this node, and answers the last one that is.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<u64, ReadError> {
        let mut progress = self.inner.progress.index();
        let reached = timeout_at(deadline, progress.wait_for(|applied| *applied >= index)).await;
        match reached {
            Ok(Ok(applied)) => Ok(*applied),
            Ok(Err(_)) => Err(ReadError::Stopped),
            Err(_) => Err(ReadError::Behind { index, applied: self.applied_index() }),
        }
    }

    /// The index of the last entry applied on this node, whenever it changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.progress.index()
    }
}

/// Leadership.
impl Raft {
    /// The leader as far as this node knows, with its address.
    #[must_use]
    pub fn leader(&self) -> Leader {
        leader_of(&self.inner.core.metrics().borrow_watched())
    }

    /// Waits until a leader is known.
    pub async fn wait_leader(&self, deadline: Instant) -> Leader {
        let mut metrics = self.inner.core.metrics();
        let known = async {
            loop {
                if let Some(leader) = leader_of(&metrics.borrow_and_update()) {
                    return Some(leader);
                }
                metrics.changed().await.ok()?;
            }
        };
        timeout_at(deadline, known).await.ok().flatten()
    }

    /// Ends when another node than `former` is known to lead.
    pub async fn other_leader(&self, former: u64) {
        replaced(&self.inner.core, former).await;
    }

    /// The term that this node leads. It shows only after the barrier: everything that former leaders committed is
    /// applied here. Leadership that is lost and won again is another term.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Option<Term>> {
        self.inner.announced.clone()
    }

    /// Confirms with a quorum, asked after this call, that nobody else leads. Concurrent callers share a round.
    pub async fn confirm_leadership(&self, term: Term) -> Result<(), ConfirmError> {
        match self.inner.local_rounds.join().await {
            Ok(Confirmed { term: confirmed, .. }) if confirmed == term.number() => Ok(()),
            Ok(_) | Err(RoundError::NotLeader | RoundError::NoLeader) => {
                Err(ConfirmError::Lost { term: term.number() })
            }
            Err(error @ (RoundError::NoQuorum(_) | RoundError::Leader { .. } | RoundError::Stopped)) => {
                Err(ConfirmError::Unconfirmed { reason: error.to_string() })
            }
        }
    }

    /// Cluster time as this node would stamp a proposal now; `None` while it does not lead.
    #[must_use]
    pub fn now(&self) -> Option<Stamp> {
        self.inner.lead.borrow().as_ref().map(|lead| lead.clock.stamp())
    }
}

/// Status and end.
impl Raft {
    /// What this node knows at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.core.metrics().borrow_watched().clone();
        status::status(&metrics, &self.inner.progress, self.inner.gate.cluster_id())
    }

    /// Where the nodes of the cluster are reached, learners too, as far as this node knows; a change of the
    /// membership shows before it is committed.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let metrics = self.inner.core.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        membership.membership().nodes().map(|(_, node)| node.address.clone()).collect()
    }

    /// Ends when raft has stopped on this node, and says why. The process must end then: nothing it still answers
    /// can be trusted.
    pub async fn stopped(&self) -> String {
        tokio::select! {
            biased;
            reason = self.core_stopped() => reason,
            reason = self.inner.gate.ended() => reason,
            // A node that leads but cannot propose or read any more must give way to others too.
            () = self.inner.proposals.closed() => "the task that proposes has ended".to_owned(),
            () = self.inner.local_rounds.closed() => "the task that confirms reads has ended".to_owned(),
            () = self.inner.remote_rounds.closed() => "the task that asks the leader for reads has ended".to_owned(),
        }
    }

    async fn core_stopped(&self) -> String {
        let mut metrics = self.inner.core.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_and_update().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft was shut down".to_owned();
            }
        }
    }

    /// Stops raft on this node and waits for its tasks.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.core.shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        for task in self.inner.tasks.take() {
            task.abort();
            // Aborted is what it is meant to be.
            let _ = task.await;
        }
    }
}
