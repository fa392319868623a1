//! Thousands of histories, each of another seed: none contradicts what must hold, and together they leave nothing out.

use ferry_sim::Simulation;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// As many as two minutes of two busy cores have time for; `sim --seeds` runs more.
const SEEDS: u64 = 10_000;
/// How often, at the least, everything must have happened in all of them together.
const TIMES_MIN: u64 = 50;

/// What histories are made of; what is missing in all of them was tested by none.
const MUST_HAPPEN: &[&str] = &[
    "a failed job keeps what it copied",
    "a job completes",
    "a job fails",
    "a job is canceled",
    "a snapshot is deleted before the copies",
    "a verification finds nothing",
    "a verification finds something",
    "a worker gives a write up",
    "a worker stops by its own clock",
    "a write that was given up makes an object",
    "an attempt keeps what an earlier one wrote",
    "command: assign task",
    "command: cancel job",
    "command: clean up job",
    "command: claim targets",
    "command: collect job",
    "command: create tasks",
    "command: drain worker",
    "command: drop draft",
    "command: expire events",
    "command: expire requests",
    "command: fail job",
    "command: lose worker",
    "command: pause job",
    "command: register worker",
    "command: release task",
    "command: report cleaned up",
    "command: report copied",
    "command: report failed",
    "command: report progress",
    "command: report published",
    "command: report verified",
    "command: reserve ids",
    "command: settle job",
    "command: submit page",
    "command: tick",
    "command: update job",
    "fault: answer lost",
    "fault: attempt fails",
    "fault: call twice",
    "fault: leader changes",
    "fault: leader crash",
    "fault: leadership not confirmed",
    "fault: link breaks",
    "fault: message late",
    "fault: message lost",
    "fault: node crash",
    "fault: node cut off or back",
    "fault: outcome unknown to the proposer",
    "fault: proposal of a deposed leader",
    "fault: proposal without quorum",
    "fault: source damaged",
    "fault: source lost or cut short",
    "fault: submit broken off",
    "fault: target exists",
    "fault: wall clock jumps",
    "fault: worker crash",
    "fault: worker forgets",
    "fault: worker has a twin",
    "fault: worker paused",
    "outcome: assigned",
    "outcome: done",
    "outcome: ids",
    "outcome: job",
    "outcome: job ended",
    "outcome: page",
    "outcome: page known",
    "outcome: released",
    "outcome: reported",
    "outcome: submitted",
    "outcome: worker",
    "rejection: job not found",
    "rejection: lease not held",
    "rejection: stale",
    "rejection: target held",
    "rejection: task not found",
    "rejection: wrong offset",
    "rejection: wrong state",
];

#[test]
fn no_history_contradicts_what_must_hold_and_together_they_leave_nothing_out() {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| histories(&next))).collect();
        for thread in running {
            let of_thread = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            of_thread.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        }
    });
    let rare = |what: &&&str| counts.get(**what).copied().unwrap_or_default() < TIMES_MIN;
    let rare: Vec<_> = MUST_HAPPEN.iter().filter(rare).map(|what| (what, counts.get(what))).collect();
    assert!(rare.is_empty(), "these hardly happened: {rare:?}");
}

/// Takes seeds that no other thread takes, until there are no more; tells what happened in all of them.
fn histories(next: &AtomicU64) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS {
            return counts;
        }
        let report = Simulation::of_seed(seed).run();
        assert_eq!(report.contradiction, None, "replay it: cargo run -p ferry-sim -- --seed {seed} --verbose");
        for (what, count) in report.counts {
            *counts.entry(what).or_default() += count;
        }
    }
}
