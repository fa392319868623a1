//! A bad line to the store, and a store that does what its callers have given up.

use super::Bite;
use super::choice::hold;
use crate::chaos::store::Store;
use crate::chaos::world::World;
use crate::stores::relay::Way;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longer than `request-timeout` of the nodes and workers.
const SILENCE: Duration = Duration::from_millis(4_500);
/// The latest request that was chosen is carried out within this time.
const CARRIED_OUT_WITHIN: Duration = Duration::from_secs(12);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The faults of the line are off once this value is dropped.
struct Mended<'a>(&'a Store);

impl Drop for Mended<'_> {
    fn drop(&mut self) {
        self.0.mend();
    }
}

pub(super) async fn cuts(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let store = Mended(world.store()?);
    let connections = random.random_range(3..9);
    let (way, after_bytes) = if random.random() {
        (Way::Up, random.random_range(0..20_000))
    } else {
        (Way::Down, random.random_range(0..4_000))
    };
    store.0.cut(connections, way, after_bytes);
    hold(random, 3_000..6_000).await;
    let bitten = connections - store.0.cuts_left();
    match bitten {
        0 => Err("no connection to the store was cut".to_owned()),
        _ => Ok(format!("{bitten} connections to the store were cut, {way:?} after {after_bytes} bytes")),
    }
}

pub(super) async fn silence(world: &Arc<World>, _: &mut StdRng) -> Bite {
    let store = Mended(world.store()?);
    let before = store.0.held_back();
    store.0.be_silent(SILENCE);
    tokio::time::sleep(SILENCE).await;
    match store.0.held_back() - before {
        0 => Err("nobody asked the store".to_owned()),
        held => Ok(format!("the store was silent for {SILENCE:?} to {held} blocks")),
    }
}

pub(super) async fn late_writes(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let store = Mended(world.store()?);
    let before = store.0.carried_out_late();
    let chosen = store.0.let_writes_be_late(random.random());
    hold(random, 3_000..6_000).await;
    drop(Mended(store.0));
    let chosen = chosen.load(Ordering::SeqCst);
    let began = Instant::now();
    let late = || store.0.carried_out_late() - before;
    while late() < chosen && began.elapsed() < CARRIED_OUT_WITHIN {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    match late() {
        0 => Err(format!("of {chosen} requests none was carried out late")),
        late => Ok(format!("{late} of {chosen} requests were carried out after their callers were gone")),
    }
}
