//! SIGSTOP: the process answers nothing and knows nothing of the time that passes.

use super::Bite;
use super::choice::{follower as choose, hold, id};
use crate::chaos::world::World;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use std::sync::Arc;

pub(super) async fn leader(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let before = world.leader().await?;
    let home = world.home(before.id)?;
    home.signal(Signal::SIGSTOP);
    let after = world.leader_after(before.term).await;
    // Beyond the leases of workers too, now and then.
    hold(random, 500..4_500).await;
    home.signal(Signal::SIGCONT);
    let after = after?;
    Ok(format!("node {} of term {}; meanwhile node {} led term {}", before.id, before.term, after.id, after.term))
}

pub(super) async fn follower(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = choose(world, random).await?;
    home.signal(Signal::SIGSTOP);
    hold(random, 1_500..4_500).await;
    let silent = !world.look().await.iter().any(|seen| Some(seen.id) == home.id());
    home.signal(Signal::SIGCONT);
    if silent { Ok(format!("node {} was silent", id(&home))) } else { Err("the node still answered".to_owned()) }
}
