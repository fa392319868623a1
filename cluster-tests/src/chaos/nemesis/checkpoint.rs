//! A node that was away for longer than the others keep their log: it gets a checkpoint, while everything goes on.

use super::Bite;
use super::choice::{follower, id};
use crate::chaos::observation::{self, Seen};
use crate::chaos::settings::LAG_FOR_CHECKPOINT_ENTRIES;
use crate::chaos::world::World;
use ferry_proto::v1::AllocateIdsRequest;
use ferry_proto::v1::allocator_service_client::AllocatorServiceClient;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Ids that make the leader reserve a window of their own, which is an entry.
const IDS: u32 = 100_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const CALLERS: usize = 4;
const LAG_WITHIN: Duration = Duration::from_secs(60);
const INSTALL_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn install(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = follower(world, random).await?;
    let node = id(&home);
    let goal = applied(world).await? + LAG_FOR_CHECKPOINT_ENTRIES;
    home.kill();
    let before = home.generation();
    let lagged = write_until(world, goal).await;
    world.start(&home);
    lagged?;
    let caught_up = |seen: &[Seen]| seen.iter().find(|seen| seen.id == node && seen.applied >= goal).map(drop);
    world.until("node that caught up", INSTALL_WITHIN, caught_up).await?;
    if home.generation() == before {
        return Err(format!("node {node} caught up from the log alone"));
    }
    Ok(format!("node {node} was {LAG_FOR_CHECKPOINT_ENTRIES} entries behind and got a checkpoint"))
}

/// The last entry that any node has applied.
pub(super) async fn applied(world: &World) -> Result<u64, String> {
    world.until("entry", LAG_WITHIN, |seen| seen.iter().map(|node| node.applied).max()).await
}

/// Makes entries until the leader has applied this one.
pub(super) async fn write_until(world: &World, goal: u64) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < LAG_WITHIN {
        let leader = world.leader().await?;
        let address = world.home(leader.id)?.address(leader.id);
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let mut client = AllocatorServiceClient::new(observation::channel(&address, CALL_TIMEOUT));
            callers.spawn(async move {
                for _ in 0..50 {
                    if client.allocate_ids(AllocateIdsRequest { count: IDS }).await.is_err() {
                        return;
                    }
                }
            });
        }
        callers.join_all().await;
        if world.look().await.iter().any(|node| node.applied >= goal) {
            return Ok(());
        }
    }
    Err(format!("the log did not grow by {LAG_FOR_CHECKPOINT_ENTRIES} entries within {LAG_WITHIN:?}"))
}
