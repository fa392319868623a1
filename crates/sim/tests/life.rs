//! The leader dies between any two entries of a job, each place once: the end is the same as without.

use expect_test::{Expect, expect};
use ferry_sim::{Death, Ending, Life, LifeReport};

/// An undisturbed life, and one for every place at which the leader can die.
fn every_place_once(ending: Ending, expected_end: &Expect) -> LifeReport {
    let calm = Life { ending, death: None }.tell();
    assert_eq!(calm.contradiction, None, "{ending:?}");
    expected_end.assert_eq(&calm.end);
    assert_eq!(calm.died_at, None);
    let mut visited = 0;
    for (index, command) in calm.entries.iter().enumerate() {
        for death in [Death::Before(index + 1), Death::After(index + 1)] {
            let life = Life { ending, death: Some(death) }.tell();
            assert_eq!(life.contradiction, None, "{ending:?}, {death:?}, {command}");
            assert_eq!(life.died_at, Some(*command), "{ending:?}, {death:?}: this place was to be visited");
            assert_eq!(life.entries[..index], calm.entries[..index], "{ending:?}, {death:?}: the same until then");
            assert_eq!(life.end, calm.end, "{ending:?}, {death:?}, {command}");
            visited += 1;
        }
    }
    assert_eq!(visited, 2 * calm.entries.len());
    println!("{ending:?}: {visited} places in {} entries", calm.entries.len());
    calm
}

/// The undisturbed life has each of these entries, so the leader has died around each of them.
fn must_have(life: &LifeReport, commands: &[&str]) {
    let missing: Vec<_> = commands.iter().filter(|command| !life.entries.contains(command)).collect();
    assert!(missing.is_empty(), "{missing:?} is not in {:?}", life.entries);
}

const OF_EVERY_LIFE: [&str; 11] = [
    "command: bootstrap",
    "command: tick",
    "command: register worker",
    "command: submit page",
    "command: create tasks",
    "command: assign task",
    "command: claim targets",
    "command: report copied",
    "command: settle job",
    "command: collect job",
    "command: expire requests",
];

#[test]
fn s30_the_leader_dies_between_any_two_entries_of_a_job_that_completes() {
    let life = every_place_once(
        Ending::Completes,
        &expect![[r#"
            Completed "", clean-up None
            5 of 5 segments, 25 rows
            task 0 of 2 segments: Completed, clean-up NotNeeded, busy false
            task 1 of 2 segments: Completed, clean-up NotNeeded, busy false
            task 2 of 1 segments: Completed, clean-up NotNeeded, busy false
            task 3 of 0 segments: Completed, clean-up NotNeeded, busy false
            target 1 of 100: Flushed, 5 rows
            target 2 of 101: Flushed, 5 rows
            target 3 of 102: Flushed, 5 rows
            target 4 of 103: Flushed, 5 rows
            target 5 of 104: Flushed, 5 rows
            snapshot: true
            file 0 of target 1: b4cb9836e80a7528
            file 0 of target 2: c22084d951604715
            file 0 of target 3: 597fb0df87abe13f
            file 1 of target 3: 672bfab8bd1bab45
            file 0 of target 4: 88b2fd4ba17aba22
            file 0 of target 5: a6a764529d4a8ffd
            file 1 of target 5: 9b23051bf39b26f6
            file 2 of target 5: e45c803d492999b5
        "#]],
    );
    must_have(&life, &OF_EVERY_LIFE);
    must_have(&life, &["command: report published"]);
}

#[test]
fn s30_the_leader_dies_between_any_two_entries_of_a_job_that_fails() {
    let life = every_place_once(
        Ending::Fails,
        &expect![[r#"
            Failed "1/4 tasks failed: object 0 of segment 104 is damaged", clean-up Done
            4 of 5 segments, 20 rows
            task 0 of 2 segments: Completed, clean-up Done, busy false
            task 1 of 2 segments: Completed, clean-up Done, busy false
            task 2 of 1 segments: Failed, clean-up Done, busy false
            task 3 of 0 segments: Failed, clean-up NotNeeded, busy false
            target 1 of 100: Dropped, 5 rows
            target 2 of 101: Dropped, 5 rows
            target 3 of 102: Dropped, 5 rows
            target 4 of 103: Dropped, 5 rows
            target 5 of 104: Dropped, 0 rows
            snapshot: false
        "#]],
    );
    must_have(&life, &OF_EVERY_LIFE);
    must_have(&life, &["command: report failed", "command: report cleaned up"]);
}

#[test]
fn s30_the_leader_dies_between_any_two_entries_of_a_job_that_is_canceled() {
    let life = every_place_once(
        Ending::IsCanceled,
        &expect![[r#"
            Canceled "canceled", clean-up Done
            task 0 of 2 segments: ended, busy false
            task 1 of 2 segments: ended, busy false
            task 2 of 1 segments: ended, busy false
            task 3 of 0 segments: ended, busy false
            target 1 of 100: Dropped
            target 2 of 101: Dropped
            target 3 of 102: Dropped
            target 4 of 103: Dropped
            target 5 of 104: Dropped
            snapshot: false
        "#]],
    );
    must_have(&life, &OF_EVERY_LIFE);
    must_have(&life, &["command: cancel job", "command: release task", "command: report cleaned up"]);
}
