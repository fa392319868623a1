//! What never fails proves nothing: bugs that are planted around the machine are found, each within some seeds.

use ferry_sim::{Bug, Simulation};

/// Seeds within which each bug must be found.
const SEEDS: u64 = 2_000;

/// The first seed in which the bug is noticed.
fn caught_at(bug: Bug) -> Option<u64> {
    let caught = |seed: &u64| {
        let simulation = Simulation { bug: Some(bug), ..Simulation::of_seed(*seed) };
        simulation.run().contradiction.is_some()
    };
    (0..SEEDS).find(caught)
}

#[test]
fn every_planted_bug_is_found() {
    let missed: Vec<Bug> = Bug::ALL.into_iter().filter(|bug| caught_at(*bug).is_none()).collect();
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
