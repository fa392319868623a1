//! A bad network: everything arrives late, not at all, twice, or in another order.

use super::Bite;
use super::choice::hold;
use crate::chaos::network::{Counts, Host, Rules};
use crate::chaos::world::World;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;

/// Every link between hosts that are not the clients; those see the cluster through a good network, or nobody would
/// notice what the cluster makes of a bad one.
fn links(world: &World) -> Vec<(Host, Host)> {
    let hosts: Vec<Host> = world.network.hosts().iter().copied().filter(|host| *host != Host::Clients).collect();
    let pairs = hosts.iter().flat_map(|source| hosts.iter().map(|target| (*source, *target)));
    pairs.filter(|(source, target)| source != target).collect()
}

/// The rules are changed for as long as this value lives.
struct Bad<'a, F: Fn(&mut Rules)> {
    world: &'a World,
    links: Vec<(Host, Host)>,
    undo: F,
}

impl<F: Fn(&mut Rules)> Drop for Bad<'_, F> {
    fn drop(&mut self) {
        for (source, target) in &self.links {
            self.world.network.change(*source, *target, &self.undo);
        }
    }
}

async fn bad(
    world: &World,
    random: &mut StdRng,
    set: impl Fn(&mut Rules),
    undo: impl Fn(&mut Rules),
    count: impl Fn(&Counts) -> u64,
    what: &str,
) -> Bite {
    let links = links(world);
    let before = count(&world.network.counts(&links));
    for (source, target) in &links {
        world.network.change(*source, *target, &set);
    }
    let bad = Bad { world, links, undo };
    hold(random, 2_500..6_000).await;
    let bitten = count(&world.network.counts(&bad.links)) - before;
    if bitten == 0 { Err(format!("no packet was {what}")) } else { Ok(format!("{bitten} packets {what}")) }
}

pub(super) async fn delay(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let (delay, jitter) = (random.random_range(5..60), random.random_range(1..40));
    let (delay, jitter) = (Duration::from_millis(delay), Duration::from_millis(jitter));
    let set = |rules: &mut Rules| (rules.delay, rules.jitter) = (delay, jitter);
    let undo = |rules: &mut Rules| (rules.delay, rules.jitter) = (Duration::ZERO, Duration::ZERO);
    bad(world, random, set, undo, |counts| counts.delayed, &format!("late by {delay:?} and up to {jitter:?}")).await
}

pub(super) async fn loss(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let permille = random.random_range(10..120);
    let set = move |rules: &mut Rules| rules.lost_permille = permille;
    let undo = |rules: &mut Rules| rules.lost_permille = 0;
    bad(world, random, set, undo, |counts| counts.lost, &format!("lost, {permille} of a thousand")).await
}

pub(super) async fn duplicate(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let permille = random.random_range(50..400);
    let set = move |rules: &mut Rules| rules.doubled_permille = permille;
    let undo = |rules: &mut Rules| rules.doubled_permille = 0;
    bad(world, random, set, undo, |counts| counts.doubled, &format!("doubled, {permille} of a thousand")).await
}

pub(super) async fn reorder(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let permille = random.random_range(30..250);
    let set = move |rules: &mut Rules| rules.held_permille = permille;
    let undo = |rules: &mut Rules| rules.held_permille = 0;
    bad(world, random, set, undo, |counts| counts.overtook, "overtook others").await
}
