//! Read indexes: an index that, once applied, makes a read linearizable. Many readers share one round, and a reader
//! is answered only by a round that began after it asked.

use crate::leadership::led_term;
use crate::peers::{Lane, Peers};
use crate::types::{Core, Metrics};
use ferry_planted::Bug;
use ferry_proto::internal::v1 as proto;
use futures::future::BoxFuture;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Readers that may wait for a round to begin; more wait in line for a place.
const WAITING_MAX: usize = 4_096;

/// A quorum confirmed that nobody but the leader of `term` led when the round began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) term: u64,
    /// A read is linearizable once this entry is applied.
    pub(crate) index: u64,
}

/// A round that confirmed nothing; all but the last may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoundError {
    #[error("no leader is known")]
    NoLeader,
    #[error("this node does not lead")]
    NotLeader,
    #[error("the leader reached no quorum: {0}")]
    NoQuorum(String),
    #[error("the leader, node {leader}, gave no read index: {reason}")]
    Leader { leader: u64, reason: String },
    #[error("raft has stopped on this node")]
    Stopped,
}

pub(crate) type Round = Result<Confirmed, RoundError>;

/// Readers on their way to a shared round; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rounds(mpsc::Sender<oneshot::Sender<Round>>);

impl Rounds {
    /// Rounds that are run one after the other, each for everyone who waits when it begins.
    pub(crate) fn start<F>(run: F) -> (Self, JoinHandle<()>)
    where
        F: Fn() -> BoxFuture<'static, Round> + Send + Sync + 'static,
    {
        let (sender, mut receiver) = mpsc::channel::<oneshot::Sender<Round>>(WAITING_MAX);
        let task = tokio::spawn(async move {
            while let Some(first) = receiver.recv().await {
                let mut readers = vec![first];
                while let Ok(reader) = receiver.try_recv() {
                    readers.push(reader);
                }
                let round = run().await;
                for reader in readers {
                    // A reader that gave up is no error.
                    let _ = reader.send(round.clone());
                }
            }
        });
        (Self(sender), task)
    }

    /// Ends when no round will be run any more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }

    /// Joins the next round.
    pub(crate) async fn join(&self) -> Round {
        let (answer, round) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| RoundError::Stopped)?;
        round.await.map_err(|_| RoundError::Stopped)?
    }
}

/// One round on this node, which leads: a heartbeat answered by a quorum, sent after the call.
pub(crate) async fn local_round(core: Core) -> Round {
    if ferry_planted::is(Bug::LeaderReadsUnconfirmed) {
        return unconfirmed(&core.metrics().borrow_watched());
    }
    match core.get_read_linearizer(ReadPolicy::ReadIndex).await {
        Ok(linearizer) => {
            let read = linearizer.read_log_id();
            Ok(Confirmed { term: read.committed_leader_id().term, index: read.index() })
        }
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => Err(RoundError::NotLeader),
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
            Err(RoundError::NoQuorum(error.to_string()))
        }
        Err(RaftError::Fatal(_)) => Err(RoundError::Stopped),
    }
}

/// What a planted bug takes for a round: what this node believes of itself.
fn unconfirmed(metrics: &Metrics) -> Round {
    let term = led_term(metrics).ok_or(RoundError::NotLeader)?;
    Ok(Confirmed { term: term.number(), index: metrics.last_applied.map_or(0, |applied| applied.index) })
}

/// One round on this node, which follows: asks the leader, whose own rounds are shared in turn.
pub(crate) async fn remote_round(core: Core, peers: Peers) -> Round {
    let (leader, address) = leader_of(&core.metrics().borrow_watched()).ok_or(RoundError::NoLeader)?;
    let peer = peers.get(Lane::Control, leader, &address);
    let answer = async { peer.client.clone().read_index(peer.request(proto::RaftReadIndexRequest {}).await?).await };
    let failed = |reason: String| RoundError::Leader { leader, reason };
    let answer = tokio::select! {
        answer = timeout(peer.answer_timeout, answer) => answer,
        // One that hangs must not hold up readers once another leads.
        () = replaced(&core, leader) => return Err(failed("it leads no more".to_owned())),
    };
    match answer {
        Ok(Ok(response)) => {
            let proto::RaftReadIndexResponse { term, index } = response.into_inner();
            Ok(Confirmed { term, index })
        }
        Ok(Err(status)) => Err(failed(status.message().to_owned())),
        Err(_) => Err(failed(format!("no answer in {:?}", peer.answer_timeout))),
    }
}

/// Ends when this node knows of another leader.
pub(crate) async fn replaced(core: &Core, leader: u64) {
    let mut metrics = core.metrics();
    while metrics.borrow_and_update().current_leader.is_none_or(|now| now == leader) {
        if metrics.changed().await.is_err() {
            // Raft has stopped here, which others report.
            std::future::pending::<()>().await;
        }
    }
}

/// The leader that this node knows, and where it is reached.
pub(crate) fn leader_of(metrics: &Metrics) -> Option<(u64, String)> {
    let leader = metrics.current_leader?;
    let node = metrics.membership_config.get_node(&leader)?;
    Some((leader, node.address.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn readers_that_arrive_during_a_round_share_the_next_one() {
        let (began, may_end) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, gate) = (began.clone(), may_end.clone());
        let (rounds, _task) = Rounds::start(move || {
            let (counter, gate) = (counter.clone(), gate.clone());
            Box::pin(async move {
                let index = counter.fetch_add(1, Ordering::SeqCst) + 1;
                gate.acquire().await.unwrap().forget();
                Ok(Confirmed { term: 1, index })
            })
        });
        let first = tokio::spawn({
            let rounds = rounds.clone();
            async move { rounds.join().await }
        });
        while began.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn({
                    let rounds = rounds.clone();
                    async move { rounds.join().await }
                })
            })
            .collect();
        while rounds.0.capacity() > WAITING_MAX - 10 {
            tokio::task::yield_now().await;
        }
        may_end.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().index, 1);
        for reader in late {
            assert_eq!(reader.await.unwrap().unwrap().index, 2);
        }
        assert_eq!(began.load(Ordering::SeqCst), 2);
    }
}
