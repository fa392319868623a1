//! Links that let nothing through: between nodes in several shapes, and between clients and the leader.

use super::Bite;
use super::choice::{follower as choose, hold, id, one_of};
use crate::chaos::network::Host;
use crate::chaos::world::World;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Links = Vec<(Host, Host)>;

/// Links that are cut for as long as this value lives.
struct Cut<'a> {
    world: &'a World,
    links: Links,
    dropped_before: u64,
}

impl<'a> Cut<'a> {
    fn new(world: &'a World, links: Links) -> Self {
        let dropped_before = world.network.counts(&links).dropped;
        let cut = Self { world, links, dropped_before };
        cut.set(true);
        cut
    }

    fn set(&self, cut: bool) {
        for (source, target) in &self.links {
            self.world.network.change(*source, *target, |rules| rules.cut = cut);
        }
    }

    /// Says how many packets were dropped, which must be some.
    fn proof(self, shape: &str) -> Bite {
        let dropped = self.world.network.counts(&self.links).dropped - self.dropped_before;
        if dropped == 0 {
            return Err(format!("{shape}: no packet was dropped"));
        }
        Ok(format!("{shape}: {dropped} packets dropped"))
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn hosts(world: &World) -> Vec<Host> {
    world.homes().iter().map(|home| home.host()).collect()
}

fn both_ways(left: &[Host], right: &[Host]) -> Links {
    let pairs = left.iter().flat_map(|one| right.iter().map(|other| (*one, *other)));
    pairs.filter(|(one, other)| one != other).flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}

pub(super) async fn leader(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let before = world.leader().await?;
    let host = world.home(before.id)?.host();
    let cut = Cut::new(world, both_ways(&[host], &hosts(world)));
    let after = world.leader_after(before.term).await?;
    hold(random, 500..3_000).await;
    cut.proof(&format!("node {} of term {} alone, node {} leads term {}", before.id, before.term, after.id, after.term))
}

pub(super) async fn follower(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let home = choose(world, random).await?;
    let cut = Cut::new(world, both_ways(&[home.host()], &hosts(world)));
    hold(random, 1_500..4_500).await;
    cut.proof(&format!("node {} alone", id(&home)))
}

pub(super) async fn one_way(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let leader = world.leader().await?;
    let host = world.home(leader.id)?.host();
    let others: Vec<Host> = hosts(world).into_iter().filter(|other| *other != host).collect();
    let other = one_of(&others, random)?;
    let (shape, links) = match random.random_range(0..4) {
        0 => ("the leader to one node", vec![(host, other)]),
        1 => ("one node to the leader", vec![(other, host)]),
        2 => ("the leader to all", others.iter().map(|other| (host, *other)).collect()),
        _ => ("all to the leader", others.iter().map(|other| (*other, host)).collect()),
    };
    let cut = Cut::new(world, links);
    hold(random, 2_000..5_000).await;
    cut.proof(shape)
}

pub(super) async fn bridge(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let leader = world.leader().await?;
    let host = world.home(leader.id)?.host();
    let mut others: Vec<Host> = hosts(world).into_iter().filter(|other| *other != host).collect();
    let bridge = others.remove(random.random_range(0..others.len().max(1)));
    // The leader's side is the smaller one; the bridge makes it a majority, as it makes the other one.
    let with_leader: Vec<Host> = others.drain(..others.len() / 2).chain([host]).collect();
    let cut = Cut::new(world, both_ways(&with_leader, &others));
    hold(random, 2_000..5_000).await;
    cut.proof(&format!("{bridge} sees both sides"))
}

pub(super) async fn flapping(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let leader = world.leader().await?;
    let host = world.home(leader.id)?.host();
    let cut = Cut::new(world, both_ways(&[host], &hosts(world)));
    let (began, lasts) = (Instant::now(), Duration::from_millis(random.random_range(3_000..5_000)));
    while began.elapsed() < lasts {
        hold(random, 100..700).await;
        cut.set(false);
        hold(random, 100..500).await;
        cut.set(true);
    }
    cut.proof(&format!("node {} on and off", leader.id))
}

pub(super) async fn clients(world: &Arc<World>, random: &mut StdRng) -> Bite {
    let leader = world.leader().await?;
    let host = world.home(leader.id)?.host();
    let mut targets = vec![host];
    if random.random_range(0..2) == 0 {
        // Clients see one node that does not lead, and nothing else.
        let others: Vec<Host> = hosts(world).into_iter().filter(|other| *other != host).collect();
        let left = one_of(&others, random)?;
        targets.extend(others.into_iter().filter(|other| *other != left));
    }
    let cut = Cut::new(world, both_ways(&[Host::Clients], &targets));
    hold(random, 2_000..4_500).await;
    cut.proof(&format!("{} nodes out of the clients' sight", targets.len()))
}
