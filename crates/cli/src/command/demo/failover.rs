//! The kill of the leader: who leads next, after how long, and how the killed node comes back.

use super::nodes::Nodes;
use super::steps::Steps;
use super::{proof, until};
use crate::units::show_duration;
use anyhow::{Context, ensure};
use ferry_client::Client;
use ferry_proto::v1::{Consistency, GetJobRequest, GetStatusRequest};
use futures::future::select_ok;
use std::time::{Duration, Instant};

const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// What the kill showed.
pub(super) struct Failover {
    pub(super) killed_id: u64,
    pub(super) leader_id: u64,
    /// From the kill to the first linearizable answer under the new leader.
    pub(super) gap: Duration,
}

/// Kills the leader and asks the others until one has an answer that a new leader has confirmed.
pub(super) async fn kill_leader(
    steps: &Steps,
    nodes: &mut Nodes,
    job_id: i64,
    percent: u32,
) -> anyhow::Result<Failover> {
    let killed_id = nodes.leader().await?;
    let killed_at = Instant::now();
    let pid = nodes.kill_node(killed_id).await?;
    steps.say(&format!("node {killed_id} (pid {pid}), which led, is dead; the job was at {percent} %"));
    let survivors: Vec<Client> =
        nodes.alive().map(|node| Nodes::client_of(node, FAILOVER_TIMEOUT)).collect::<anyhow::Result<_>>()?;
    let asked = survivors.iter().map(|client| Box::pin(next_leader(client, job_id, killed_id)));
    let answered = tokio::time::timeout(FAILOVER_TIMEOUT, select_ok(asked)).await.context("nobody leads")?;
    let gap = killed_at.elapsed();
    let (leader_id, _) = answered?;
    steps.held(&format!(
        "node {leader_id} leads; its first linearizable answer came {} ms after the kill",
        gap.as_millis()
    ));
    Ok(Failover { killed_id, leader_id, gap })
}

/// The leader that has confirmed a read begun after the kill.
async fn next_leader(client: &Client, job_id: i64, killed_id: u64) -> anyhow::Result<u64> {
    loop {
        let request = GetJobRequest { job_id, consistency: Consistency::Linearizable.into() };
        let answer = client.get_job(request).await?;
        match answer.known_leader_id {
            Some(leader_id) if leader_id != 0 && leader_id != killed_id => return Ok(leader_id),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Starts the killed node again and sees it catch up.
pub(super) async fn restart(
    steps: &Steps,
    nodes: &mut Nodes,
    id: u64,
    job_id: i64,
    segments: u16,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let status = nodes.client.get_status(GetStatusRequest { local_only: false }).await?;
    let wanted = status.nodes.iter().map(|node| node.last_applied_index).max().unwrap_or_default();
    nodes.start_node(id)?;
    let node = nodes.alive().find(|node| node.id == id).context("the node is gone again")?;
    let client = Nodes::client_of(node, Duration::from_secs(2))?;
    let applied = until("the killed node catches up", CATCH_UP_TIMEOUT, || async {
        let status = client.get_status(GetStatusRequest { local_only: true }).await?;
        let own = status.nodes.iter().find(|node| node.id == id).context("it does not know itself")?;
        ensure!(own.last_applied_index >= wanted, "it has applied {} of {wanted}", own.last_applied_index);
        Ok(own.last_applied_index)
    })
    .await?;
    let took = show_duration(begun.elapsed());
    steps.held(&format!("it has caught up to index {applied} after {took}, {wanted} was wanted"));
    let own = proof::segments_of(&client, job_id, Consistency::Stale).await?;
    proof::all_flushed(&own, usize::from(segments)).context("on the node that came back")?;
    steps.held(&format!("it says itself that all {segments} targets are Flushed"));
    Ok(())
}
