//! Whom a fault hits, and how long it lasts.

use crate::chaos::machine::Machine;
use crate::chaos::world::World;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;

/// Waits for a time from a range.
pub(super) async fn hold(random: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.random_range(milliseconds))).await;
}

/// One of some things.
pub(super) fn one_of<T: Clone>(from: &[T], random: &mut StdRng) -> Result<T, String> {
    let place = random.random_range(0..from.len().max(1));
    from.get(place).cloned().ok_or_else(|| "there is nothing to choose from".to_owned())
}

/// Any node's machine.
pub(super) fn anyone(world: &World, random: &mut StdRng) -> Result<Arc<Machine>, String> {
    one_of(&world.homes(), random)
}

/// The machine of a node that does not lead.
pub(super) async fn follower(world: &World, random: &mut StdRng) -> Result<Arc<Machine>, String> {
    let leader = world.leader().await?;
    let others: Vec<_> = world.homes().into_iter().filter(|home| home.id() != Some(leader.id)).collect();
    one_of(&others, random)
}

/// The id of the node on a machine that has one.
pub(super) fn id(home: &Machine) -> u64 {
    home.id().unwrap_or(0)
}

/// Work that blocks: on a thread where nobody waits for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("the fault could not be made: {error}"))
}
