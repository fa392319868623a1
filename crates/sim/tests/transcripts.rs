//! The same seed gives the same bytes; and two short histories that a newcomer can read.

use expect_test::{ExpectFile, expect_file};
use ferry_sim::{Scale, Simulation};

/// Seeds whose short histories tell what the tests' names say.
const COMPLETES: u64 = 206;
const FAILS: u64 = 707;

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..20 {
        let simulation = Simulation { transcribed: true, ..Simulation::of_seed(seed) };
        let first = simulation.run();
        assert!(first.transcript.len() > 1_000, "seed {seed} tells next to nothing");
        assert_eq!(first, simulation.run(), "seed {seed} went two ways");
    }
}

#[test]
fn two_seeds_are_two_histories() {
    let of_seed = |seed| Simulation { transcribed: true, ..Simulation::of_seed(seed) }.run().transcript;
    assert_ne!(of_seed(1), of_seed(2));
}

fn story(seed: u64, expected: &ExpectFile) {
    let report = Simulation { seed, scale: Scale::STORY, bug: None, transcribed: true }.run();
    assert_eq!(report.contradiction, None);
    expected.assert_eq(&report.transcript);
}

#[test]
fn a_job_completes_while_something_goes_wrong() {
    story(COMPLETES, &expect_file!["transcripts/completes.txt"]);
}

#[test]
fn a_job_fails_and_its_files_are_cleaned_up() {
    story(FAILS, &expect_file!["transcripts/fails.txt"]);
}
