//! Wall clocks that jump by thirty days; cluster time must not.

use super::Bite;
use super::choice::{hold, one_of};
use crate::chaos::world::World;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;

const JUMP_S: i64 = 30 * 24 * 60 * 60;

pub(super) async fn jump(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let homes = world.homes();
    let homes = if random.random_range(0..3) == 0 { homes } else { vec![one_of(&homes, random)?] };
    let before: i64 = homes.iter().map(|home| home.shim.bites().clocks_shifted).sum();
    for home in &homes {
        home.shim.shift_clock(if random.random_range(0..2) == 0 { JUMP_S } else { -JUMP_S });
    }
    hold(random, 2_000..5_000).await;
    // The way back is a jump as well.
    for home in &homes {
        home.shim.shift_clock(0);
    }
    let looks = homes.iter().map(|home| home.shim.bites().clocks_shifted).sum::<i64>() - before;
    if looks == 0 {
        return Err("nobody looked at a wall clock".to_owned());
    }
    Ok(format!("{looks} looks at the wall clocks of {} nodes saw another month", homes.len()))
}
