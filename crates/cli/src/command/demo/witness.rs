//! The witness: it reads targets and job on every node, all the time, and remembers the first contradiction.
//!
//! Its judgement is sound because it reads the targets BEFORE the job on the same node: a target that was Flushed then
//! must belong to a job that is Completed now. Targets of one page are of one moment: all Flushed, or none.

use super::nodes::Nodes;
use super::steps::Steps;
use super::until;
use anyhow::{bail, ensure};
use ferry_client::Client;
use ferry_proto::v1::{Consistency, GetJobRequest, JobState, ListSegmentsRequest, SegmentState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const READ_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(25);
const VERDICT_TIMEOUT: Duration = Duration::from_secs(30);

/// What was seen on one node with one kind of read.
#[derive(Debug, Clone, Default)]
struct Sight {
    node_id: u64,
    is_stale: bool,
    /// Rounds of two reads each.
    rounds: u64,
    saw_importing: bool,
    saw_flushed: bool,
    contradiction: Option<String>,
}

/// What was seen in all.
pub(super) struct Seen(Vec<Sight>);

impl Seen {
    /// How many reads were made.
    pub(super) fn reads(&self) -> u64 {
        self.0.iter().map(|sight| 2 * sight.rounds).sum()
    }

    /// Says what was seen.
    pub(super) fn show(&self, steps: &Steps) {
        let count = |is_stale: bool| -> u64 {
            self.0.iter().filter(|sight| sight.is_stale == is_stale).map(|sight| 2 * sight.rounds).sum()
        };
        steps.held(&format!(
            "{} linearizable and {} stale reads on three nodes: no target was Flushed before its job was Completed",
            count(false),
            count(true)
        ));
    }
}

/// Reads every node until its verdict is asked for.
pub(super) struct Witness {
    job: watch::Sender<i64>,
    sights: Vec<Arc<Mutex<Sight>>>,
    readers: JoinSet<()>,
}

impl Witness {
    pub(super) fn start(nodes: &Nodes) -> anyhow::Result<Self> {
        let mut witness = Self { job: watch::channel(0).0, sights: Vec::new(), readers: JoinSet::new() };
        for node in &nodes.nodes {
            for is_stale in [false, true] {
                let sight = Arc::new(Mutex::new(Sight { node_id: node.id, is_stale, ..Sight::default() }));
                let client = Nodes::client_of(node, READ_TIMEOUT)?;
                witness.readers.spawn(read(client, witness.job.subscribe(), Arc::clone(&sight)));
                witness.sights.push(sight);
            }
        }
        Ok(witness)
    }

    /// The job to look at.
    pub(super) fn watch(&self, job_id: i64) {
        self.job.send_replace(job_id);
    }

    /// What was seen, once every living node has been seen with Flushed targets: a witness that saw nothing proves
    /// nothing.
    pub(super) async fn verdict(mut self, nodes: &Nodes) -> anyhow::Result<Seen> {
        let living: Vec<u64> = nodes.alive().map(|node| node.id).collect();
        until("the witness sees every living node", VERDICT_TIMEOUT, || async {
            let late =
                self.sights.iter().map(|sight| lock(sight).clone()).find(|sight| {
                    living.contains(&sight.node_id) && !sight.saw_flushed && sight.contradiction.is_none()
                });
            match late {
                Some(sight) => bail!("node {} has not been seen with Flushed targets", sight.node_id),
                None => Ok(()),
            }
        })
        .await?;
        self.readers.shutdown().await;
        let seen = Seen(self.sights.iter().map(|sight| lock(sight).clone()).collect());
        for sight in &seen.0 {
            if let Some(contradiction) = &sight.contradiction {
                bail!("node {}: {contradiction}", sight.node_id);
            }
        }
        ensure!(seen.0.iter().any(|sight| sight.saw_importing), "no read was made while the job was running");
        Ok(seen)
    }
}

async fn read(client: Client, mut job: watch::Receiver<i64>, sight: Arc<Mutex<Sight>>) {
    let Ok(job_id) = job.wait_for(|job_id| *job_id != 0).await.map(|job_id| *job_id) else { return };
    let consistency = if lock(&sight).is_stale { Consistency::Stale } else { Consistency::Linearizable };
    loop {
        // A node that is dead or has no leader gives no answer, which contradicts nothing.
        if let Ok(seen) = look(&client, job_id, consistency).await {
            let mut sight = lock(&sight);
            sight.rounds += 1;
            sight.saw_importing |= seen.importing > 0;
            sight.saw_flushed |= seen.flushed > 0;
            if sight.contradiction.is_none() {
                sight.contradiction = seen.contradiction();
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One look: a page of targets, then the job.
#[derive(Debug, Default)]
struct Look {
    importing: usize,
    flushed: usize,
    job_state: JobState,
}

impl Look {
    fn contradiction(&self) -> Option<String> {
        let Self { importing, flushed, job_state } = self;
        match (flushed, importing) {
            (0, _) => None,
            (1.., 0) if *job_state == JobState::Completed => None,
            (1.., 0) => Some(format!("{flushed} targets were Flushed while the job was {job_state:?}")),
            (1.., 1..) => Some(format!("{flushed} targets were Flushed while {importing} were not")),
        }
    }
}

async fn look(client: &Client, job_id: i64, consistency: Consistency) -> Result<Look, ferry_client::Error> {
    let consistency = consistency.into();
    let request = ListSegmentsRequest { page_size: 1000, job_id, consistency, ..ListSegmentsRequest::default() };
    let page = client.list_segments(request).await?;
    let job = client.get_job(GetJobRequest { job_id, consistency }).await?;
    let count = |state: SegmentState| page.segments.iter().filter(|segment| segment.state() == state).count();
    let flushed = count(SegmentState::Flushed);
    let job_state = job.job.as_ref().map(|job| job.state()).unwrap_or_default();
    Ok(Look { importing: page.segments.len() - flushed, flushed, job_state })
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Look;
    use ferry_proto::v1::JobState;

    fn is_contradiction(importing: usize, flushed: usize, job_state: JobState) -> bool {
        Look { importing, flushed, job_state }.contradiction().is_some()
    }

    #[test]
    fn targets_are_flushed_together_and_only_with_their_job_completed() {
        assert!(!is_contradiction(10, 0, JobState::Executing));
        assert!(!is_contradiction(10, 0, JobState::Completed), "it completed between the two reads");
        assert!(!is_contradiction(0, 10, JobState::Completed));
        assert!(is_contradiction(0, 10, JobState::Executing));
        assert!(is_contradiction(1, 9, JobState::Completed));
    }
}
