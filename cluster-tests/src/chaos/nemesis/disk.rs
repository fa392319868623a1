//! A disk that is full, or that answers nothing.

use super::Bite;
use super::choice::{anyone, blocking, hold, id};
use super::sync::{END_WITHIN, ends};
use crate::chaos::machine::Machine;
use crate::chaos::world::World;
use rand::rngs::StdRng;
use std::sync::Arc;

/// How a node that meets it says so.
const NO_SPACE: &str = "No space left on device";

pub(super) async fn full(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    home.let_end();
    let filled = on_disk(&home, |home| home.disk().fill()).await;
    let ended = if filled.is_ok() { ends(&home).await } else { None };
    if ended.is_none() {
        // It may have needed no space so far; one that does has ended.
        home.kill();
    }
    let freed = on_disk(&home, |home| home.disk().free()).await;
    world.start(&home);
    filled.and(freed)?;
    let ended = ended.ok_or_else(|| format!("node {} needed no space within {END_WITHIN:?}", id(&home)))?;
    if !ended.names(&[NO_SPACE]) {
        world.violate(format!("node {} ended on a full disk without saying so: {ended}", id(&home)));
    }
    Ok(format!("node {}: {ended}", id(&home)))
}

pub(super) async fn frozen(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    on_disk(&home, |home| home.disk().freeze()).await?;
    hold(random, 2_000..4_500).await;
    let hung = home.hangs();
    on_disk(&home, |home| home.disk().thaw()).await?;
    if hung {
        Ok(format!("node {} waited for its disk", id(&home)))
    } else {
        Err("nobody waited for the disk".to_owned())
    }
}

async fn on_disk(home: &Arc<Machine>, work: impl FnOnce(&Machine) + Send + 'static) -> Result<(), String> {
    let home = Arc::clone(home);
    blocking(move || work(&home)).await
}
