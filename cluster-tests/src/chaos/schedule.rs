//! Which fault follows which, drawn from the seed: the same seed and the same faults make the same plan.
//!
//! Invariant: the plan goes through decks that hold each of its faults, so none waits longer than one deck for its turn.

use super::nemesis::Nemesis;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// Leader kills in each deck: a failover is what must work most of all.
const LEADER_KILLS: usize = 6;
/// A slot has a companion beside its main fault this many times in a hundred.
const COMPANION_PERCENT: u32 = 60;

/// Faults that go on at the same time: at most one that takes nodes away, and one beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) main: Option<Nemesis>,
    pub(crate) companion: Option<Nemesis>,
    /// Of what the faults draw.
    pub(crate) seed: u64,
}

/// An endless plan.
pub(crate) struct Schedule {
    mains: Vec<Nemesis>,
    companions: Vec<Nemesis>,
    main_deck: VecDeque<Nemesis>,
    companion_deck: VecDeque<Nemesis>,
    random: StdRng,
}

impl Schedule {
    pub(crate) fn new(nemeses: &[Nemesis], seed: u64) -> Self {
        let (companions, mains) = nemeses.iter().partition(|nemesis| nemesis.is_companion());
        let random = StdRng::seed_from_u64(seed);
        Self { mains, companions, main_deck: VecDeque::new(), companion_deck: VecDeque::new(), random }
    }

    /// A slot for one fault alone.
    pub(crate) fn alone(&mut self, nemesis: Nemesis) -> Slot {
        Slot { main: Some(nemesis), companion: None, seed: self.random.random() }
    }

    fn draw_main(&mut self) -> Option<Nemesis> {
        if self.main_deck.is_empty() {
            let kills = self.mains.contains(&Nemesis::KillLeader).then_some(Nemesis::KillLeader);
            let more = kills.into_iter().flat_map(|kill| std::iter::repeat_n(kill, LEADER_KILLS - 1));
            let mut deck: Vec<Nemesis> = self.mains.iter().copied().chain(more).collect();
            deck.shuffle(&mut self.random);
            self.main_deck = deck.into();
        }
        self.main_deck.pop_front()
    }

    fn draw_companion(&mut self) -> Option<Nemesis> {
        if self.companion_deck.is_empty() {
            let mut deck = self.companions.clone();
            deck.shuffle(&mut self.random);
            self.companion_deck = deck.into();
        }
        self.companion_deck.pop_front()
    }
}

impl Iterator for Schedule {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let main = self.draw_main();
        let accompanied = main.is_none() || self.random.random_range(0..100) < COMPANION_PERCENT;
        let companion = if accompanied { self.draw_companion() } else { None };
        Some(Slot { main, companion, seed: self.random.random() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, slots: usize) -> Vec<Slot> {
        let all: Vec<Nemesis> = Nemesis::all().collect();
        Schedule::new(&all, seed).take(slots).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_plan_and_another_seed_another() {
        assert_eq!(plan(1, 200), plan(1, 200));
        assert_ne!(plan(1, 200), plan(2, 200));
    }

    #[test]
    fn a_quarter_of_an_hour_has_every_fault_three_times_and_twenty_five_leader_kills() {
        // Slots of seven seconds.
        let slots = plan(7, 15 * 60 / 7);
        for nemesis in Nemesis::all() {
            let planned =
                slots.iter().filter(|slot| slot.main == Some(nemesis) || slot.companion == Some(nemesis)).count();
            let wanted = if nemesis == Nemesis::KillLeader { 25 } else { 3 };
            assert!(planned >= wanted, "{nemesis} is planned {planned} times");
        }
    }

    #[test]
    fn a_slot_never_has_two_faults_that_take_nodes_away() {
        for slot in plan(3, 500) {
            assert!(slot.main.is_none_or(|main| !main.is_companion()));
            assert!(slot.companion.is_none_or(Nemesis::is_companion));
        }
    }

    #[test]
    fn companions_alone_fill_every_slot() {
        let slots: Vec<Slot> = Schedule::new(&[Nemesis::Delay, Nemesis::Loss], 1).take(10).collect();
        assert!(slots.iter().all(|slot| slot.main.is_none() && slot.companion.is_some()));
    }
}
