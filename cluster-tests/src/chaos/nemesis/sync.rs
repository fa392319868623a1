//! Syncs that take long, or fail: a node that cannot sync must not say that it has.

use super::Bite;
use super::choice::{anyone, hold, id};
use crate::chaos::exit::Exit;
use crate::chaos::machine::Machine;
use crate::chaos::world::World;
use crate::faults::shim::IO_ERROR;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node that must end has this long.
pub(super) const END_WITHIN: Duration = Duration::from_secs(20);
/// How a node that ends says why.
const IO_ERRORS: &[&str] = &["Input/output error"];
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) async fn slow(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    let delay_ms = random.random_range(50..500);
    let before = home.shim.bites().syncs_delayed;
    home.shim.delay_syncs(delay_ms);
    hold(random, 2_500..5_000).await;
    home.shim.delay_syncs(0);
    let delayed = home.shim.bites().syncs_delayed - before;
    if delayed == 0 {
        return Err(format!("node {} synced nothing", id(&home)));
    }
    Ok(format!("{delayed} syncs of node {} took {delay_ms} ms more", id(&home)))
}

pub(super) async fn failing(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    let before = home.shim.bites().syncs_failed;
    home.let_end();
    home.shim.fail_syncs(IO_ERROR);
    let ended = ends(&home).await;
    home.shim.fail_syncs(0);
    let failed = home.shim.bites().syncs_failed - before;
    if ended.is_none() && failed > 0 {
        world.violate(format!("node {} runs on {END_WITHIN:?} after {failed} of its syncs failed", id(&home)));
        home.kill();
    }
    world.start(&home);
    let ended = ended.ok_or_else(|| format!("node {} synced nothing", id(&home)))?;
    if failed == 0 {
        return Err(format!("node {} ended, but none of its syncs failed: {ended}", id(&home)));
    }
    if !ended.names(IO_ERRORS) {
        world.violate(format!("node {} ended without naming its failed syncs: {ended}", id(&home)));
    }
    Ok(format!("{failed} syncs of node {} failed: {ended}", id(&home)))
}

/// How a node ended that a fault lets end.
pub(super) async fn ends(home: &Machine) -> Option<Exit> {
    let began = Instant::now();
    while began.elapsed() < END_WITHIN {
        if let Some(ended) = home.ended() {
            return Some(ended);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    None
}
