//! Power loss: the machine is gone at once, and with it everything that was written but not synced.

use super::Bite;
use super::choice::{anyone, blocking, hold, id};
use crate::chaos::machine::Machine;
use crate::chaos::world::World;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;

/// A node that was synced must come back within this time.
const BACK_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn one(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    let lost = lose(vec![Arc::clone(&home)]).await;
    hold(random, 0..1_500).await;
    world.start(&home);
    lost?;
    let id = id(&home);
    let back =
        |seen: &[crate::chaos::observation::Seen]| seen.iter().find(|node| node.id == id).map(|node| node.applied);
    let applied = world.until("node back", BACK_WITHIN, back).await?;
    Ok(format!("node {id} came back with entry {applied} applied"))
}

pub(super) async fn all(world: &Arc<World>) -> Bite {
    let before = world.leader().await?;
    let homes = world.homes();
    let lost = lose(homes.clone()).await;
    world.start_all();
    lost?;
    let after = world.leader_after(before.term).await?;
    Ok(format!("{} machines; node {} leads term {} after term {}", homes.len(), after.id, after.term, before.term))
}

/// All disks go before the first process notices.
async fn lose(homes: Vec<Arc<Machine>>) -> Result<(), String> {
    blocking(move || {
        homes.iter().for_each(|home| home.let_end());
        homes.iter().for_each(|home| home.disk().lose_power());
        for home in &homes {
            home.kill();
            home.disk().restore_power();
        }
    })
    .await
}
