//! SIGKILL: the process is gone at once, what it had synced stays.

use super::Bite;
use super::choice::{blocking, follower as choose, hold, id};
use crate::chaos::world::World;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) async fn follower(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = choose(world, random).await?;
    let ran = home.kill();
    hold(random, 300..2_500).await;
    world.start(&home);
    if ran { Ok(format!("node {} was killed", id(&home))) } else { Err("the node did not run".to_owned()) }
}

pub(super) async fn leader(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let before = world.leader().await?;
    let home = world.home(before.id)?;
    let began = Instant::now();
    let ran = home.kill();
    let after = world.leader_after(before.term).await;
    let gap = began.elapsed();
    hold(random, 0..800).await;
    world.start(&home);
    let after = after?;
    if !ran || after.id == before.id {
        return Err("the leader did not run".to_owned());
    }
    Ok(format!("node {} of term {}: node {} of term {} after {gap:.0?}", before.id, before.term, after.id, after.term))
}

pub(super) async fn all(world: &Arc<World>) -> Bite {
    let before = world.leader().await?;
    let homes = world.homes();
    let killed = {
        let homes = homes.clone();
        // None outlives another by more than it takes to send a signal.
        blocking(move || homes.iter().filter(|home| home.kill()).count()).await?
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.start_all();
    let after = world.leader_after(before.term).await?;
    if killed < homes.len() {
        return Err(format!("only {killed} of {} nodes ran", homes.len()));
    }
    Ok(format!("{killed} nodes; node {} leads term {} after term {}", after.id, after.term, before.term))
}
