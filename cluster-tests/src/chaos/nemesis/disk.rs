//! A disk that is full, or that answers nothing.

use super::Bite;
use super::checkpoint::{applied, write_until};
use super::choice::{anyone, blocking, hold, id};
use super::sync::{END_WITHIN, ends};
use crate::chaos::exit::Exit;
use crate::chaos::machine::Machine;
use crate::chaos::world::World;
use rand::rngs::StdRng;
use std::sync::Arc;

/// More than there are between two checkpoints.
const ENTRIES: u64 = 700;
/// How a node that meets it says so.
const NO_SPACE: &str = "No space left on device";

pub(super) async fn full(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = anyone(world, random)?;
    home.let_end();
    let filled = on_disk(&home, |home| home.disk().fill()).await;
    let ended = if filled.is_ok() { ends_for_want_of_space(world, &home).await } else { None };
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

/// A node goes on until what it has set aside is used up, so the log is made to grow beyond the next checkpoint.
async fn ends_for_want_of_space(world: &World, home: &Machine) -> Option<Exit> {
    let grow = async {
        match applied(world).await {
            Ok(entry) => write_until(world, entry + ENTRIES).await,
            Err(why) => Err(why),
        }
    };
    let (mut ended, mut grow) = (std::pin::pin!(ends(home)), std::pin::pin!(grow));
    tokio::select! {
        ended = &mut ended => return ended,
        // Whether that went well or not, what counts is that the node ends.
        _ = &mut grow => {}
    }
    ended.await
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
